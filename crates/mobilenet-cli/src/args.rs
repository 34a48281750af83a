//! The command line: what `--help` prints is written here and nowhere else.

mod bench;
mod choose;
mod classifier;
mod eval;
mod export;
mod network;
mod predict;
mod source;
mod technique;
#[cfg(test)]
mod tests;
mod train;
mod values;
mod weights;

use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::Command as Definition;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::bench::BenchArgs;
pub use self::choose::ChooseArgs;
pub use self::classifier::ClassifierArgs;
pub use self::eval::{EvalArgs, Part};
pub use self::export::ExportArgs;
pub use self::network::{NetworkArgs, ShapeArgs};
pub use self::predict::PredictArgs;
pub use self::source::SourceArgs;
pub use self::technique::{FEATURES, TechniqueArgs};
pub use self::train::{Freeze, TrainArgs};
pub use self::values::MeanStd;
use self::values::{at_least_1, parse};
pub use self::weights::WeightsArgs;
use crate::device::DeviceArg;

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

/// Where to compute.
#[derive(Args)]
pub struct DeviceArgs {
    /// Device: cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", value_parser = parse::<DeviceArg>, default_value_t = DeviceArg::Cpu)]
    pub device: DeviceArg,
}
