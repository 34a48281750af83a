//! Options of `mobilenet bench`.

use std::path::PathBuf;

use clap::Args;
use mobilenet_layers::Precision;
use mobilenet_models::Arch;

use super::values::{parse, up_to, zero_up_to};
use super::{DeviceArgs, MAX_CLASSES, ShapeArgs};

/// The largest batch of a timed pass: at 224x224 the images alone take 2.5 GB.
const MAX_BATCH: usize = 4_096;
/// The largest number of timed passes, each of which leaves a number in memory.
const MAX_PASSES: usize = 1_000_000;

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
