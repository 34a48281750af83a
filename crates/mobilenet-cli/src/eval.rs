//! `mobilenet eval`

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use candle_nn::ModuleT;
use mobilenet_data::{LoadOptions, Split};
use mobilenet_schema::{Eval, RunConfig, to_pretty_json_with_short_arrays};
use mobilenet_train::{DeviceInference, Evaluation, MirrorAveraged, evaluate};

use crate::args::EvalArgs;
use crate::data;
use crate::kernels;
use crate::model_file;
use crate::output::{check_writable, print, print_json, write};
use crate::progress::{Progress, percent};
use crate::run::{self, EVAL_FILE};

/// Most training images that are evaluated.
const MAX_TRAIN_IMAGES: usize = 10_000;

pub fn run(args: &EvalArgs) -> Result<()> {
    let run = match (&args.run, &args.model_file) {
        (Some(run), _) => run,
        (None, Some(file)) => return model_file::eval(file, args.data, args.data_dir.as_deref(), args.json),
        (None, None) => bail!("expected --run or --model-file"),
    };
    let mut config = run::read_config(run)?;
    let path = run.join(EVAL_FILE);
    check_writable(&path)?;
    let mut device = args.device.device.open()?;
    let gpu = kernels::for_evaluation(&device, &config)?;
    if gpu.is_some() {
        // The kernels' images come from the host.
        device = Device::Cpu;
    }
    let trained = run::load_model(run, &config, &device)?;
    let by_kernels = gpu.map(|gpu| DeviceInference::new(gpu, &config.model, &trained.vars)).transpose()?;
    let network = by_kernels.as_ref().map_or(&trained.model as &dyn ModuleT, |network| network);

    let options = LoadOptions {
        source: config.data.source,
        data_dir: args.data_dir.clone().or(config.data.data_dir.clone()),
        image_size: config.data.image_size,
        read: config.data.read.clone(),
        ..LoadOptions::default()
    };
    let dataset = data::load(&options).context("the run's data cannot be read (--data-dir names another folder)")?;
    run::check_same(&config.data, &dataset)?;
    let data = run::cut(&mut config.data, dataset, config.train.config.seed)?;

    let mut progress = Progress::new();
    let RunConfig { model, train, data: set, .. } = &config;
    let mut on = |model: &dyn ModuleT, split: &Arc<Split>, what: &str| -> Result<Evaluation> {
        let mut shown = |done: usize, total: usize| {
            progress.at(done as u64, total as u64, || format!("{done} of {total} {what} images evaluated"));
            ControlFlow::Continue(())
        };
        // The batch size of the training, so that the test figures repeat its last epoch's to the last digit.
        Ok(evaluate(model, split, run::normalization(set), train.config.batch_size, &device, &mut shown)?)
    };
    let test_images = Arc::new(data.test);
    let test = on(network, &test_images, "test")?;
    let mirrored = on(&MirrorAveraged(network), &test_images, "mirrored test")?;
    let plain = on(network, &Arc::new(data.train.take(MAX_TRAIN_IMAGES)), "training")?;
    progress.finish();

    let classes = |of: Vec<u32>| of.into_iter().map(|class| class as usize).collect();
    let report = Eval {
        run: run.clone(),
        model: model.arch.to_string(),
        data: set.name.clone(),
        copy: set.copy.clone(),
        test_images: test.labels.len() as u64,
        test_loss: test.loss,
        test_top1: test.top1,
        test_top5: test.top5,
        test_top1_mirrored: Some(mirrored.top1),
        train_images: plain.labels.len() as u64,
        train_loss: plain.loss,
        train_top1: plain.top1,
        train_top5: plain.top5,
        classes: set.classes.clone(),
        confusion: test.confusion.into_iter().map(|row| row.into_iter().map(u64::from).collect()).collect(),
        labels: classes(test.labels),
        predicted: classes(test.predicted),
        confidence: test.confidence,
        images_per_second: test.images_per_second,
        weights: trained.weights,
    };
    write(&path, &to_pretty_json_with_short_arrays(&report)?)?;
    if args.json {
        return print_json(&report);
    }
    print(&said(&report, &model.title()))
}

fn said(report: &Eval, title: &str) -> String {
    let line = |what: &str, images: u64, top1: f64, top5: f64, loss: f64| {
        format!("{what:<16} {images:>6}   {:>7}   {:>7}   {loss:.4}\n", percent(top1), percent(top5))
    };
    let Eval { test_images, test_top1, test_top5, test_loss, .. } = *report;
    let Eval { train_images, train_top1, train_top5, train_loss, .. } = *report;
    let mut text = format!("{title} on {} ({}), weights: {}\n\n", report.data, report.copy, report.weights);
    text += "                 images     top-1     top-5   loss\n";
    text += &line("test", test_images, test_top1, test_top5, test_loss);
    if let Some(mirrored) = report.test_top1_mirrored {
        text += &format!("  and mirrored           {:>7}\n", percent(mirrored));
    }
    text += &line("training, plain", train_images, train_top1, train_top5, train_loss);
    text + &per_class(report)
}

/// Each class's accuracy and what it is most often taken for.
fn per_class(report: &Eval) -> String {
    // A list of a hundred classes or more is for the JSON.
    if report.classes.len() > 20 {
        return String::new();
    }
    let width = report.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let mut text = "\nclass by class, of the test images:\n".to_owned();
    for (truth, (name, row)) in report.classes.iter().zip(&report.confusion).enumerate() {
        let images: u64 = row.iter().sum();
        if images == 0 {
            continue;
        }
        let share = |n: u64| percent(n as f64 / images as f64);
        let wrong = (0..row.len()).filter(|&class| class != truth && row[class] > 0).max_by_key(|&class| row[class]);
        let mistaken = wrong.and_then(|class| {
            Some(format!("   most often taken for {} ({})", report.classes.get(class)?, share(row[class])))
        });
        text += &format!("  {name:<width$}   {:>7}{}\n", share(row[truth]), mistaken.unwrap_or_default());
    }
    text
}
