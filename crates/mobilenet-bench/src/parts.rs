//! A step's parts: how long each takes while the whole runs.

use std::time::{Duration, Instant};

use mobilenet_schema::LatencyMs;
use serde::{Deserialize, Serialize};

use crate::timing::latency;
use crate::{Error, Protocol, Result, StepResult, Timing};

/// The time that each part of a step took, in order.
pub type PartsResult = std::result::Result<Vec<Duration>, Box<dyn std::error::Error + Send + Sync>>;

/// A step and its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartsTiming {
    /// The whole step, when nothing is recorded.
    pub whole: Timing,
    /// Each part, in order.
    pub parts: Vec<LatencyMs>,
}

impl PartsTiming {
    /// The medians of all parts together, in milliseconds. What the whole takes beyond it lies between the parts.
    pub fn sum_ms(&self) -> f64 {
        self.parts.iter().map(|part| part.p50).sum()
    }
}

/// Times `whole`, which handles `batch` images, and `parts`, which does the same and says what each of its parts took.
/// The two run in turns, so that a machine that gets slower or faster meanwhile does so for both.
///
/// # Errors
/// Those of [`time_steps`](crate::time_steps) for `whole`; [`Error::Step`] where `parts` fails, [`Error::Parts`] where
/// the number of parts is not always the same.
///
/// ```
/// use std::time::Duration;
/// use mobilenet_bench::{Protocol, time_parts};
///
/// let parts = || Ok(vec![Duration::from_millis(1), Duration::from_millis(2)]);
/// let timing = time_parts(Protocol { warmup: 1, iterations: 5 }, 8, || Ok(1.0), parts)?;
/// assert_eq!((timing.parts.len(), timing.sum_ms()), (2, 3.0));
/// # Ok::<(), mobilenet_bench::Error>(())
/// ```
pub fn time_parts(
    protocol: Protocol,
    batch: usize,
    mut whole: impl FnMut() -> StepResult,
    mut parts: impl FnMut() -> PartsResult,
) -> Result<PartsTiming> {
    if batch == 0 {
        return Err(Error::Nothing { what: "batch" });
    }
    let mut samples: Vec<Vec<Duration>> = Vec::new();
    let mut wholes = Vec::with_capacity(protocol.iterations);
    for index in 0..protocol.warmup.saturating_add(protocol.iterations) {
        let start = Instant::now();
        let value = whole().map_err(|e| Error::Step { step: index, message: e.to_string() })?;
        let time = start.elapsed();
        if !value.is_finite() {
            return Err(Error::NotFinite { step: index, value });
        }
        let found = parts().map_err(|e| Error::Step { step: index, message: e.to_string() })?;
        if index == 0 {
            samples.resize(found.len(), Vec::new());
        }
        if found.len() != samples.len() {
            return Err(Error::Parts { step: index, expected: samples.len(), found: found.len() });
        }
        if index >= protocol.warmup {
            wholes.push(time);
            samples.iter_mut().zip(found).for_each(|(samples, time)| samples.push(time));
        }
    }
    let whole = Timing::from_samples(&wholes, batch)?;
    let parts = samples.iter().filter_map(|samples| latency(samples)).collect();
    Ok(PartsTiming { whole, parts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().map(|&ms| Duration::from_millis(ms)).collect()
    }

    #[test]
    fn medians_are_of_the_timed_runs_part_by_part() {
        // The first is the warm-up; of the others the medians are 3 and 20.
        let mut runs = [[900, 900], [3, 20], [1, 10], [70, 20]].map(|run| ms(&run)).into_iter();
        let protocol = Protocol { warmup: 1, iterations: 3 };
        let timing = time_parts(protocol, 2, || Ok(0.5), || Ok(runs.next().unwrap())).unwrap();
        assert_eq!(timing.parts.iter().map(|part| part.p50).collect::<Vec<_>>(), [3.0, 20.0]);
        assert_eq!(timing.sum_ms(), 23.0);
        assert!(runs.next().is_none());
    }

    #[test]
    fn refuses_nothing_nonsense_and_parts_that_come_and_go() {
        let run = |iterations, whole: StepResult, parts: [&[u64]; 2]| {
            let (mut whole, mut parts) = (Some(whole), parts.into_iter().map(ms));
            let protocol = Protocol { warmup: 0, iterations };
            time_parts(protocol, 1, || whole.take().unwrap_or(Ok(1.0)), || parts.next().ok_or("no more".into()))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(run(0, Ok(1.0), [&[], &[]]), "nothing to time: iterations is 0, expected at least 1");
        assert_eq!(run(1, Ok(f32::NAN), [&[1], &[1]]), "step 0 returned NaN, expected a finite number");
        assert_eq!(run(2, Ok(1.0), [&[1, 2], &[1]]), "step 1 reported 1 parts, expected 2");
        assert_eq!(run(3, Ok(1.0), [&[1], &[1]]), "step 2 failed: no more");
    }
}
