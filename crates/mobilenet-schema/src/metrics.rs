//! What a training leaves: a line per epoch in `metrics.jsonl`, and `train.json` at the end.

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, at_least_one, not_negative, positive, share};

/// Loss and accuracies after an epoch, on the images that the training is judged by; the JSON keys name them.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "EvalMetrics::loss, top1 and top5 say it once")]
pub enum EvalMetrics {
    /// On the test images.
    Test { test_loss: f64, test_top1: f64, test_top5: f64 },
    /// On held-out training images.
    Validation { valid_loss: f64, valid_top1: f64, valid_top5: f64 },
}

impl EvalMetrics {
    /// Mean cross-entropy, without label smoothing.
    #[must_use]
    pub fn loss(&self) -> f64 {
        match *self {
            Self::Test { test_loss: loss, .. } | Self::Validation { valid_loss: loss, .. } => loss,
        }
    }

    /// Share of the images whose label has the largest logit.
    #[must_use]
    pub fn top1(&self) -> f64 {
        match *self {
            Self::Test { test_top1: top1, .. } | Self::Validation { valid_top1: top1, .. } => top1,
        }
    }

    /// Share of the images whose label is among the five largest logits.
    #[must_use]
    pub fn top5(&self) -> f64 {
        match *self {
            Self::Test { test_top5: top5, .. } | Self::Validation { valid_top5: top5, .. } => top5,
        }
    }

    /// Itself, if it is of the test images.
    #[must_use]
    pub fn on_test_images(&self) -> Option<&Self> {
        matches!(self, Self::Test { .. }).then_some(self)
    }
}

/// One line of `metrics.jsonl`. Accuracies are fractions.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Learning rate of the epoch's last step.
    pub lr: f64,
    /// Mean of the minimized loss (with label smoothing) over the epoch's augmented images, each at the weights it met.
    pub train_loss: f64,
    /// Top-1 accuracy over the epoch's augmented images, each at the weights it met. Of mixed images the first label
    /// counts.
    pub train_top1: f64,
    /// Top-5 accuracy likewise.
    pub train_top5: f64,
    /// After the epoch, on the images that the training is judged by: `test_loss`, ... or `valid_loss`, ...
    #[serde(flatten)]
    pub eval: EvalMetrics,
    /// Training speed, evaluation and checkpoints not counted.
    pub images_per_second: f64,
    /// Wall time of the epoch's training steps; 0 where an old file does not tell.
    #[serde(default)]
    pub seconds: f64,
    /// Wall time of the evaluation after the epoch.
    pub eval_seconds: f64,
    /// Wall time of the run so far, over all its resumptions; work that a kill threw away is not counted.
    pub elapsed_seconds: f64,
}

impl EpochMetrics {
    /// Wall time of the epoch's training steps, in seconds, where the file tells.
    #[must_use]
    pub fn timed(&self) -> Option<f64> {
        (self.seconds > 0.0).then_some(self.seconds)
    }
}

/// `train.json`: a finished training.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrainRecord {
    /// Passes over the training images.
    pub epochs: u64,
    /// The last epoch.
    #[serde(rename = "final")]
    pub last: EpochMetrics,
    /// Wall time of the run over all its resumptions, evaluations included.
    pub seconds: f64,
    /// Wall time of an epoch's training steps, the mean over the run.
    pub seconds_per_epoch: f64,
    /// Training speed over the whole run, evaluations not counted.
    pub images_per_second: f64,
    /// Peak memory of the process; `None` where the system does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// Which weights the run ends with.
    pub weights: String,
}

impl Artefact for EpochMetrics {
    const WHAT: &str = "an epoch's metrics";

    fn check(&self) -> Result<(), Problem> {
        at_least_one("epoch", self.epoch as u64)?;
        share("train_top1", self.train_top1)?;
        share("train_top5", self.train_top5)?;
        let [top1, top5] = match self.eval {
            EvalMetrics::Test { .. } => ["test_top1", "test_top5"],
            EvalMetrics::Validation { .. } => ["valid_top1", "valid_top5"],
        };
        share(top1, self.eval.top1())?;
        share(top5, self.eval.top5())?;
        not_negative("seconds", self.seconds)?;
        not_negative("eval_seconds", self.eval_seconds)?;
        not_negative("elapsed_seconds", self.elapsed_seconds)
    }
}

impl Artefact for TrainRecord {
    const WHAT: &str = "the record of a finished training";

    fn check(&self) -> Result<(), Problem> {
        at_least_one("epochs", self.epochs)?;
        self.last.check().map_err(|problem| problem.within("final"))?;
        positive("seconds", self.seconds)?;
        positive("seconds_per_epoch", self.seconds_per_epoch)?;
        positive("images_per_second", self.images_per_second)
    }
}
