//! Where the data comes from, and how it is read.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use mobilenet_data::{ReadOptions, Source};

use super::MAX_SIDE;
use super::values::{bytes, parse, part, share, up_to};
use crate::progress::Progress;

/// Where the data comes from.
#[derive(Args)]
pub struct SourceArgs {
    /// Data set: auto, cifar10, cifar100, shapes10, flaws or folder [default: auto]
    ///
    /// auto uses --data-dir if given, else CIFAR-10 from the cache or a download, else shapes10: pictures drawn by
    /// code, on which an accuracy says nothing about CIFAR. The others never fall back to another set.
    #[arg(long, value_name = "SET", value_parser = parse::<Source>, help_heading = "Data")]
    pub data: Option<Source>,
    /// Folder with the data: CIFAR's files or archive, *.parquet, train/CLASS/* and test/CLASS/*, or CLASS/* alone, or a
    /// list of pictures (metadata.jsonl, *.csv)
    #[arg(long, value_name = "DIR", help_heading = "Data")]
    pub data_dir: Option<PathBuf>,
    /// Image set of the Hugging Face hub, downloaded once: OWNER/NAME or OWNER/NAME/CONFIGURATION
    ///
    /// HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE and proxies are respected.
    #[arg(long, value_name = "SET", help_heading = "Data", conflicts_with_all = ["data", "data_dir"])]
    pub hub: Option<String>,
    /// Height and width to scale pictures to [default: 32; train: the preset's; CIFAR and shapes10 keep theirs]
    #[arg(long, value_name = "PIXELS", value_parser = up_to::<MAX_SIDE>, allow_negative_numbers = true, help_heading = "Data")]
    pub image_size: Option<usize>,
    /// Name of the part to train on [default: train or training]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub train_part: Option<String>,
    /// Name of the part to test with [default: the first there is of test, testing, val, valid, validation, eval]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub test_part: Option<String>,
    /// Share of each class that is held out to test with, where there is no such part [default: 0.2]
    #[arg(long, value_name = "SHARE", value_parser = part, allow_negative_numbers = true, help_heading = "Data")]
    pub test_share: Option<f64>,
    /// Seed that draws what is held out; that of a training does not change it [default: 0]
    #[arg(long, value_name = "SEED", allow_negative_numbers = true, help_heading = "Data")]
    pub split_seed: Option<u64>,
    /// Column of parquet or of a list that has the pictures [default: told by its name]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub image_column: Option<String>,
    /// Column of parquet or of a list that has the labels [default: told by its name]
    #[arg(long, value_name = "NAME", help_heading = "Data")]
    pub label_column: Option<String>,
    /// Side of what is cut out of a picture's middle as a share of its shorter side; 0.875 is 224 of 256 [default: 1]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true, help_heading = "Data")]
    pub crop_share: Option<f64>,
    /// Memory for pictures, such as 500M or 4G: of a folder, list or parquet that has more, scaled, pictures are decoded
    /// when they are needed, in every epoch anew, with the same results [default: 1G]
    #[arg(long, value_name = "BYTES", value_parser = bytes, allow_negative_numbers = true, help_heading = "Data")]
    pub picture_cache: Option<u64>,
    /// Go on without pictures that cannot be read; how many they were is kept with the run
    #[arg(long, help_heading = "Data")]
    pub skip_broken: bool,
}

impl SourceArgs {
    /// Changes the settings that were given; the rest of `read` stays as it is.
    pub fn apply(&self, read: &mut ReadOptions) {
        let given = |new: &Option<String>, known: &mut Option<String>| *known = new.clone().or(known.take());
        given(&self.train_part, &mut read.train_part);
        given(&self.test_part, &mut read.test_part);
        given(&self.image_column, &mut read.image_column);
        given(&self.label_column, &mut read.label_column);
        read.test_share = self.test_share.or(read.test_share);
        read.crop_share = self.crop_share.or(read.crop_share);
        read.split_seed = self.split_seed.unwrap_or(read.split_seed);
        read.skip_broken |= self.skip_broken;
        read.scale_all |= self.image_size.is_some();
    }

    /// Downloads what `--hub` names, if it does, which is then the data folder.
    pub fn fetch(&mut self) -> Result<()> {
        if let Some(name) = self.hub.take() {
            let mut progress = Progress::new();
            let folder = mobilenet_data::hub::download(&name, None, &mut |p| progress.loading(p)).context("--hub")?;
            progress.finish();
            self.data_dir = Some(folder);
        }
        Ok(())
    }
}
