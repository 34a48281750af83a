//! Where a training step's time goes, phase by phase of each layer.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use mobilenet_bench::StepResult;
use mobilenet_kernels::profile::{record, Record};
use serde::Serialize;

/// The mean over some steps.
#[derive(Debug, Serialize)]
pub struct StepProfile {
    step_ms: f64,
    phases: Vec<Phase>,
}

#[derive(Debug, Serialize)]
struct Phase {
    layer: String,
    phase: &'static str,
    ms: f64,
    gflop_per_second: f64,
    gb_per_second: f64,
    share: f64,
}

impl StepProfile {
    /// Records so many steps.
    pub fn of(steps: usize, mut step: impl FnMut() -> StepResult) -> Result<Self> {
        let start = Instant::now();
        let (result, records) = record(|| (0..steps).try_for_each(|_| step().map(drop)));
        let time = start.elapsed();
        result.map_err(anyhow::Error::from_boxed)?;
        ensure!(
            !records.is_empty(),
            "--profile shows the phases of the CPU's kernels, and none of them ran; try --device cpu"
        );
        Ok(Self::new(&records, time, steps))
    }

    fn new(records: &[Record], time: Duration, steps: usize) -> Self {
        let mut sums: Vec<Record> = Vec::new();
        for record in records {
            match sums.iter_mut().find(|sum| (&sum.scope, sum.phase) == (&record.scope, record.phase)) {
                Some(sum) => {
                    sum.time += record.time;
                    sum.work.flops += record.work.flops;
                    sum.work.bytes += record.work.bytes;
                }
                None => sums.push(record.clone()),
            }
        }
        let step = time.as_secs_f64() / steps as f64;
        let phase = |sum: Record| {
            let seconds = sum.time.as_secs_f64();
            Phase {
                layer: sum.scope,
                phase: sum.phase,
                ms: seconds / steps as f64 * 1e3,
                gflop_per_second: sum.work.flops as f64 / seconds / 1e9,
                gb_per_second: sum.work.bytes as f64 / seconds / 1e9,
                share: seconds / steps as f64 / step,
            }
        };
        Self { step_ms: step * 1e3, phases: sums.into_iter().map(phase).collect() }
    }
}

impl fmt::Display for StepProfile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rest = self.step_ms - self.phases.iter().map(|p| p.ms).sum::<f64>();
        writeln!(f, "{:<20} {:<28} {:>8} {:>9} {:>7} {:>7}", "layer", "phase", "ms", "GFLOP/s", "GB/s", "share")?;
        for p in &self.phases {
            let (share, gflops) = (p.share * 100., p.gflop_per_second);
            writeln!(
                f,
                "{:<20} {:<28} {:>8.2} {gflops:>9.1} {:>7.1} {share:>6.1}%",
                p.layer, p.phase, p.ms, p.gb_per_second
            )?;
        }
        writeln!(
            f,
            "{:<20} {:<28} {rest:>8.2} {:>9} {:>7} {:>6.1}%",
            "everything else",
            "classifier, loss, optimizer",
            "",
            "",
            rest / self.step_ms * 100.
        )?;
        let mut totals: Vec<(&str, f64)> = Vec::new();
        for p in &self.phases {
            match totals.iter_mut().find(|(phase, _)| *phase == p.phase) {
                Some((_, ms)) => *ms += p.ms,
                None => totals.push((p.phase, p.ms)),
            }
        }
        for (phase, ms) in totals {
            writeln!(
                f,
                "{:<20} {phase:<28} {ms:>8.2} {:>9} {:>7} {:>6.1}%",
                "all layers",
                "",
                "",
                ms / self.step_ms * 100.
            )?;
        }
        writeln!(f, "a step took {:.1} ms on average", self.step_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobilenet_kernels::profile::Work;

    #[test]
    fn phases_of_all_steps_are_added_up() {
        let record = |scope: &str, ms| Record {
            scope: scope.into(),
            phase: "forward",
            time: Duration::from_millis(ms),
            work: Work { flops: 1_000_000_000, bytes: 500_000_000 },
        };
        let records = [record("a", 100), record("b", 50), record("a", 300), record("b", 50)];
        let profile = StepProfile::new(&records, Duration::from_millis(1000), 2);
        let a = &profile.phases[0];
        assert_eq!((a.layer.as_str(), a.ms, a.gflop_per_second, a.gb_per_second, a.share), ("a", 200., 5., 2.5, 0.4));
        let text = profile.to_string();
        assert!(text.contains("everything else") && text.contains("50.0%"), "{text}");
    }
}
