//! The run's images: to measure ranges on, to train on, to judge by.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use mobilenet_data::{LoadOptions, Split};
use mobilenet_schema::RunConfig;
use mobilenet_train::{EvalSplit, FitData};

use crate::args::ExportArgs;
use crate::data;
use crate::model_file::normalized;
use crate::output::note;
use crate::run;

/// Training images that ranges are measured on, if nobody says how many.
const CALIBRATE: usize = 512;

/// Training images, and those that tell how good a network is: held out ones if the run has some, else the test images.
pub struct Images(pub FitData);

impl Images {
    pub fn load(args: &ExportArgs, config: &RunConfig) -> Result<Self> {
        let options = LoadOptions {
            source: config.data.source,
            data_dir: args.data_dir.clone().or(config.data.data_dir.clone()),
            image_size: config.data.image_size,
            read: config.data.read.clone(),
            ..LoadOptions::default()
        };
        let dataset =
            data::load(&options).context("the run's data cannot be read (--data-dir names another folder)")?;
        let mut data = config.data.clone();
        run::check_same(&data, &dataset)?;
        let cut = run::cut(&mut data, dataset, config.train.config.seed)?;
        let eval_split = if cut.validation.is_some() { EvalSplit::Validation } else { EvalSplit::Test };
        Ok(Self(FitData {
            train: Arc::new(cut.train),
            eval: Arc::new(cut.validation.unwrap_or(cut.test)),
            eval_split,
            normalization: run::normalization(&config.data),
        }))
    }

    /// Training images to measure ranges on, as the network takes them.
    pub fn for_ranges(&self, wanted: Option<usize>, config: &RunConfig) -> Result<Vec<f32>> {
        let (train, wanted) = (&self.0.train, wanted.unwrap_or(CALIBRATE));
        ensure!(train.len() >= 4, "--int8: expected at least 4 training images, found {}", train.len());
        if train.len() < wanted {
            note(&format!("ranges come from all {} training images", train.len()));
        }
        let images = Split::clone(train).take(wanted).into_memory()?;
        Ok(normalized(images.pixels().unwrap_or_default(), config.data.mean, config.data.std))
    }

    /// What the images to judge by are called.
    pub fn judges(&self) -> &'static str {
        match self.0.eval_split {
            EvalSplit::Validation => "validation",
            EvalSplit::Test => "test",
        }
    }
}
