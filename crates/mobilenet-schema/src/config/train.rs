//! The hyper-parameters of a training, one flat block.

use mobilenet_common::names::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use super::augment::Augment;
use super::optimizer::OptimizerConfig;
use super::read::is_default;
use super::schedule::Schedule;
use crate::check::{Problem, check};

/// Everything that the course of a training depends on besides the model and the data. What the model multiplies and
/// keeps (float32 or bf16) is the model's: `MobileNet::with_precision`, `Stack::with_precision`.
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
    /// What the learning rate ends at, as a share of the peak, from 0 to 1: the schedule's way down to 0 ends there
    /// instead, and its way up begins higher ([`TrainConfig::lr`]). With the cosine it is PyTorch's
    /// `CosineAnnealingLR(eta_min = final_lr * lr)`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub final_lr: f64,
    /// Random flips and crops of the training images.
    pub augment: Augment,
    /// The decay of an exponential moving average of the weights, per update, after a warm-up (`Ema` of
    /// mobilenet-train). The average is what is evaluated and what the run ends with; without one, the weights
    /// themselves.
    #[serde(default)]
    pub ema: Option<f64>,
    /// Before each evaluation, batch norm's statistics are taken anew from so many batches of training images
    /// (`trainer/norms.rs` of mobilenet-train); `None`: they are the running ones, averaged as the weights are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precise_bn: Option<usize>,
    /// Batches whose gradients are averaged for one update of the weights.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// Learning rates of their own for some variables.
    #[serde(default)]
    pub lr_factors: Vec<LrFactor>,
    /// Smaller images at first.
    #[serde(default)]
    pub low_resolution: Option<LowResolution>,
    /// What is learned from a teacher, if the trainer has one.
    #[serde(default)]
    pub distillation: Option<Distillation>,
    /// End the run after so many epochs without a better one on the held-out images.
    #[serde(default)]
    pub early_stop: Option<usize>,
    /// What is done about classes that have more images than others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub balance: Balance,
}

/// What is done about classes that have more training images than others.
#[derive(
    Copy, Clone, Eq, PartialEq, Hash, Debug, Default, Serialize, Deserialize, Display, EnumString, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown_balance)]
pub enum Balance {
    /// Nothing: a class counts as much as it has images.
    #[default]
    None,
    /// Each epoch, as long as without, shows images of every class equally often: those of small classes several times,
    /// each time augmented anew, and not all of large ones.
    Sampler,
    /// An image counts in the loss in inverse proportion to the images of its class: `images / (classes * images of the
    /// class)`, as the weights of `torch.nn.CrossEntropyLoss`.
    Weights,
}

fn unknown_balance(found: &str) -> UnknownName {
    UnknownName::new("way to balance classes", found, <Balance as VariantNames>::VARIANTS)
}

fn one() -> usize {
    1
}

/// The first epochs see smaller images, which cost less (progressive resizing; Howard, fast.ai 2018).
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LowResolution {
    /// Their share of the run, from 0 to 1, rounded to whole epochs.
    pub share: f64,
    /// Height and width of their images, in pixels.
    pub size: usize,
}

/// Knowledge distillation (Hinton, Vinyals & Dean 2015, <https://arxiv.org/abs/1503.02531>):
/// `loss = (1 - weight) * cross-entropy + weight * temperature^2 * KL(teacher || student)`, both softened.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Distillation {
    /// What the logits of both are divided by before the softmax, above 0.
    pub temperature: f64,
    /// The share of the teacher's word, from 0 to 1.
    pub weight: f64,
}

/// A learning rate of their own for some variables: the schedule's times `factor`. Where several apply, all multiply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LrFactor {
    /// Which variables.
    pub variables: Variables,
    /// What the learning rate is multiplied with; at 0 they stay as they are.
    pub factor: f64,
}

/// Some of a model's variables.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variables {
    /// Those whose name is this path or begins with it and a dot.
    Below(String),
    /// Vectors named `bias`: batch norm's shifts and the biases of linear layers.
    Biases,
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
            final_lr: 0.0,
            augment: Augment::default(),
            ema: None,
            precise_bn: None,
            accumulate: 1,
            lr_factors: Vec::new(),
            low_resolution: None,
            distillation: None,
            early_stop: None,
            balance: Balance::None,
        }
    }
}

impl TrainConfig {
    /// Refuses settings that no training can be done with.
    ///
    /// # Errors
    /// The first such setting, with what is expected and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        check(self.epochs >= 1, "epochs", "at least 1", self.epochs)?;
        check(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)?;
        check(
            (0.0..1.0).contains(&self.label_smoothing),
            "label_smoothing",
            "at least 0 and less than 1",
            self.label_smoothing,
        )?;
        let warmup_ok = self.warmup_epochs >= 0.0 && self.warmup_epochs <= self.epochs as f64;
        check(warmup_ok, "warmup_epochs", "at least 0 and at most the number of epochs", self.warmup_epochs)?;
        check(
            self.schedule != Schedule::OneCycle || self.warmup_epochs == 0.0,
            "warmup_epochs",
            "0 with the one-cycle schedule, which brings its own warm-up",
            self.warmup_epochs,
        )?;
        check((0.0..=1.0).contains(&self.final_lr), "final_lr", "from 0 to 1", self.final_lr)?;
        if let Some(decay) = self.ema {
            check((0.0..1.0).contains(&decay), "ema", "at least 0 and less than 1", decay)?;
        }
        check(self.precise_bn != Some(0), "precise_bn", "at least 1", 0)?;
        check(self.accumulate >= 1, "accumulate", "at least 1", self.accumulate)?;
        check(self.early_stop != Some(0), "early_stop", "at least 1", 0)?;
        for LrFactor { factor, .. } in &self.lr_factors {
            check(*factor >= 0.0 && factor.is_finite(), "lr_factors", "at least 0", factor)?;
        }
        if let Some(LowResolution { share, size }) = self.low_resolution {
            check((0.0..=1.0).contains(&share), "low_resolution.share", "from 0 to 1", share)?;
            check(size >= 1, "low_resolution.size", "at least 1", size)?;
        }
        if let Some(Distillation { temperature, weight }) = self.distillation {
            let warm = temperature > 0.0 && temperature.is_finite();
            check(warm, "distillation.temperature", "more than 0", temperature)?;
            check((0.0..=1.0).contains(&weight), "distillation.weight", "from 0 to 1", weight)?;
        }
        self.augment.validate()?;
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

    /// Height and width that the images of `epoch` (from 1) are scaled to; `None`: their own.
    #[must_use]
    pub fn image_size(&self, epoch: usize) -> Option<usize> {
        let LowResolution { share, size } = self.low_resolution?;
        (epoch <= (share * self.epochs as f64).round() as usize).then_some(size)
    }

    /// The learning rate at `step` (from 0, over the whole run) of a run with `steps_per_epoch`:
    /// `lr * (final_lr + (1 - final_lr) * factor)`, with the schedule's factor.
    #[must_use]
    pub fn lr(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let warmup = (self.warmup_epochs * steps_per_epoch as f64).round() as usize;
        let factor = self.schedule.factor(step, self.epochs * steps_per_epoch, warmup);
        self.optimizer.lr() * (self.final_lr + (1.0 - self.final_lr) * factor)
    }
}
