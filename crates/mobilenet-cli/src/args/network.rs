//! What a network is made like, for all commands that make one.

use clap::Args;
use mobilenet_models::{Arch, ModelConfig, Preset};

use super::MAX_CLASSES;
use super::values::{above_0, fraction, parse, up_to};

/// A network without data: `summary` and `bench`.
#[derive(Args)]
pub struct NetworkArgs {
    #[arg(long, help = format!("Network: {}", Arch::help()), value_name = "MODEL", value_parser = parse::<Arch>)]
    pub model: Arch,
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = up_to::<MAX_CLASSES>)]
    pub num_classes: usize,
    #[command(flatten)]
    pub shape: ShapeArgs,
}

impl NetworkArgs {
    /// The network that is asked for; not validated yet.
    pub fn config(&self) -> ModelConfig {
        self.shape.config(self.model, self.num_classes)
    }
}

/// Variations of a network.
#[derive(Args)]
pub struct ShapeArgs {
    /// Strides suited to images of 32x32 (cifar) or 224x224 (imagenet) [default: cifar]
    #[arg(long, value_name = "PRESET", value_parser = parse::<Preset>)]
    pub preset: Option<Preset>,
    /// Width multiplier of every layer's channels, above 0, at most 8 [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = above_0, allow_negative_numbers = true)]
    pub width: Option<f64>,
    /// Halve the channels of the last stage and of the classifier's hidden layer (V3)
    #[arg(long)]
    pub reduced_tail: bool,
    /// Give the last stage stride 1 and dilation 2 (V3)
    #[arg(long)]
    pub dilated: bool,
    /// Strides of the stem and of each stage, such as 1,1,1,2,2,1,2,1, instead of the preset's
    #[arg(long, value_name = "S,S,...", value_delimiter = ',')]
    pub strides: Option<Vec<usize>>,
    /// Weight of a training step's statistics in batch norm's running ones [default: 0.1 (v2), 0.01 (v3)]
    #[arg(long, value_name = "SHARE", value_parser = above_0, allow_negative_numbers = true)]
    pub bn_momentum: Option<f64>,
    /// Probability of dropout before the last layer [default: 0.2]
    #[arg(long, value_name = "P", value_parser = fraction, allow_negative_numbers = true)]
    pub dropout: Option<f64>,
}

impl ShapeArgs {
    /// A network of this shape; not validated yet.
    pub fn config(&self, arch: Arch, num_classes: usize) -> ModelConfig {
        let mut config = ModelConfig::new(arch, num_classes, Preset::Cifar);
        self.apply(&mut config);
        config
    }

    /// Changes the settings that were given; the rest of `config` stays as it is.
    pub fn apply(&self, config: &mut ModelConfig) {
        config.preset = self.preset.unwrap_or(config.preset);
        config.width_mult = self.width.unwrap_or(config.width_mult);
        config.reduced_tail |= self.reduced_tail;
        config.dilated |= self.dilated;
        config.dropout = self.dropout.unwrap_or(config.dropout);
        config.bn_momentum = self.bn_momentum.or(config.bn_momentum);
        if let Some(strides) = &self.strides {
            config.strides = Some(strides.clone());
        }
    }
}
