//! What is known of a network that was made ready to ship.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bench::LatencyMs;
use crate::check::{Artefact, Problem, at_least_one, check, not_negative, positive, share};
use crate::environment::Environment;
use crate::names::Form;
use crate::scores::Scores;
use crate::statistics::McNemar;

/// A file of mobilenet-runtime.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shipped {
    /// Where it lies.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The architecture's name.
    pub model: String,
    /// The width multiplier.
    pub width_mult: f64,
    /// `float32`, `bf16` (weights alone) or `int8`.
    pub precision: String,
    /// What was changed since the training: activations, rounded weights, numbers in 8 bits.
    pub changes: Vec<String>,
}

/// `mobilenet eval --model-file FILE --json`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShippedEval {
    /// What was evaluated.
    #[serde(flatten)]
    pub shipped: Shipped,
    /// The data set's name.
    pub data: String,
    /// Which copy of it was read.
    pub copy: String,
    /// Test images.
    pub test_images: u64,
    /// Mean cross-entropy.
    pub test_loss: f64,
    /// Share of right answers, from 0 to 1.
    pub test_top1: f64,
    /// Share of the images whose label is among the five largest logits; absent in old files, as what follows is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// Images in a second.
    pub images_per_second: f64,
    /// Threads that computed.
    pub threads: u64,
    /// Each test image's class.
    pub labels: Vec<usize>,
    /// What it was taken for.
    pub predicted: Vec<usize>,
    /// The probability of each answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confidence: Vec<f32>,
    /// The network's classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Images by true class (row) and answer (column).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub confusion: Vec<Vec<u64>>,
    /// What is counted from the answers, class by class and by confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
}

/// `mobilenet bench --model-file FILE --json`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShippedBench {
    /// What was timed.
    #[serde(flatten)]
    pub shipped: Shipped,
    /// Height and width of the images, in pixels.
    pub image: [usize; 2],
    /// Images of a pass.
    pub batch: u64,
    /// Threads that computed.
    pub threads: u64,
    /// The instruction set.
    pub instructions: String,
    /// Untimed passes.
    pub warmup: u64,
    /// Timed passes.
    pub iterations: u64,
    /// The time of a pass.
    pub latency_ms: LatencyMs,
    /// Images in a second.
    pub images_per_second: f64,
    /// The process's peak memory.
    pub peak_rss_bytes: Option<u64>,
    /// Its memory before the network was loaded.
    pub baseline_rss_bytes: Option<u64>,
    /// Where it was measured.
    pub environment: Environment,
}

/// A network in one form, as `results.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShippedResult {
    /// The form.
    pub form: Form,
    /// What was changed since the training.
    #[serde(default)]
    pub changes: Vec<String>,
    /// Size of its file.
    pub bytes: u64,
    /// Test images.
    pub test_images: u64,
    /// Share of them that is classified correctly.
    pub test_top1: f64,
    /// Its 95 % interval by the number of test images.
    pub test_top1_interval: [f64; 2],
    /// `test_top1` minus that of the same network in float32; absent for float32 itself.
    #[serde(default)]
    pub difference: Option<f64>,
    /// The difference's 95 % interval, over the test images.
    #[serde(default)]
    pub interval: Option<(f64, f64)>,
    /// Float32 against this form on the same images.
    #[serde(default)]
    pub mcnemar: Option<McNemar>,
    /// Images in a second of the evaluation, in batches.
    pub images_per_second: f64,
    /// Time of one image, of the middle round.
    #[serde(default)]
    pub latency_ms: Option<LatencyMs>,
    /// The median of every round, in the order of time.
    #[serde(default)]
    pub latency_rounds_ms: Vec<f64>,
    /// Peak memory of a process that answers single images.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Threads that it was timed with.
    #[serde(default)]
    pub threads: Option<u64>,
    /// Processor that it was timed on.
    #[serde(default)]
    pub processor: Option<String>,
    /// The instruction set that it was timed with.
    #[serde(default)]
    pub instructions: Option<String>,
}

impl Artefact for ShippedEval {
    const WHAT: &str = "an evaluation of a shipped network";

    fn check(&self) -> Result<(), Problem> {
        share("test_top1", self.test_top1)?;
        positive("images_per_second", self.images_per_second)?;
        check(self.labels.len() == self.predicted.len(), "predicted", self.labels.len(), self.predicted.len())
    }
}

impl Artefact for ShippedBench {
    const WHAT: &str = "timings of a shipped network";

    fn check(&self) -> Result<(), Problem> {
        self.latency_ms.check().map_err(|problem| problem.within("latency_ms"))
    }
}

impl ShippedResult {
    /// What holds for every entry of `results.json`.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        at_least_one("test_images", self.test_images)?;
        share("test_top1", self.test_top1)?;
        let [low, high] = self.test_top1_interval;
        check(low <= high, "test_top1_interval", "its lower end first", format_args!("[{low}, {high}]"))?;
        not_negative("images_per_second", self.images_per_second)?;
        match &self.latency_ms {
            Some(latency) => latency.check().map_err(|problem| problem.within("latency_ms")),
            None => Ok(()),
        }
    }
}
