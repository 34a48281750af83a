//! Options of `mobilenet train` beyond optimizer and schedule: augmentation, averaging of weights, distillation.

use std::path::PathBuf;

use clap::Args;
use mobilenet_data::{Augment, ColorJitter, Mix, Padding, Policy, ResizedCrop};
use mobilenet_train::{Balance, Distillation, LowResolution, LrFactor, TrainConfig, Variables};

use super::MAX_SIDE;
use super::values::{
    above_0, at_least_0, at_least_1, color_jitter, fraction, parse, policy, resized_crop, share, up_to,
};

/// Path of all layers below the classifier among the variables.
pub const FEATURES: &str = "features";

#[derive(Args, Default)]
pub struct TechniqueArgs {
    /// Train on the original images: no flips, crops or any of the following
    #[arg(long, help_heading = "Augmentation", conflicts_with_all = ["alternate_flip", "reflect", "resized_crop", "policy", "color_jitter", "random_erasing", "mixup", "cutmix"])]
    pub no_augment: bool,
    /// Mirror each image in every other epoch instead of at random
    #[arg(long, help_heading = "Augmentation")]
    pub alternate_flip: bool,
    /// Pad crops with the image's reflection instead of black
    #[arg(long, help_heading = "Augmentation")]
    pub reflect: bool,
    /// Instead of a crop after padding: scale a part of the image, of a share of its area from MIN to MAX (0.08,1 is
    /// usual), to the size of the whole
    #[arg(long, value_name = "MIN,MAX", value_parser = resized_crop, allow_hyphen_values = true, conflicts_with = "reflect", help_heading = "Augmentation")]
    pub resized_crop: Option<ResizedCrop>,
    /// Change each image by a draw from fourteen changes of colors and places: trivial-augment-wide, or rand-augment:N,M
    /// for N of them of strength M (rand-augment is 2,9)
    #[arg(long, value_name = "POLICY", value_parser = policy, help_heading = "Augmentation")]
    pub policy: Option<Policy>,
    /// Change brightness, contrast, saturation and hue by up to these, such as 0.4,0.4,0.4,0.1
    #[arg(long, value_name = "B,C,S,H", value_parser = color_jitter, allow_hyphen_values = true, help_heading = "Augmentation")]
    pub color_jitter: Option<ColorJitter>,
    /// Probability of erasing a rectangle of an image [default: 0]
    #[arg(long, value_name = "P", value_parser = share, allow_negative_numbers = true, help_heading = "Augmentation")]
    pub random_erasing: Option<f64>,
    /// Blend the images of a batch in pairs, with weights from Beta(ALPHA, ALPHA)
    #[arg(long, value_name = "ALPHA", value_parser = above_0, allow_negative_numbers = true, conflicts_with = "cutmix", help_heading = "Augmentation")]
    pub mixup: Option<f64>,
    /// Paste a box of one image of a batch into another, its area from Beta(ALPHA, ALPHA)
    #[arg(long, value_name = "ALPHA", value_parser = above_0, allow_negative_numbers = true, help_heading = "Augmentation")]
    pub cutmix: Option<f64>,
    /// Train on images of this height and width in the first epochs
    #[arg(long, value_name = "PIXELS", value_parser = up_to::<MAX_SIDE>, allow_negative_numbers = true, requires = "low_resolution_share", help_heading = "Augmentation")]
    pub low_resolution: Option<usize>,
    /// Share of the epochs, 0 to 1, that use --low-resolution
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true, requires = "low_resolution", help_heading = "Augmentation")]
    pub low_resolution_share: Option<f64>,

    /// Evaluate and keep an exponential moving average of the weights, with this decay per update, such as 0.999
    #[arg(long, value_name = "DECAY", value_parser = fraction, allow_negative_numbers = true, help_heading = "Weights")]
    pub ema: Option<f64>,
    /// Take batch norm's statistics anew from N batches of training images before each evaluation
    #[arg(long, value_name = "N", value_parser = at_least_1, help_heading = "Weights")]
    pub precise_bn: Option<usize>,
    /// Average the gradients of N batches for one update [default: 1]
    #[arg(long, value_name = "N", value_parser = at_least_1, help_heading = "Weights")]
    pub accumulate: Option<usize>,
    /// Multiply the learning rate of biases (batch norm's too) [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = at_least_0, allow_negative_numbers = true, help_heading = "Weights")]
    pub bias_lr: Option<f64>,
    /// Multiply the learning rate of everything below the classifier, for fine-tuning [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = at_least_0, allow_negative_numbers = true, help_heading = "Weights")]
    pub body_lr: Option<f64>,
    /// What is done about classes that have more images than others: none, sampler (each class is shown equally often)
    /// or weights (images of small classes count more in the loss) [default: none]
    #[arg(long, value_name = "HOW", value_parser = parse::<Balance>, help_heading = "Weights")]
    pub balance: Option<Balance>,
    /// Stop after N epochs without improvement on the --validation images
    #[arg(long, value_name = "N", value_parser = at_least_1, help_heading = "Weights")]
    pub early_stop: Option<usize>,

    /// Learn from another network too (knowledge distillation): that of a run, or of a file that `mobilenet export`
    /// made, which teaches on the CPU alone; it must have the same classes
    #[arg(long, value_name = "TEACHER", help_heading = "Teacher")]
    pub teacher: Option<PathBuf>,
    /// Temperature that softens both networks' outputs [default: 4]
    #[arg(long, value_name = "T", value_parser = above_0, allow_negative_numbers = true, help_heading = "Teacher")]
    pub temperature: Option<f64>,
    /// Weight of the teacher in the loss, 0 to 1; the labels have the rest [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true, help_heading = "Teacher")]
    pub teacher_weight: Option<f64>,
}

impl TechniqueArgs {
    /// Changes what was given; the rest of `train` stays. `teacher`: whether there is one, now or since the run began.
    pub fn apply(&self, train: &mut TrainConfig, teacher: bool) {
        let augment = &mut train.augment;
        if self.no_augment {
            *augment = Augment::NONE;
        }
        augment.alternate_flip |= self.alternate_flip;
        if self.reflect {
            augment.padding = Padding::Reflect;
        }
        augment.resized_crop = self.resized_crop.or(augment.resized_crop);
        augment.policy = self.policy.unwrap_or(augment.policy);
        augment.color_jitter = self.color_jitter.or(augment.color_jitter);
        augment.random_erasing = self.random_erasing.unwrap_or(augment.random_erasing);
        let mixup = self.mixup.map(|alpha| Mix::MixUp { alpha });
        augment.mix = self.cutmix.map(|alpha| Mix::CutMix { alpha }).or(mixup).unwrap_or(augment.mix);
        let low_resolution = self.low_resolution.zip(self.low_resolution_share);
        train.low_resolution =
            low_resolution.map(|(size, share)| LowResolution { share, size }).or(train.low_resolution);

        train.ema = self.ema.or(train.ema);
        train.precise_bn = self.precise_bn.or(train.precise_bn);
        train.accumulate = self.accumulate.unwrap_or(train.accumulate);
        let features = Variables::Below(FEATURES.into());
        for (variables, factor) in [(Variables::Biases, self.bias_lr), (features, self.body_lr)] {
            let Some(factor) = factor else { continue };
            train.lr_factors.retain(|known| known.variables != variables);
            train.lr_factors.push(LrFactor { variables, factor });
        }
        train.balance = self.balance.unwrap_or(train.balance);
        train.early_stop = self.early_stop.or(train.early_stop);

        let Distillation { temperature, weight } =
            train.distillation.unwrap_or(Distillation { temperature: 4.0, weight: 0.5 });
        train.distillation = teacher.then_some(Distillation {
            temperature: self.temperature.unwrap_or(temperature),
            weight: self.teacher_weight.unwrap_or(weight),
        });
    }
}
