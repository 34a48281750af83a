//! Options of `mobilenet eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::at_least_1;
use super::{ClassifierArgs, SourceArgs};

/// Judge a trained network: accuracy, precision, recall and F1 of each class, confusion matrix, calibration
///
/// A run is evaluated on its own test images (its --limit-test) and, without augmentation, on at most 10,000 of the
/// images it was trained on; the result is stored as eval.json in its folder. With options that name other images (data
/// of another set, another part, a limit, another size), and for a file of weights or one that `mobilenet export` made,
/// those are what is judged, and nothing is stored.
///
/// A set's classes are found by their names among the network's, whatever their order; it may lack some of them. The
/// calibration error (ECE) is the mean distance between how sure the answers are and how many of them are right, in 15
/// bins of confidence.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet eval --run runs/v2
  mobilenet eval --run runs/v2 --report judged.html
  mobilenet eval --run runs/pets --data-dir other-pets --part all
  mobilenet eval --weights mobilenet_v3_large.pth --data-dir imagenet/val --part all
  mobilenet eval --weights v2.safetensors --model v2 --mean-std cifar10 --data-dir data/cifar10
  mobilenet eval --model-file v2-int8.safetensors --data-dir data/cifar10 --limit-test 1000 --json")]
pub struct EvalArgs {
    #[command(flatten)]
    pub network: ClassifierArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Judge on N images only, a fair part of each class
    #[arg(long, value_name = "N", value_parser = at_least_1, allow_negative_numbers = true, help_heading = "Data")]
    pub limit_test: Option<usize>,
    /// Part of the set to judge on [default: test]
    #[arg(long, value_name = "PART", value_enum, help_heading = "Data")]
    pub part: Option<Part>,
    /// Write a page with all of it and with the worst mistakes as pictures
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// `--part`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The images to test with
    #[default]
    Test,
    /// The images to train with
    Train,
    /// Both
    All,
}

impl Part {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Train => "train",
            Self::All => "all",
        }
    }
}

impl EvalArgs {
    /// Whether images are asked for that may not be those which a run is evaluated on.
    pub fn asks_for_others(&self) -> bool {
        let SourceArgs { image_size, train_part, test_part, test_share, split_seed, .. } = &self.source;
        let SourceArgs { image_column, label_column, crop_share, skip_broken, .. } = &self.source;
        let names = [train_part, test_part, image_column, label_column].iter().any(|name| name.is_some());
        let numbers = test_share.is_some() || crop_share.is_some() || split_seed.is_some() || image_size.is_some();
        names || numbers || *skip_broken || self.limit_test.is_some() || self.part.is_some_and(|p| p != Part::Test)
    }

    /// Whether a place of the data is named.
    pub fn names_data(&self) -> bool {
        self.source.data.is_some() || self.source.data_dir.is_some()
    }
}
