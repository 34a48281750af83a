//! `mobilenet train`

use std::mem;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mobilenet_common::names::UnknownName;
use mobilenet_layers::Precision;
use mobilenet_models::Arch;
use mobilenet_schema::RecipeName;
use mobilenet_train::{AdamWConfig, MuonConfig, OptimizerConfig, Schedule, SgdConfig};
use strum::{EnumString, VariantNames};

use super::values::{above_0, at_least_0, at_least_1, fraction, parse, share};
use super::{DeviceArgs, MeanStd, ShapeArgs, SourceArgs, TechniqueArgs};

/// Train a network and keep everything about the run in a folder
///
/// The folder will hold config.json (all settings), metrics.jsonl (one line per epoch), checkpoint.safetensors (for
/// --resume), model.safetensors (the final weights under torchvision's names) and finally train.json.
#[derive(Args)]
#[command(after_help = "\
Examples:
  The article's protocol on CIFAR-10 (100 epochs, AdamW, cosine, flip and crop):
    mobilenet train --model v2 --data cifar10 --data-dir data/cifar10 --out runs/v2
  A quick try on part of the data:
    mobilenet train --model v3-small --epochs 3 --batch-size 32 --limit-train 2048 --limit-test 1000 --out runs/quick
  SGD as in most published CIFAR-10 results:
    mobilenet train --model v2 --optimizer sgd --lr 0.1 --weight-decay 5e-4 --warmup-epochs 5 --epochs 200 \\
        --out runs/sgd
  Fine-tuning torchvision's weights on folders of pictures (pets/train/CLASS/*, pets/test/CLASS/*):
    mobilenet train --model v3-large --preset imagenet --init mobilenet_v3_large.pth --recipe finetune \\
        --data-dir pets --out runs/pets
  Fine-tuning only the classifier of an earlier run, on other data:
    mobilenet train --init-from runs/v2 --freeze features --data cifar100 --epochs 5 --out runs/v2-100
  A recipe for few epochs, and a large network that teaches a small one:
    mobilenet train --model v3-large --recipe fast --out runs/large
    mobilenet train --model v3-small --recipe fast --teacher runs/large --out runs/small
  The same, taught by a file of `mobilenet export`:
    mobilenet train --model v3-small --recipe fast --teacher models/v2.safetensors --out runs/small
  Resuming after a crash or kill; the settings need not be repeated:
    mobilenet train --resume --out runs/v2
  Going on with a run of 100 epochs:
    mobilenet train --resume --epochs 150 --out runs/v2")]
pub struct TrainArgs {
    /// Folder of the run; created if missing
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Resume the run in --out from its last checkpoint, or start it if there is none
    #[arg(long)]
    pub resume: bool,
    #[arg(long, help = format!("Network: {}", Arch::help()), value_name = "MODEL", value_parser = parse::<Arch>, required_unless_present_any = ["resume", "init_from"])]
    pub model: Option<Arch>,
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// Settings to start from: article; fast, for few epochs of CIFAR-10; or finetune, for weights of other images (--init,
    /// --init-from) [default: article]
    #[arg(long, value_name = "RECIPE", value_parser = parse::<RecipeName>)]
    pub recipe: Option<RecipeName>,
    /// Start from these weights (.safetensors or torchvision's .pth); the number of classes may differ
    #[arg(long, value_name = "WEIGHTS", conflicts_with = "init_from")]
    pub init: Option<PathBuf>,
    /// Start from the network and weights of a finished run; the data may have other classes
    #[arg(long, value_name = "RUN")]
    pub init_from: Option<PathBuf>,
    /// Keep these layers and their batch norm statistics unchanged
    #[arg(long, value_name = "LAYERS", value_enum)]
    pub freeze: Option<Freeze>,

    #[command(flatten)]
    pub source: SourceArgs,
    /// Train on N images only, a fair part of each class
    #[arg(long, value_name = "N", value_parser = at_least_1, allow_negative_numbers = true, help_heading = "Data")]
    pub limit_train: Option<usize>,
    /// Evaluate on N test images only, a fair part of each class
    #[arg(long, value_name = "N", value_parser = at_least_1, allow_negative_numbers = true, help_heading = "Data")]
    pub limit_test: Option<usize>,
    /// Hold out N training images, evaluate each epoch on them instead of the test images and keep the best epoch's
    /// weights
    #[arg(long, value_name = "N", value_parser = at_least_1, allow_negative_numbers = true, help_heading = "Data")]
    pub validation: Option<usize>,

    /// What images are normalized by: data (the training images' mean and standard deviation), imagenet, cifar10, or
    /// M,M,M,S,S,S [default: imagenet with --init of a network for ImageNet's 1000 classes, else data]
    #[arg(long, value_name = "SET", value_parser = parse::<MeanStd>, help_heading = "Data")]
    pub mean_std: Option<MeanStd>,

    /// Passes over the training images; with --resume, more than the run has make it go on [default: 100]
    #[arg(long, value_name = "N", value_parser = at_least_1, help_heading = "Training")]
    pub epochs: Option<usize>,
    /// Images per step [default: 128]
    #[arg(long, value_name = "N", value_parser = at_least_1, help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// Seed of initial weights, data order, augmentation and dropout [default: 1]
    #[arg(long, value_name = "SEED", help_heading = "Training")]
    pub seed: Option<u64>,
    /// Update rule: adamw, sgd (Nesterov, momentum 0.9) or muon (orthogonalized momentum for 1x1 convolutions, adamw
    /// for the rest) [default: adamw]
    #[arg(long, value_name = "RULE", value_parser = parse::<Rule>, help_heading = "Training")]
    pub optimizer: Option<Rule>,
    /// Peak learning rate [default: 1e-3 (adamw), 0.1 (sgd), 3e-3 (muon)]
    #[arg(long, value_name = "RATE", value_parser = above_0, allow_negative_numbers = true, help_heading = "Training")]
    pub lr: Option<f64>,
    /// Weight decay [default: 1e-4 (adamw), 5e-4 (sgd), 0.1 (muon)]
    #[arg(long, value_name = "DECAY", value_parser = at_least_0, allow_negative_numbers = true, help_heading = "Training")]
    pub weight_decay: Option<f64>,
    /// Exclude batch norm and biases from weight decay
    #[arg(long, help_heading = "Training")]
    pub no_decay_norm: bool,
    /// Learning rate schedule: cosine, one-cycle, triangular or constant [default: cosine]
    #[arg(long, value_name = "SCHEDULE", value_parser = parse::<Schedule>, help_heading = "Training")]
    pub schedule: Option<Schedule>,
    /// Epochs of linear warm-up before the schedule, fractions allowed [default: 0]
    #[arg(long, value_name = "N", value_parser = at_least_0, allow_negative_numbers = true, help_heading = "Training")]
    pub warmup_epochs: Option<f64>,
    /// What the learning rate ends at, as a share of the peak, 0 to 1 [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true, help_heading = "Training")]
    pub final_lr: Option<f64>,
    /// Share of the target probability spread over all classes [default: 0]
    #[arg(long, value_name = "SHARE", value_parser = fraction, allow_negative_numbers = true, help_heading = "Training")]
    pub label_smoothing: Option<f64>,
    /// Number format of training: f32; tf32 for products, on CUDA; or bf16 for products and kept activations, which takes
    /// about 70 % of the time on processors that multiply bf16 [default: f32]
    #[arg(long, value_name = "PRECISION", value_parser = parse::<Precision>, help_heading = "Training")]
    pub precision: Option<Precision>,
    #[command(flatten)]
    pub technique: TechniqueArgs,

    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print train.json on stdout at the end
    #[arg(long)]
    pub json: bool,
}

/// `--freeze`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Freeze {
    /// Everything below the classifier
    Features,
}

/// `--optimizer`
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Rule {
    AdamW,
    Sgd,
    Muon,
}

impl Rule {
    /// The rule with its default hyper-parameters.
    pub fn config(self) -> OptimizerConfig {
        match self {
            Self::AdamW => OptimizerConfig::AdamW(AdamWConfig::default()),
            Self::Sgd => OptimizerConfig::Sgd(SgdConfig::default()),
            Self::Muon => OptimizerConfig::Muon(MuonConfig::default()),
        }
    }

    pub fn is_that_of(self, config: &OptimizerConfig) -> bool {
        mem::discriminant(&self.config()) == mem::discriminant(config)
    }
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::new("optimizer", found, <Rule as VariantNames>::VARIANTS)
}
