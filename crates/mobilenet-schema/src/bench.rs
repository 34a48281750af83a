//! `mobilenet bench --json`: inference, training steps, block by block.

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, at_least_one, check, not_negative, positive, share};
use crate::environment::Environment;

/// `bench-*.json` and `blocks-*.json`: how fast a network is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// The architecture's name.
    pub model: String,
    /// The preset's name.
    #[serde(default)]
    pub preset: String,
    /// The number of classes; 0 where an old file does not tell.
    #[serde(default)]
    pub num_classes: u64,
    /// The width multiplier.
    #[serde(default = "one")]
    pub width_mult: f64,
    /// `inference` or `training`.
    #[serde(default)]
    pub mode: String,
    /// What training steps multiply: `f32` or `bf16`.
    #[serde(default = "float32")]
    pub precision: String,
    /// Images of a pass or step.
    pub batch: u64,
    /// Threads that it computed with.
    #[serde(default)]
    pub threads: Option<u64>,
    /// `cpu`, `cuda`, `cuda:1`, `metal`.
    #[serde(default)]
    pub device: String,
    /// Passes before the timed ones.
    #[serde(default)]
    pub warmup: u64,
    /// Timed passes.
    #[serde(default)]
    pub iterations: u64,
    /// Time of a pass or step.
    pub latency_ms: LatencyMs,
    /// Images of all timed passes over their summed time.
    pub images_per_second: f64,
    /// Peak memory of the process after the passes at `batch`.
    pub peak_rss_bytes: Option<u64>,
    /// Memory of the process before the network was made.
    #[serde(default)]
    pub baseline_rss_bytes: Option<u64>,
    /// Larger batches.
    #[serde(default)]
    pub throughput: Vec<Throughput>,
    /// Where a training step's time went, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<StepProfile>,
    /// The medians of all `blocks` added up, in milliseconds, if they were timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_ms: Option<f64>,
    /// Where an inference's time went, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockTime>,
    /// Where it was measured.
    #[serde(default)]
    pub environment: Environment,
}

fn one() -> f64 {
    1.0
}

fn float32() -> String {
    "f32".to_owned()
}

/// Distribution of one step's time in milliseconds.
///
/// Percentiles interpolate linearly between the sorted samples (numpy's default); `std` is the population's (divided by
/// n).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyMs {
    /// Median.
    pub p50: f64,
    /// 90 % of the steps were at least this fast.
    pub p90: f64,
    /// 99 % of the steps were at least this fast.
    pub p99: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation; 0 where an old file does not tell.
    #[serde(default)]
    pub std: f64,
    /// Fastest step; 0 where an old file does not tell.
    #[serde(default)]
    pub min: f64,
    /// Slowest step; 0 where an old file does not tell.
    #[serde(default)]
    pub max: f64,
}

/// Images per second at one batch size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Images per forward pass.
    pub batch: usize,
    /// Images of all timed passes over their summed time.
    pub images_per_second: f64,
    /// Peak memory of the process up to here; `None` where the system does not tell.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
}

/// How long each block takes at one batch: what of a [`Bench`] is kept in `results.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocks {
    /// Images of a pass.
    pub batch: u64,
    /// Threads that it computed with.
    pub threads: Option<u64>,
    /// Timed passes.
    pub iterations: u64,
    /// The whole network's time.
    pub latency_ms: LatencyMs,
    /// The medians of all blocks added up, in milliseconds.
    pub sum_ms: f64,
    /// The blocks in the order they run.
    pub blocks: Vec<BlockTime>,
}

impl Blocks {
    /// Of a benchmark; `None` if it did not time the blocks.
    #[must_use]
    pub fn of(bench: Bench) -> Option<Self> {
        let Bench { batch, threads, iterations, latency_ms, sum_ms, blocks, .. } = bench;
        Some(Self { batch, threads, iterations, latency_ms, sum_ms: sum_ms?, blocks })
    }
}

/// What the stem, a block, the last convolution or the classifier takes and what it has to do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlockTime {
    /// `stem`, `block 1`, …, `last conv`, `classifier`.
    pub name: String,
    /// The shape of the input without the batch: `[c, h, w]` or `[c]`.
    #[serde(default)]
    pub input: Vec<u64>,
    /// The shape of the output without the batch: `[c, h, w]` or `[c]`.
    pub output: Vec<u64>,
    /// Trainable numbers.
    #[serde(default)]
    pub params: u64,
    /// Multiply-adds for one image.
    pub macs: u64,
    /// Input and output of the batch and the parameters, each once.
    #[serde(default)]
    pub bytes: u64,
    /// Median for the batch, in milliseconds.
    pub p50_ms: f64,
    /// Of the sum of all blocks.
    pub latency_share: f64,
    /// Of the network's.
    pub macs_share: f64,
    /// Floating point operations per second, in 10⁹; a multiply-add is two.
    pub gflop_per_second: f64,
    /// Operations per one of the `bytes`: the arithmetic intensity.
    pub flop_per_byte: f64,
}

/// Where a training step's time goes: the mean over some steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepProfile {
    /// A whole step, in milliseconds.
    pub step_ms: f64,
    /// The phases of all layers.
    pub phases: Vec<StepPhase>,
    /// Layers that run as smaller operations, whose time is in no phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_fused: Vec<StepNotFused>,
}

/// A layer that has no kernel as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepNotFused {
    /// The layer's path among the variables.
    pub layer: String,
    /// What there is no kernel for.
    pub why: String,
}

/// One phase of one layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepPhase {
    /// The layer's path among the variables.
    pub layer: String,
    /// What it does.
    pub phase: String,
    /// Time in one step, in milliseconds.
    pub ms: f64,
    /// Floating point operations per second, in 10⁹.
    pub gflop_per_second: f64,
    /// Bytes moved per second, in 10⁹.
    pub gb_per_second: f64,
    /// Of the step.
    pub share: f64,
}

impl Artefact for Bench {
    const WHAT: &str = "a benchmark of a network";

    fn check(&self) -> Result<(), Problem> {
        at_least_one("batch", self.batch)?;
        positive("width_mult", self.width_mult)?;
        self.latency_ms.check().map_err(|problem| problem.within("latency_ms"))?;
        positive("images_per_second", self.images_per_second)?;
        for (i, found) in self.throughput.iter().enumerate() {
            positive(format_args!("throughput[{i}].images_per_second"), found.images_per_second)?;
        }
        check(self.sum_ms.is_some() || self.blocks.is_empty(), "sum_ms", "the sum of the blocks' times", "none")?;
        if let Some(sum) = self.sum_ms {
            not_negative("sum_ms", sum)?;
        }
        for (i, block) in self.blocks.iter().enumerate() {
            block.check().map_err(|problem| problem.within(format_args!("blocks[{i}]")))?;
        }
        Ok(())
    }
}

impl LatencyMs {
    /// What is measured takes time, and its mean is a number.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let Self { p50, p90, p99, mean, std, min, max } = *self;
        for (field, value) in [("p50", p50), ("p90", p90), ("p99", p99), ("mean", mean)] {
            positive(field, value)?;
        }
        for (field, value) in [("std", std), ("min", min), ("max", max)] {
            not_negative(field, value)?;
        }
        Ok(())
    }
}

impl BlockTime {
    fn check(&self) -> Result<(), Problem> {
        not_negative("p50_ms", self.p50_ms)?;
        share("latency_share", self.latency_share)?;
        share("macs_share", self.macs_share)?;
        not_negative("gflop_per_second", self.gflop_per_second)?;
        not_negative("flop_per_byte", self.flop_per_byte)
    }
}
