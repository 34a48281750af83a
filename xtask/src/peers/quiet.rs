//! Whether the machine was left alone during a measurement.
//!
//! Taking turns evens out a machine that slows all programs alike. It does not help against another program that wants
//! the same cores: threads that spin while they wait for each other then lose many times more than threads that do not,
//! so that the ratio itself is wrong. Therefore the processor time that others took is counted (Linux only).

use std::fs;

/// Cores' worth of other programs' work from which on a measurement is not to be trusted.
pub const TOLERATED_CORES: f64 = 0.1;

/// Counters of the kernel, in its clock ticks.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Counters {
    cores: u64,
    /// All time of all cores
    total: u64,
    /// Time that anybody used, other virtual machines included
    busy: u64,
    /// Time that this process and the children it has waited for used
    own: u64,
}

impl Counters {
    /// The present state; nothing where the system does not tell.
    pub fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, &fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(system: &str, process: &str) -> Option<Self> {
        let cores = system.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count() as u64;
        let line = system.lines().find_map(|line| line.strip_prefix("cpu "))?;
        // user, nice, system, idle, iowait, irq, softirq, steal; guests' time is in user already.
        let times: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let total = times.iter().sum::<u64>();
        let idle = times.get(3)? + times.get(4)?;
        // The program's name, in parentheses, may hold anything. utime, stime, cutime, cstime are fields 14 to 17.
        let (_, fields) = process.rsplit_once(')')?;
        let own: Vec<u64> =
            fields.split_whitespace().skip(11).take(4).map(str::parse).collect::<Result<_, _>>().ok()?;
        (cores > 0 && own.len() == 4).then(|| Self { cores, total, busy: total - idle, own: own.iter().sum() })
    }

    /// How many cores others kept busy from `earlier` to now, on average.
    pub fn others_since(self, earlier: Self) -> f64 {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        let others = since(since(self.busy, earlier.busy), since(self.own, earlier.own));
        let core = since(self.total, earlier.total).max(1) as f64 / self.cores as f64;
        others as f64 / core
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_use_is_what_is_busy_and_not_ours() {
        let at = |user: u64, idle: u64, steal: u64, child: u64| {
            let system = format!("cpu  {user} 0 5 {idle} 0 0 0 {steal} 0 0\ncpu0 1 2\ncpu1 1 2\nintr 7\n");
            let process = format!("42 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 3 4 {child} 0 20 0 1 0");
            Counters::parse(&system, &process).unwrap()
        };
        let before = at(1_000, 1_000, 0, 0);
        // Ten seconds of two cores, at a hundred ticks a second.
        for (after, others) in [
            (at(2_000, 2_000, 0, 1_000), 0.0),
            (at(3_000, 1_000, 0, 1_000), 1.0),
            (at(2_000, 1_500, 500, 1_000), 0.5),
            (at(2_000, 2_000, 0, 1_001), 0.0),
        ] {
            assert!((after.others_since(before) - others).abs() < 1e-9, "{after:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        let (system, process) = ("cpu  1 2 3 4 5 6 7 8\ncpu0 1\n", "1 (x) S 1 1 1 0 -1 0 0 0 0 0 1 1 1 1");
        assert!(Counters::parse(system, process).is_some());
        for (system, process) in [("", process), ("cpu  1 x\ncpu0 1\n", process), (system, ""), (system, "1 (x) S 1")] {
            assert_eq!(Counters::parse(system, process), None);
        }
    }
}
