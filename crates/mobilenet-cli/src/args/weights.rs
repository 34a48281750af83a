//! Options of `mobilenet weights`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mobilenet_models::weights::Naming;

/// Say what a file of weights holds: names, shapes, types, the network that it fits and what is missing of it
///
/// Reads .safetensors (also in several files with an index) and what torch.save writes (.pth, .pt, .ckpt, .bin):
/// state dicts alone, wrapped or within a training script's checkpoint, modules saved whole, TorchScript; nothing in a
/// file is executed. Files are at most 8 GiB. With --convert the network's tensors are written as float32 under
/// torchvision's names or timm's.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet weights mobilenet_v3_large.pth
  mobilenet weights model.safetensors --json
  mobilenet weights timm/mobilenetv3_large_100.safetensors --convert v3-large.safetensors
  mobilenet weights runs/v2/model.safetensors --convert v2-timm.safetensors --names timm")]
pub struct WeightsArgs {
    /// File of weights, or the index of several
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write the network's tensors to this .safetensors file
    #[arg(long, value_name = "OUT")]
    pub convert: Option<PathBuf>,
    /// Names in the file that --convert writes [default: torchvision]
    #[arg(long, value_name = "NAMES", value_enum, requires = "convert")]
    pub names: Option<Names>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `--names`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Names {
    /// features.0.0.weight, as this project's runs have them
    Torchvision,
    /// conv_stem.weight
    Timm,
}

impl From<Names> for Naming {
    fn from(names: Names) -> Self {
        match names {
            Names::Torchvision => Self::Torchvision,
            Names::Timm => Self::Timm,
        }
    }
}
