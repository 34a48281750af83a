//! The protocol, the clock and the statistics.

use std::hint::black_box;
use std::time::{Duration, Instant};

use mobilenet_common::numbers::quantile;
use mobilenet_schema::LatencyMs;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What a step returns: a number read back from its result (a logit, a loss).
///
/// Reading it waits for asynchronous devices and keeps the computation from being optimized away.
pub type StepResult = std::result::Result<f32, Box<dyn std::error::Error + Send + Sync>>;

/// How often a step runs, untimed and timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// Untimed runs first: caches, allocator and thread pools settle.
    pub warmup: usize,
    /// Timed runs, at least 1.
    pub iterations: usize,
}

impl Default for Protocol {
    /// The protocol of the article that this project reproduces: 10 untimed, then 100 timed runs.
    fn default() -> Self {
        Self { warmup: 10, iterations: 100 }
    }
}

/// Statistics of `samples` in any order; `None` where there are none.
pub(crate) fn latency(samples: &[Duration]) -> Option<LatencyMs> {
    let mut ms: Vec<f64> = samples.iter().map(|d| d.as_secs_f64() * 1e3).collect();
    ms.sort_by(f64::total_cmp);
    let (&min, &max) = (ms.first()?, ms.last()?);
    let n = ms.len() as f64;
    let mean = ms.iter().sum::<f64>() / n;
    let variance = ms.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    Some(LatencyMs {
        p50: quantile(&ms, 0.50)?,
        p90: quantile(&ms, 0.90)?,
        p99: quantile(&ms, 0.99)?,
        mean,
        std: variance.sqrt(),
        min,
        max,
    })
}

/// One timed series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Time of one step.
    pub latency_ms: LatencyMs,
    /// Images of all timed steps over their summed time.
    pub images_per_second: f64,
}

impl Timing {
    /// The summary of `samples`, each the time of one step over `batch` images.
    pub(crate) fn from_samples(samples: &[Duration], batch: usize) -> Result<Self> {
        let latency_ms = latency(samples).ok_or(Error::Nothing { what: "iterations" })?;
        // The clock may be coarser than a trivial step: no division by zero.
        let seconds = samples.iter().sum::<Duration>().max(Duration::from_nanos(1)).as_secs_f64();
        Ok(Self { latency_ms, images_per_second: (batch * samples.len()) as f64 / seconds })
    }
}

/// Times `step`, which handles `batch` images: an inference, a full training step
/// (forward, backward, optimizer) or anything else that ends in a number.
///
/// # Errors
/// [`Error::Nothing`] for zero iterations or images, [`Error::Step`] where `step` fails,
/// [`Error::NotFinite`] where it returns NaN or an infinity.
///
/// ```
/// use mobilenet_bench::{Protocol, time_steps};
///
/// let protocol = Protocol { warmup: 1, iterations: 5 };
/// let timing = time_steps(protocol, 8, || Ok((0..1000).map(|i| i as f32).sum()))?;
/// assert!(timing.latency_ms.min <= timing.latency_ms.p50);
/// # Ok::<(), mobilenet_bench::Error>(())
/// ```
pub fn time_steps(protocol: Protocol, batch: usize, mut step: impl FnMut() -> StepResult) -> Result<Timing> {
    if batch == 0 {
        return Err(Error::Nothing { what: "batch" });
    }
    let mut samples = Vec::with_capacity(protocol.iterations);
    for index in 0..protocol.warmup.saturating_add(protocol.iterations) {
        let start = Instant::now();
        let value = black_box(step().map_err(|e| Error::Step { step: index, message: e.to_string() })?);
        let elapsed = start.elapsed();
        if !value.is_finite() {
            return Err(Error::NotFinite { step: index, value });
        }
        if index >= protocol.warmup {
            samples.push(elapsed);
        }
    }
    Timing::from_samples(&samples, batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().map(|&v| Duration::from_millis(v)).collect()
    }

    #[test]
    fn statistics_are_numpys() {
        // numpy: percentile([1..100], [50, 90, 99]) = 50.5, 90.1, 99.01; std = 28.866070
        let values: Vec<u64> = (1..=100).rev().collect();
        let stats = latency(&ms(&values)).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        near(stats.p50, 50.5);
        near(stats.p90, 90.1);
        near(stats.p99, 99.01);
        near(stats.mean, 50.5);
        near(stats.std, 28.866_070_047_722_12);
        near(stats.min, 1.0);
        near(stats.max, 100.0);
        let one = latency(&ms(&[7])).unwrap();
        assert_eq!((one.p50, one.p99, one.std, one.max), (7.0, 7.0, 0.0, 7.0));
        assert!(latency(&[]).is_none());
    }

    #[test]
    fn warm_up_runs_and_is_not_timed() {
        let mut calls = 0;
        let timing = time_steps(Protocol { warmup: 2, iterations: 3 }, 4, || {
            calls += 1;
            // A slow warm-up must not show up in the statistics.
            std::thread::sleep(Duration::from_millis(if calls <= 2 { 80 } else { 1 }));
            Ok(0.5)
        })
        .unwrap();
        assert_eq!(calls, 5);
        assert!(timing.latency_ms.max < 80.0, "{timing:?}");
        assert!(timing.latency_ms.min >= 1.0, "{timing:?}");
        let expected = 4.0 / (timing.latency_ms.mean / 1e3);
        assert!((timing.images_per_second / expected - 1.0).abs() < 1e-6, "{timing:?}");
    }

    #[test]
    fn refuses_to_time_nothing_or_nonsense() {
        let run = |iterations, batch, value: StepResult| {
            let mut value = Some(value);
            time_steps(Protocol { warmup: 0, iterations }, batch, || value.take().unwrap_or(Ok(1.0)))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(run(0, 1, Ok(1.0)), "nothing to time: iterations is 0, expected at least 1");
        assert_eq!(run(1, 0, Ok(1.0)), "nothing to time: batch is 0, expected at least 1");
        assert_eq!(run(2, 1, Ok(f32::NAN)), "step 0 returned NaN, expected a finite number");
        assert_eq!(run(2, 1, Err("no device".into())), "step 0 failed: no device");
    }
}
