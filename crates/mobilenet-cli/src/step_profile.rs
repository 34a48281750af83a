//! Where a training step's time goes, phase by phase of each layer.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use mobilenet_bench::StepResult;
use mobilenet_kernels::profile::{Profile, Record, record};
use mobilenet_schema::{StepNotFused, StepPhase, StepProfile};

/// Records so many steps.
pub fn step_profile(steps: usize, mut step: impl FnMut() -> StepResult) -> Result<StepProfile> {
    let start = Instant::now();
    let (result, profile) = record(|| (0..steps).try_for_each(|_| step().map(drop)));
    let time = start.elapsed();
    result.map_err(anyhow::Error::from_boxed)?;
    ensure!(
        !profile.records.is_empty(),
        "--profile shows the phases of the CPU's kernels, and none of them ran; try --device cpu"
    );
    Ok(mean(&profile, time, steps))
}

/// The mean over the steps that took `time` together.
fn mean(profile: &Profile, time: Duration, steps: usize) -> StepProfile {
    let mut sums: Vec<Record> = Vec::new();
    for record in &profile.records {
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
        StepPhase {
            layer: sum.scope,
            phase: sum.phase.to_owned(),
            ms: seconds / steps as f64 * 1e3,
            gflop_per_second: sum.work.flops as f64 / seconds / 1e9,
            gb_per_second: sum.work.bytes as f64 / seconds / 1e9,
            share: seconds / steps as f64 / step,
        }
    };
    let not_fused = profile.not_fused.iter();
    let not_fused = not_fused.map(|it| StepNotFused { layer: it.layer.clone(), why: it.why.to_owned() }).collect();
    StepProfile { step_ms: step * 1e3, phases: sums.into_iter().map(phase).collect(), not_fused }
}

/// The phases as a table.
pub struct Shown<'a>(pub &'a StepProfile);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self(profile) = self;
        let rest = profile.step_ms - profile.phases.iter().map(|p| p.ms).sum::<f64>();
        writeln!(f, "{:<20} {:<28} {:>8} {:>9} {:>7} {:>7}", "layer", "phase", "ms", "GFLOP/s", "GB/s", "share")?;
        for p in &profile.phases {
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
            rest / profile.step_ms * 100.
        )?;
        let mut totals: Vec<(&str, f64)> = Vec::new();
        for p in &profile.phases {
            match totals.iter_mut().find(|(phase, _)| *phase == p.phase) {
                Some((_, ms)) => *ms += p.ms,
                None => totals.push((&p.phase, p.ms)),
            }
        }
        for (phase, ms) in totals {
            writeln!(
                f,
                "{:<20} {phase:<28} {ms:>8.2} {:>9} {:>7} {:>6.1}%",
                "all layers",
                "",
                "",
                ms / profile.step_ms * 100.
            )?;
        }
        for StepNotFused { layer, why } in &profile.not_fused {
            writeln!(f, "{layer} is not fused, and its time is under everything else: {why}")?;
        }
        writeln!(f, "a step took {:.1} ms on average", profile.step_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobilenet_kernels::profile::{NotFused, Work};

    #[test]
    fn phases_of_all_steps_are_added_up() {
        let record = |scope: &str, ms| Record {
            scope: scope.into(),
            phase: "forward",
            time: Duration::from_millis(ms),
            work: Work { flops: 1_000_000_000, bytes: 500_000_000 },
            stretches: Vec::new(),
        };
        let records = vec![record("a", 100), record("b", 50), record("a", 300), record("b", 50)];
        let not_fused = vec![NotFused { layer: "c".into(), why: "it has a clock" }];
        let profile = mean(&Profile { records, not_fused }, Duration::from_millis(1000), 2);
        let a = &profile.phases[0];
        assert_eq!((a.layer.as_str(), a.ms, a.gflop_per_second, a.gb_per_second, a.share), ("a", 200., 5., 2.5, 0.4));
        let text = Shown(&profile).to_string();
        assert!(text.contains("everything else") && text.contains("50.0%"), "{text}");
        assert!(text.contains("c is not fused, and its time is under everything else: it has a clock"), "{text}");
    }
}
