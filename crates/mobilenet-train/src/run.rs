//! What a run is given and what it leaves.

use std::sync::Arc;
use std::time::Duration;

use mobilenet_data::{Normalization, Split};
use serde::{Deserialize, Serialize};

use crate::{EpochMetrics, EvalSplit};

/// Name of the checkpoint in a run's folder.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// Name of the file with one JSON line per epoch ([`EpochMetrics`]) in a run's folder.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// Name of the file with the weights of the best epoch, with [`EvalSplit::Validation`], in a run's folder.
pub const BEST_FILE: &str = "best.safetensors";

/// The images of a run.
#[derive(Clone)]
pub struct FitData {
    /// Images to train on.
    pub train: Arc<Split>,
    /// Images to judge each epoch by.
    pub eval: Arc<Split>,
    /// Which images `eval` consists of.
    pub eval_split: EvalSplit,
    /// Mean and standard deviation per channel, for both.
    pub normalization: Normalization,
}

/// How a run is kept on disk.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Go on from the folder's checkpoint; without one, begin.
    pub resume: bool,
    /// Take a checkpoint of a run of fewer epochs, too: the run goes on, at the learning rates that its schedule has
    /// for as many epochs as it has now.
    pub more_epochs: bool,
    /// A checkpoint is written after each epoch, and within an epoch when the last is older than this.
    pub checkpoint_interval: Duration,
    /// What the run depends on that the trainer cannot see, such as the model's settings. Kept in the checkpoint; a run
    /// can only be resumed with the same value.
    pub model: serde_json::Value,
}

impl Default for RunOptions {
    /// No resuming, a checkpoint every five minutes, no model settings.
    fn default() -> Self {
        Self {
            resume: false,
            more_epochs: false,
            checkpoint_interval: Duration::from_secs(300),
            model: serde_json::Value::Null,
        }
    }
}

/// The epoch whose weights did best on the held-out images: highest top-1, at equal top-1 lowest loss.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Best {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Its top-1 accuracy on the held-out images.
    pub top1: f64,
    /// Its loss on the held-out images.
    pub loss: f64,
}

/// A finished run.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// One entry per epoch.
    pub history: Vec<EpochMetrics>,
    /// With [`EvalSplit::Validation`], the epoch whose weights the model now has. Otherwise it has those of the last
    /// epoch.
    pub best: Option<Best>,
    /// Wall time of the run over all its resumptions.
    pub elapsed_seconds: f64,
}
