//! Where a figure was measured: machine, system and build.

use std::fs::read_to_string;
use std::time::{SystemTime, UNIX_EPOCH};

use mobilenet_schema::Environment;

use crate::memory::kib_field;

/// What only the compiled program knows about itself; its build script fills it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// Commit of the sources; `None` for a build outside a repository.
    pub commit: Option<String>,
    /// What `rustc --version` printed.
    pub rustc: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Version of Candle that it was built with.
    pub candle: Option<String>,
    /// Cargo features that it was built with.
    pub features: Vec<String>,
}

/// Looks at the machine this process runs on. Never fails: what is unknown is left out; whoever computes on a GPU adds it.
pub fn environment(build: BuildInfo) -> Environment {
    let processor = read_to_string("/proc/cpuinfo").ok().and_then(|s| processor_name(&s));
    let memory = read_to_string("/proc/meminfo").ok();
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() / 86_400);
    Environment {
        commit: build.commit,
        processor: processor.unwrap_or_else(|| std::env::consts::ARCH.into()),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        threads: candle_core::utils::get_num_threads(),
        gpu: None,
        memory_bytes: memory.and_then(|s| kib_field(&s, "MemTotal")),
        os: os_name(),
        rustc: build.rustc,
        version: build.version,
        candle: build.candle,
        features: build.features,
        date: date(days),
    }
}

fn processor_name(cpuinfo: &str) -> Option<String> {
    let (_, name) = cpuinfo.lines().find(|l| l.starts_with("model name"))?.split_once(':')?;
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

/// `Debian GNU/Linux 13 (trixie), linux 6.12.0`, or what Rust calls the system.
fn os_name() -> String {
    let release = read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = std::env::consts::OS;
    match (pretty.map(|p| p.trim_matches('"')), kernel.trim()) {
        (Some(pretty), kernel) if !kernel.is_empty() => format!("{pretty}, {system} {kernel}"),
        _ => system.to_owned(),
    }
}

/// Days since 1970-01-01 as a Gregorian date (Hinnant's `civil_from_days`).
fn date(days: u64) -> String {
    // Years start in March, so that the leap day is a year's last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (20_088, "2024-12-31"),
            (20_089, "2025-01-01"),
        ] {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn processor_names() {
        let text = "processor\t: 0\nmodel name\t: AMD  EPYC 7B13 \nflags\t: sse\n";
        assert_eq!(processor_name(text).as_deref(), Some("AMD EPYC 7B13"));
        assert_eq!(processor_name("processor: 0\n"), None);
        assert_eq!(processor_name("model name\t:\n"), None);
    }

    #[test]
    fn names_the_build_and_the_machine() {
        let build = BuildInfo {
            commit: Some("0123abc".into()),
            version: "1.2.3".into(),
            features: vec!["hub".into()],
            ..BuildInfo::default()
        };
        let env = environment(build);
        assert_eq!(env.commit.as_deref(), Some("0123abc"));
        assert_eq!((env.version.as_str(), env.features.len()), ("1.2.3", 1));
        assert!(env.cores >= 1 && env.threads >= 1);
        assert!(env.date.as_str() >= "2024-01-01", "{}", env.date);
    }
}
