//! The hyper-parameters of a run, one flat block.

use mobilenet_data::Augment;
use mobilenet_layers::Precision;
use serde::{Deserialize, Serialize};

use crate::{Error, OptimizerConfig, Schedule};

/// Everything that the course of a training depends on besides the model and the data.
///
/// A run can only be resumed with the configuration that it was started with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TrainConfig {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step. A last batch of a single image is dropped (unless all batches are of one image): batch
    /// statistics over one image say nothing.
    pub batch_size: usize,
    /// Drop the last batch of an epoch if it is smaller than the others.
    pub drop_last: bool,
    /// Source of the data order, the augmentation and the dropout.
    pub seed: u64,
    /// Share of the target probability that is spread over all classes, in `[0, 1)`.
    pub label_smoothing: f64,
    /// The update rule with its (peak) learning rate.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes over the run.
    pub schedule: Schedule,
    /// Epochs (fractions allowed) of linear warm-up before the schedule begins. [`Schedule::OneCycle`] brings its own
    /// warm-up and takes none.
    pub warmup_epochs: f64,
    /// Random flips and crops of the training images.
    pub augment: Augment,
    /// What the network multiplies and keeps while it is trained; evaluation is always float32. The trainer takes the network
    /// as it is: whoever makes it sets its precision.
    #[serde(default)]
    pub precision: Precision,
}

impl Default for TrainConfig {
    /// The article's protocol: 100 epochs of batch 128, AdamW (1e-3, weight decay 1e-4), cosine, flip and crop.
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_size: 128,
            drop_last: false,
            seed: 1,
            label_smoothing: 0.0,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::Cosine,
            warmup_epochs: 0.0,
            augment: Augment::default(),
            precision: Precision::F32,
        }
    }
}

impl TrainConfig {
    /// Refuses settings that no training can be done with.
    ///
    /// # Errors
    /// [`Error::Config`] with the setting's name, its value and what is expected.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |ok: bool, field, found: String, expected| {
            if ok { Ok(()) } else { Err(Error::Config { field, found, expected }) }
        };
        check(self.epochs >= 1, "epochs", self.epochs.to_string(), "at least 1")?;
        check(self.batch_size >= 1, "batch_size", self.batch_size.to_string(), "at least 1")?;
        check(
            (0.0..1.0).contains(&self.label_smoothing),
            "label_smoothing",
            self.label_smoothing.to_string(),
            "at least 0 and less than 1",
        )?;
        let warmup_ok = self.warmup_epochs >= 0.0 && self.warmup_epochs <= self.epochs as f64;
        check(
            warmup_ok,
            "warmup_epochs",
            self.warmup_epochs.to_string(),
            "at least 0 and at most the number of epochs",
        )?;
        check(
            self.schedule != Schedule::OneCycle || self.warmup_epochs == 0.0,
            "warmup_epochs",
            self.warmup_epochs.to_string(),
            "0 with the one-cycle schedule, which brings its own warm-up",
        )?;
        self.optimizer.validate()
    }

    /// Steps of an epoch over `images` training images.
    #[must_use]
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        if self.batch_size == 0 {
            return 0;
        }
        let rest = images % self.batch_size;
        images / self.batch_size + usize::from(rest >= 2 && !self.drop_last)
    }

    /// The learning rate at `step` (from 0, over the whole run) of a run with `steps_per_epoch`.
    #[must_use]
    pub fn lr(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let warmup = (self.warmup_epochs * steps_per_epoch as f64).round() as usize;
        self.optimizer.lr() * self.schedule.factor(step, self.epochs * steps_per_epoch, warmup)
    }
}
