//! Options of `mobilenet predict`.

use std::path::PathBuf;

use clap::Args;

use super::ClassifierArgs;
use super::values::{share, up_to};

/// The most classes that are named for a picture.
const MAX_TOP: usize = 1_000;

/// Classify pictures: the most probable classes of each, with their probabilities
///
/// A picture of any size is scaled so that its shorter side fits the network's input, then cropped at the center, as the
/// network's test images were. Of a folder all pictures are taken, in its folders, too, told by content; other files are
/// left out. Pictures that cannot be read are listed, all of them, and are an error without --skip-broken.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet predict --run runs/v2 cat.jpg
  mobilenet predict --run runs/v2 --json photos/*.png
  mobilenet predict --run runs/v2 --csv --top 1 photos > answers.csv
  mobilenet predict --weights mobilenet_v3_large.pth cat.jpg
  mobilenet predict --model-file v2-int8.safetensors - < cat.jpg")]
pub struct PredictArgs {
    #[command(flatten)]
    pub network: ClassifierArgs,
    /// Pictures (JPEG, PNG, WebP, BMP, GIF, TIFF or PNM), folders of them, or - for a picture on standard input
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// Classes that are named for a picture
    #[arg(long, value_name = "N", value_parser = up_to::<MAX_TOP>, default_value_t = 5)]
    pub top: usize,
    /// Side of what is cut out of a picture's middle as a share of its shorter side [default: as the test images were;
    /// 0.875 with weights of 1,000 classes]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    pub crop_share: Option<f64>,
    /// Go on without pictures that cannot be read
    #[arg(long)]
    pub skip_broken: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
    /// Print CSV instead: a line for each picture, its name, then classes and probabilities
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}
