//! Which trained network: of a run, of a file of weights, or a file that is ready to ship.

use std::path::PathBuf;

use clap::Args;
use mobilenet_models::{Arch, Preset};

use super::values::parse;
use super::{DeviceArgs, MeanStd};

/// A trained network.
#[derive(Args)]
pub struct ClassifierArgs {
    /// Folder that `mobilenet train --out` wrote
    #[arg(long, value_name = "RUN", required_unless_present_any = ["model_file", "weights"])]
    pub run: Option<PathBuf>,
    /// File that `mobilenet export` made
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    pub model_file: Option<PathBuf>,
    /// File of weights, as `mobilenet train --init` reads them: torchvision's .pth, timm's .safetensors, a checkpoint
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "model_file"])]
    pub weights: Option<PathBuf>,
    #[arg(long, help = format!("Network that --weights is of [default: the one that fits]: {}", Arch::help()))]
    #[arg(value_name = "MODEL", value_parser = parse::<Arch>, requires = "weights")]
    pub model: Option<Arch>,
    /// Strides for images of 32x32 (cifar) or 224x224 (imagenet) [default: imagenet with 1,000 classes, else cifar]
    #[arg(long, value_name = "PRESET", value_parser = parse::<Preset>, requires = "weights")]
    pub preset: Option<Preset>,
    /// Strides of the stem and of each stage, such as 1,1,1,2,2,1,2,1, instead of the preset's
    #[arg(long, value_name = "S,S,...", value_delimiter = ',', requires = "weights")]
    pub strides: Option<Vec<usize>>,
    /// The last stage has stride 1 and dilation 2 (V3)
    #[arg(long, requires = "weights")]
    pub dilated: bool,
    /// Text file with the names of the classes of --weights, one a line [default: ImageNet's for 1,000 classes]
    #[arg(long, value_name = "FILE", requires = "weights")]
    pub classes: Option<PathBuf>,
    /// What --weights expects images to be normalized by: imagenet, cifar10, data, or six numbers, of red, green and blue
    /// the mean, then the standard deviation, in units of 0 to 1 [default: imagenet with 1,000 classes, else data]
    #[arg(long, value_name = "MEAN_STD", value_parser = parse::<MeanStd>, allow_hyphen_values = true, requires = "weights")]
    pub mean_std: Option<MeanStd>,
    #[command(flatten)]
    pub device: DeviceArgs,
}
