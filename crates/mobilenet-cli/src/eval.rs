//! `mobilenet eval`

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_nn::ModuleT;
use mobilenet_data::{LoadOptions, Split};
use mobilenet_train::{evaluate, Evaluation, MirrorAveraged};
use serde::Serialize;

use crate::args::EvalArgs;
use crate::output::{print, print_json, write_json};
use crate::progress::{percent, Progress};
use crate::run::{self, RunConfig, EVAL_FILE};

/// Most training images that are evaluated.
const MAX_TRAIN_IMAGES: usize = 10_000;

/// `eval.json`
#[derive(Serialize)]
struct Report<'a> {
    run: &'a Path,
    model: String,
    data: &'a str,
    copy: &'a str,
    test_images: usize,
    test_loss: f64,
    test_top1: f64,
    test_top5: f64,
    /// With the mean of the answers to each image and to its mirror image.
    test_top1_mirrored: f64,
    /// Without augmentation.
    train_images: usize,
    train_loss: f64,
    train_top1: f64,
    train_top5: f64,
    classes: &'a [String],
    /// Of the test images, as are the lists after it; rows are the truth.
    confusion: Vec<Vec<u32>>,
    labels: Vec<u32>,
    predicted: Vec<u32>,
    confidence: Vec<f32>,
    images_per_second: f64,
    weights: String,
}

pub fn run(args: &EvalArgs) -> Result<()> {
    let mut config = run::read_config(&args.run)?;
    let device = args.device.device.open()?;
    let trained = run::load_model(&args.run, &config, &device)?;

    let mut progress = Progress::new();
    let options = LoadOptions {
        source: config.data.source,
        data_dir: args.data_dir.clone().or(config.data.data_dir.clone()),
        image_size: config.data.image_size,
        ..LoadOptions::default()
    };
    let dataset = mobilenet_data::load(&options, &mut |p| progress.loading(p))
        .context("the run's data cannot be read (--data-dir names another folder)")?;
    config.data.check_same(&dataset)?;
    let data = config.data.cut(dataset, config.train.seed)?;

    let RunConfig { model, train, data: set, .. } = &config;
    let mut on = |model: &dyn ModuleT, split: &Arc<Split>, what: &str| -> Result<Evaluation> {
        let mut shown = |done: usize, total: usize| {
            progress.at(done as u64, total as u64, || format!("{done} of {total} {what} images evaluated"));
            ControlFlow::Continue(())
        };
        // The batch size of the training, so that the test figures repeat its last epoch's to the last digit.
        Ok(evaluate(model, split, set.normalization(), train.batch_size, &device, &mut shown)?)
    };
    let test_images = Arc::new(data.test);
    let test = on(&trained.model, &test_images, "test")?;
    let mirrored = on(&MirrorAveraged(&trained.model), &test_images, "mirrored test")?;
    let plain = on(&trained.model, &Arc::new(data.train.take(MAX_TRAIN_IMAGES)), "training")?;
    progress.finish();

    let report = Report {
        run: &args.run,
        model: model.arch.to_string(),
        data: &set.name,
        copy: &set.copy,
        test_images: test.labels.len(),
        test_loss: test.loss,
        test_top1: test.top1,
        test_top5: test.top5,
        test_top1_mirrored: mirrored.top1,
        train_images: plain.labels.len(),
        train_loss: plain.loss,
        train_top1: plain.top1,
        train_top5: plain.top5,
        classes: &set.classes,
        confusion: test.confusion,
        labels: test.labels,
        predicted: test.predicted,
        confidence: test.confidence,
        images_per_second: test.images_per_second,
        weights: trained.weights,
    };
    write_json(&args.run.join(EVAL_FILE), &report)?;
    if args.json {
        return print_json(&report);
    }
    print(&said(&report, &model.title()))
}

fn said(report: &Report, title: &str) -> String {
    let line = |what: &str, images: usize, top1: f64, top5: f64, loss: f64| {
        format!("{what:<16} {images:>6}   {:>7}   {:>7}   {loss:.4}\n", percent(top1), percent(top5))
    };
    let Report { test_images, test_top1, test_top5, test_loss, .. } = *report;
    let Report { train_images, train_top1, train_top5, train_loss, .. } = *report;
    let mut text = format!("{title} on {} ({}), weights: {}\n\n", report.data, report.copy, report.weights);
    text += "                 images     top-1     top-5   loss\n";
    text += &line("test", test_images, test_top1, test_top5, test_loss);
    text += &format!("  and mirrored           {:>7}\n", percent(report.test_top1_mirrored));
    text += &line("training, plain", train_images, train_top1, train_top5, train_loss);
    text + &per_class(report)
}

/// Each class's accuracy and what it is most often taken for.
fn per_class(report: &Report) -> String {
    // A list of a hundred classes or more is for the JSON.
    if report.classes.len() > 20 {
        return String::new();
    }
    let width = report.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = "\nclass by class, of the test images:\n".to_owned();
    for (truth, (name, row)) in report.classes.iter().zip(&report.confusion).enumerate() {
        let images: u32 = row.iter().sum();
        if images == 0 {
            continue;
        }
        let share = |n: u32| percent(f64::from(n) / f64::from(images));
        let wrong = (0..row.len()).filter(|&class| class != truth && row[class] > 0).max_by_key(|&class| row[class]);
        let mistaken = wrong.and_then(|class| {
            Some(format!("   most often taken for {} ({})", report.classes.get(class)?, share(row[class])))
        });
        text += &format!("  {name:<width$}   {:>7}{}\n", share(row[truth]), mistaken.unwrap_or_default());
    }
    text
}
