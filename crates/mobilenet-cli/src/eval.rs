//! `mobilenet eval`

mod answers;
mod classes;
mod own;
mod page;
mod said;
mod set;

use anyhow::{Context, Result, bail};
use mobilenet_data::{Dataset, Error, LoadOptions, Source};

use crate::args::EvalArgs;
use crate::classifier::Classifier;
use crate::data;
use crate::output::{check_writable, note};
use crate::run::{self, EVAL_FILE};

/// Images that are judged at once, where no training says otherwise.
pub const BATCH: usize = 64;

pub fn run(args: &EvalArgs) -> Result<()> {
    if let Some(run) = &args.network.run {
        run::read_config(run)?;
        check_writable(&run.join(EVAL_FILE))?;
    }
    args.report.as_deref().map_or(Ok(()), check_writable)?;
    let classifier = Classifier::open(&args.network)?;
    let dataset = load(args, &classifier)?;
    let Some(config) = &classifier.config else { return set::judge(args, classifier, dataset) };
    match run::check_same(&config.data, &dataset) {
        Ok(()) if !args.asks_for_others() => own::judge(args, &classifier, config, dataset),
        Ok(()) => {
            note("these are not just the images that the run is evaluated on: nothing is stored in its folder");
            set::judge(args, classifier, dataset)
        }
        // The run's own data has become another, which nobody asked for.
        Err(error) if !args.names_data() => Err(error),
        Err(_) => {
            note("this is not the data that the run was trained with: nothing is stored in its folder");
            set::judge(args, classifier, dataset)
        }
    }
}

/// The set that is asked for, at the network's size; the run's own if no other is.
fn load(args: &EvalArgs, classifier: &Classifier) -> Result<Dataset> {
    let size = asked_size(args, classifier)?;
    let mut options = match &classifier.config {
        Some(config) => LoadOptions {
            source: config.data.source,
            data_dir: config.data.data_dir.clone(),
            image_size: config.data.image_size,
            read: config.data.read.clone(),
            ..LoadOptions::default()
        },
        None => {
            let mut options = LoadOptions { image_size: size, ..LoadOptions::default() };
            options.read.crop_share = classifier.crop_share;
            options.read.scale_all = true;
            options
        }
    };
    args.source.apply(&mut options.read);
    if let Some(size) = args.source.image_size {
        options.image_size = size;
    }
    if let Some(source) = args.source.data {
        // Drawn and downloaded sets have no folder.
        (options.source, options.data_dir) = (source, None);
    }
    options.data_dir = args.source.data_dir.clone().or(options.data_dir);
    let loaded = match data::load(&options) {
        // The run's kind of set is not what is in a folder that was named: whatever is there is meant.
        Err(error) if args.source.data_dir.is_some() && args.source.data.is_none() && is_wrong_set(&error) => {
            options.source = Source::Auto;
            data::load(&options)
        }
        loaded => loaded,
    };
    let dataset = match classifier.config {
        Some(_) if !args.names_data() => {
            loaded.context("the run's data cannot be read (--data-dir names another folder)")?
        }
        _ => loaded?,
    };
    if [dataset.test.height(), dataset.test.width()] == [size; 2] || !args.names_data() {
        return Ok(dataset);
    }
    // Another set has a size of its own; the network's is what it was made for.
    (options.image_size, options.read.scale_all) = (size, true);
    data::load(&options)
}

fn is_wrong_set(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::WrongSet { .. }))
}

/// Height and width of the images to judge on.
fn asked_size(args: &EvalArgs, classifier: &Classifier) -> Result<usize> {
    match args.source.image_size {
        Some(asked) if args.network.model_file.is_some() && asked != classifier.size => {
            bail!(
                "--image-size: expected the {} pixels of {}, found {asked}",
                classifier.size,
                classifier.source.display()
            )
        }
        asked => Ok(asked.unwrap_or(classifier.size)),
    }
}
