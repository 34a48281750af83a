//! The command line: what `--help` prints is written here and nowhere else.

mod classifier;
mod eval;
mod export;
mod predict;
mod source;
mod technique;
mod train;
mod values;
mod weights;

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Command as Definition;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use mobilenet_layers::Precision;
use mobilenet_models::{Arch, ModelConfig, Preset};

pub use self::classifier::ClassifierArgs;
pub use self::eval::{EvalArgs, Part};
pub use self::export::ExportArgs;
pub use self::predict::PredictArgs;
pub use self::source::SourceArgs;
pub use self::technique::{FEATURES, TechniqueArgs};
pub use self::train::{Freeze, TrainArgs};
pub use self::values::MeanStd;
use self::values::{above_0, amount, at_least_1, fraction, parse, up_to, zero_up_to};
pub use self::weights::WeightsArgs;
use crate::device::DeviceArg;

/// The largest batch of a timed pass: at 224x224 the images alone take 2.5 GB.
const MAX_BATCH: usize = 4_096;
/// The largest number of timed passes, each of which leaves a number in memory.
const MAX_PASSES: usize = 1_000_000;
/// Most pixels of a picture's side.
const MAX_SIDE: usize = 16_384;
/// The largest number of classes of a network without data: five times that of ImageNet-21k.
const MAX_CLASSES: usize = 100_000;

/// Train, evaluate, time and inspect MobileNetV2 and MobileNetV3
#[derive(Parser)]
#[command(
    name = "mobilenet",
    version,
    after_help = "\
A first try, a few minutes on two cores:
  mobilenet summary --model v2
  mobilenet train   --model v2 --epochs 3 --batch-size 32 --limit-train 2048 --limit-test 1000 --out runs/first
  mobilenet eval    --run runs/first
  mobilenet predict --run runs/first photo.jpg
  mobilenet bench   --model v2
  mobilenet bench   --model v2 --blocks

Each command has its own help: mobilenet train --help"
)]
pub struct Cli {
    /// Threads to compute with [default: RAYON_NUM_THREADS, else all cores]
    #[arg(long, global = true, value_name = "N", value_parser = at_least_1)]
    pub threads: Option<usize>,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses a command line.
    ///
    /// What follows an option is its value even if it begins with a minus: `--epochs -1` is then a wrong value of
    /// `--epochs` and not an unknown argument. Paths are no such values: `--out --resume` lacks one.
    pub fn read(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let takes_any = |arg: clap::Arg| {
            let path = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
            let option = arg.get_action().takes_values() && !arg.is_positional();
            if option && !path { arg.allow_hyphen_values(true) } else { arg }
        };
        let commands = |command: Definition| command.mut_args(takes_any);
        let definition = Self::command().mut_args(takes_any).mut_subcommands(commands);
        Self::from_arg_matches(&definition.try_get_matches_from(line)?)
    }
}

#[derive(Subcommand)]
pub enum Command {
    Summary(SummaryArgs),
    Train(Box<TrainArgs>),
    Eval(Box<EvalArgs>),
    Export(ExportArgs),
    Predict(PredictArgs),
    Weights(WeightsArgs),
    Bench(BenchArgs),
    Roofline(RooflineArgs),
    Data(DataArgs),
    Choose(ChooseArgs),
    Report(ReportArgs),
}

/// Print a network layer by layer: output shape, parameters, MACs
///
/// MACs are the multiply-adds of convolutions and linear layers for one image; parameters leave out batch norm's
/// running statistics.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet summary --model v3-large --num-classes 10 --preset cifar
  mobilenet summary --model v2 --num-classes 1000 --preset imagenet --width 0.75
  mobilenet summary --model v3-small --json")]
pub struct SummaryArgs {
    #[command(flatten)]
    pub model: NetworkArgs,
    /// Height and width of the images [default: 32 (cifar), 224 (imagenet)]
    #[arg(long, value_name = "PIXELS", value_parser = at_least_1)]
    pub image_size: Option<usize>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Measure a network's latency, throughput and memory
///
/// Runs an untrained network on random images: 10 untimed passes, then 100 timed ones (the article's protocol), and, at
/// batch 1, measures the throughput at batches of 8, 32 and 128 too. With --train it times full training steps
/// (forward, backward, AdamW). Memory is the peak of the whole process after the timed passes. With --blocks it reports
/// each block's share of the inference time next to its share of the MACs; passes with and without clock readings
/// alternate. With --model-file it times a file that `mobilenet export` made, by mobilenet-runtime, which is what one ships;
/// everything else is timed by Candle with this project's kernels, which is what trains.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet bench --model v2
  mobilenet bench --model v3-large --preset imagenet --threads 1 --json
  mobilenet bench --model v2 --train --batch 128 --warmup 2 --iterations 5
  mobilenet bench --model v3-large --blocks
  mobilenet bench --model v3-large --blocks --batch 128 --warmup 2 --iterations 10 --json
  mobilenet bench --model-file v2-int8.safetensors --threads 1
  mobilenet bench --model v2 --train --precision bf16 --device cuda --plan")]
pub struct BenchArgs {
    #[arg(long, help = format!("Network: {}", Arch::help()), value_name = "MODEL", value_parser = parse::<Arch>)]
    #[arg(required_unless_present = "model_file")]
    pub model: Option<Arch>,
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = up_to::<MAX_CLASSES>)]
    pub num_classes: usize,
    #[command(flatten)]
    pub shape: ShapeArgs,
    /// File that `mobilenet export` made, timed by the runtime
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "train", "blocks"])]
    pub model_file: Option<PathBuf>,
    /// Images per pass [default: 1, with --train 128]
    #[arg(long, value_name = "N", value_parser = up_to::<MAX_BATCH>)]
    pub batch: Option<usize>,
    /// Time full training steps instead of inference
    #[arg(long)]
    pub train: bool,
    /// Number format of training (with --device cuda also of inference): f32; tf32 for products, on CUDA; or bf16 for
    /// products and kept activations
    #[arg(long, value_name = "PRECISION", value_parser = parse::<Precision>, default_value_t)]
    pub precision: Precision,
    /// Show where the time of a training step goes: each phase of each layer
    #[arg(long, requires = "train")]
    pub profile: bool,
    /// Show where the time of inference goes, block by block
    #[arg(long, conflicts_with = "train")]
    pub blocks: bool,
    /// Count what CUDA would launch and the bytes it would move, stage by stage; needs --device cuda and no GPU
    #[arg(long, conflicts_with_all = ["profile", "blocks", "model_file", "warmup", "iterations"])]
    pub plan: bool,
    /// Untimed passes before the timed ones [default: 10, with --train 2]
    #[arg(long, value_name = "N", value_parser = zero_up_to::<MAX_PASSES>)]
    pub warmup: Option<usize>,
    /// Timed passes [default: 100, with --train 10]
    #[arg(long, value_name = "N", value_parser = up_to::<MAX_PASSES>)]
    pub iterations: Option<usize>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Measure this machine's roofline: its peak arithmetic rate and memory bandwidths
///
/// Takes about three seconds. The peak is the best rate of float32 matrix products whose operands fit in the cache, by
/// the kernel that the networks use. A bandwidth is the best rate at which all threads read a buffer and write it back;
/// the buffer has half the size of the L2, half the size of the L3, or four times the size of the L3 (memory). A
/// computation that does so many FLOP for each byte it moves cannot run faster than that many times the bandwidth, nor
/// faster than the peak (Williams, Waterman and Patterson, 2009). `bench --blocks` reports each block's FLOP per byte.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet roofline
  mobilenet roofline --threads 1 --json")]
pub struct RooflineArgs {
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Describe a data set: where it comes from, its classes, numbers of images, mean and standard deviation
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet data --data-dir data/cifar10
  mobilenet data --data shapes10
  mobilenet data --hub uoft-cs/cifar100
  mobilenet data --data-dir data/cifar10 --images 3,17,20 --json")]
pub struct DataArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Test images to include in the JSON as PNG, by index from 0
    #[arg(long, value_name = "INDEX", value_delimiter = ',', requires = "json")]
    pub images: Vec<usize>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Choose a network: the most accurate one within limits, among those measured on this machine
///
/// Reads the results.json of comparisons (cargo xtask compare) and considers only networks that were timed on a
/// processor of the same name with as many threads as --threads gives. Networks that were measured as they are shipped
/// can be chosen in each of their forms (v2 int8). Accuracies from different comparisons are not compared with each
/// other: each comparison yields a choice of its own.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet choose --max-latency-ms 2 --max-params 3M
  mobilenet choose --from runs/widths --max-macs 100M --min-accuracy 0.9 --json
  mobilenet --threads 1 choose --max-memory-mb 40

To measure networks to choose from, at several widths:
  cargo xtask compare --models widths --out runs/widths")]
pub struct ChooseArgs {
    /// At most so many milliseconds for one image (median, batch 1)
    #[arg(long, value_name = "MS", value_parser = above_0, allow_negative_numbers = true)]
    pub max_latency_ms: Option<f64>,
    /// At most so many parameters, such as 3M, 2.5M or 500k
    #[arg(long, value_name = "N", value_parser = amount, allow_hyphen_values = true)]
    pub max_params: Option<u64>,
    /// At most so many multiply-adds for one image, such as 100M
    #[arg(long, value_name = "N", value_parser = amount, allow_hyphen_values = true)]
    pub max_macs: Option<u64>,
    /// At most so many megabytes (10^6 bytes) of memory for a process that classifies single images
    #[arg(long, value_name = "MB", value_parser = above_0, allow_negative_numbers = true)]
    pub max_memory_mb: Option<f64>,
    /// At least this share of the test images classified correctly, such as 0.9
    #[arg(long, value_name = "SHARE", value_parser = fraction, allow_negative_numbers = true)]
    pub min_accuracy: Option<f64>,
    /// Folder of a comparison; can be repeated [default: every folder in runs]
    #[arg(long, value_name = "DIR")]
    pub from: Vec<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Write a report of runs: report.html, report.md and results.json
///
/// Accuracy, curves, mistakes, settings and machine of each run. Runs of one network that differ in nothing but
/// their seeds are counted together. Networks, and one network with different settings, are compared with intervals and
/// tests where the test images allow; where not, the report says so. A run that has not been evaluated appears in curves
/// and settings only.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet report runs/v2
  mobilenet report runs/v2-s1 runs/v2-s2 runs/v3-large-s1 runs/v3-large-s2 --out runs/both
  mobilenet report runs/tuned-s1 runs/tuned-s2 runs/scratch-s1 runs/scratch-s2 --out runs/starts")]
pub struct ReportArgs {
    /// Folders that `mobilenet train --out` wrote
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder for the report, created if missing [default: the run's own; of several runs none]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

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

/// Where to compute.
#[derive(Args)]
pub struct DeviceArgs {
    /// Device: cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", value_parser = parse::<DeviceArg>, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_values_are_named() {
        for (line, expected) in [
            ("summary --model v4", "v2, v2-hs, v2-hs-se, v2-hs-se-k5, v3-large, v3-small"),
            ("summary --model v2 --width -1", "a number above 0"),
            ("summary --model v2 --width nan", "a number above 0"),
            ("train --model v2 --out r --epochs 0", "at least 1"),
            ("train --model v2 --out r --batch-size 0", "at least 1"),
            ("train --model v2 --out r --lr -1", "a number above 0"),
            ("train --model v2 --out r --label-smoothing 1", "0 to below 1"),
            ("train --model v2 --out r --optimizer lion", "adamw, sgd or muon"),
            ("train --model v2 --out r --schedule step", "one-cycle"),
            ("train --model v2 --out r --data mnist", "cifar10"),
            ("train --model v2 --out r --recipe slow", "article, fast or finetune"),
            ("train --model v2 --out r --balance all", "none, sampler or weights"),
            ("train --model v2 --out r --picture-cache -1", "such as 500M"),
            ("train --model v2 --out r --ema 1", "0 to below 1"),
            ("train --model v2 --out r --random-erasing 1.5", "0 to 1"),
            ("train --model v2 --out r --mixup 0", "a number above 0"),
            ("train --model v2 --out r --mixup 1 --cutmix 1", "cannot be used with"),
            ("train --model v2 --out r --low-resolution 24", "--low-resolution-share"),
            ("train --model v2 --out r --freeze stem", "features"),
            ("train --out r", "--model"),
            ("bench --model v2 --device gpu", "cuda:N"),
            ("bench --model v2 --threads 0", "at least 1"),
            ("bench --model v2 --batch 18446744073709551615", "at least 1 and at most 4,096"),
            ("bench --model v2 --batch 4097", "at least 1 and at most 4,096"),
            ("bench --model v2 --iterations 1000001", "at least 1 and at most 1,000,000"),
            ("bench --model v2 --warmup 1000000000000", "at least 0 and at most 1,000,000"),
            ("bench --model v2 --num-classes 1000000", "at least 1 and at most 100,000"),
            ("bench --model v2 --blocks --train", "--train"),
            ("roofline --threads 0", "at least 1"),
            ("data --images 1,2", "--json"),
            ("data --image-size -1", "'--image-size <PIXELS>': expected a whole number, at least 1 and at most 16,384"),
            ("data --image-size 20000", "'--image-size <PIXELS>'"),
            ("data --split-seed -1", "'--split-seed <SEED>'"),
            ("data --test-share 1", "'--test-share <SHARE>': expected a number above 0 and below 1"),
            ("data --crop-share -0.5", "'--crop-share <SHARE>'"),
            ("train --model v2 --out r --limit-train -1", "'--limit-train <N>': expected a whole number, at least 1"),
            (
                "train --model v2 --out r --low-resolution 20000 --low-resolution-share 0.5",
                "'--low-resolution <PIXELS>'",
            ),
            ("train --model v2 --out r --resized-crop -1,1", "'--resized-crop <MIN,MAX>': expected two shares"),
            ("train --model v2 --out r --policy auto", "trivial-augment-wide, rand-augment or rand-augment:N,M"),
            ("train --model v2 --out r --color-jitter 1,2,3", "expected four numbers"),
            ("train --model v2 --out r --no-augment --policy rand-augment", "cannot be used with"),
            ("choose --max-params 3X", "3M, 2.5M, 500k or 120000"),
            ("choose --max-params 0", "3M, 2.5M, 500k or 120000"),
            ("choose --max-macs -1M", "3M, 2.5M, 500k or 120000"),
            ("choose --max-macs M", "3M, 2.5M, 500k or 120000"),
            ("choose --max-latency-ms 0", "a number above 0"),
            ("choose --min-accuracy 90", "0 to below 1"),
        ] {
            let words = std::iter::once("mobilenet").chain(line.split(' '));
            let Err(error) = Cli::read(words) else { panic!("{line}: no error") };
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn negative_values_name_their_flag() {
        for value in ["-1", "-inf", "-x"] {
            for (line, flag) in [
                ("train --model v2 --out r --epochs", "--epochs"),
                ("train --model v2 --out r --seed", "--seed"),
                ("train --model v2 --out r --lr", "--lr"),
                ("train --model v2 --out r --strides", "--strides"),
                ("train --out r --model", "--model"),
                ("bench --model v2 --threads", "--threads"),
                ("bench --model v2 --batch", "--batch"),
                ("summary --model v2 --image-size", "--image-size"),
                ("choose --max-latency-ms", "--max-latency-ms"),
            ] {
                let words = std::iter::once("mobilenet").chain(line.split(' ')).chain([value]);
                let Err(error) = Cli::read(words) else { panic!("{line} {value}: no error") };
                let text = error.to_string();
                let first = text.lines().next().unwrap();
                assert!(first.contains("invalid value") && first.contains(flag), "{line} {value}: {text}");
            }
        }
        let Err(error) = Cli::read(["mobilenet", "train", "--out", "--resume"]) else { panic!("no error") };
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
