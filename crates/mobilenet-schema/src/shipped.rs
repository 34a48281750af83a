//! What is known of a network that was made ready to ship.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, check};
use crate::{Environment, LatencyMs};

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
    /// `float32` or `int8`.
    pub precision: String,
    /// What was changed since the training: activations, numbers in 8 bits.
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
    /// Images in a second.
    pub images_per_second: f64,
    /// Threads that computed.
    pub threads: u64,
    /// Each test image's class.
    pub labels: Vec<usize>,
    /// What it was taken for.
    pub predicted: Vec<usize>,
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

impl Artefact for ShippedEval {
    const WHAT: &str = "an evaluation of a shipped network";

    fn check(&self) -> Result<(), Problem> {
        let share = 0.0..=1.0;
        check(share.contains(&self.test_top1), "test_top1", "0 to 1", self.test_top1)?;
        check(self.labels.len() == self.predicted.len(), "predicted", self.labels.len(), self.predicted.len())
    }
}

impl Artefact for ShippedBench {
    const WHAT: &str = "timings of a shipped network";

    fn check(&self) -> Result<(), Problem> {
        check(self.latency_ms.p50 > 0.0, "latency_ms.p50", "above 0", self.latency_ms.p50)
    }
}
