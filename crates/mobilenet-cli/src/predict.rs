//! `mobilenet predict`

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::Device;
use candle_nn::ModuleT;
use mobilenet_data::{BatchConfig, Split, batches, load_image, load_image_cropped};
use mobilenet_models::MobileNet;
use mobilenet_schema::DataConfig;
use serde::Serialize;

use crate::args::PredictArgs;
use crate::device::DeviceArg;
use crate::model_file;
use crate::output::{print, print_json};
use crate::progress::percent;
use crate::run;

/// Classes that are named for a picture.
const TOP: usize = 5;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a Path,
    model: String,
    weights: String,
    images: Vec<Picture<'a>>,
}

#[derive(Serialize)]
struct Picture<'a> {
    path: &'a Path,
    /// Likeliest first.
    predictions: Vec<Prediction<'a>>,
}

#[derive(Serialize)]
struct Prediction<'a> {
    class: &'a str,
    label: usize,
    probability: f64,
}

pub fn run(args: &PredictArgs) -> Result<()> {
    let run = match (&args.run, &args.model_file) {
        (Some(run), _) => run,
        (None, Some(file)) => return by_file(file, args),
        (None, None) => bail!("expected --run or --model-file"),
    };
    let config = run::read_config(run)?;
    let size = config.data.image[0];
    // All of them first: a bad one among many shows before any work is done.
    let short = config.data.read.short_side(size);
    let load = |path| load_image_cropped(path, short, size);
    let pictures: Vec<Vec<u8>> = args.images.iter().map(load).collect::<Result<_, _>>()?;
    let device = args.device.device.open()?;
    let trained = run::load_model(run, &config, &device)?;

    let mut images = Vec::new();
    for (path, picture) in args.images.iter().zip(pictures) {
        let logits = logits(&trained.model, picture, &config.data, &device)?;
        images.push(Picture { path, predictions: likeliest(&logits, &config.data.classes) });
    }
    let model = config.model.arch.to_string();
    let report = Report { run, model, weights: trained.weights, images };
    if args.json {
        return print_json(&report);
    }
    print(&said(&report))
}

/// The classes that a shipped network finds.
fn by_file(file: &Path, args: &PredictArgs) -> Result<()> {
    ensure!(args.device.device == DeviceArg::Cpu, "--device {}: --model-file runs on the cpu", args.device.device);
    let mut session = model_file::open(file)?;
    let description = session.model().description().clone();
    let size = description.input.height;
    ensure!(size == description.input.width, "{}: expected a network for square images", file.display());
    let pictures: Vec<Vec<u8>> = args.images.iter().map(|path| load_image(path, size)).collect::<Result<_, _>>()?;
    let mut images = Vec::new();
    for (path, picture) in args.images.iter().zip(pictures) {
        let found = session.classify(&picture, size, size)?.iter().take(TOP);
        let predictions = found.map(|found| Prediction {
            class: &description.classes[found.index],
            label: found.index,
            probability: f64::from(found.probability),
        });
        images.push(Picture { path, predictions: predictions.collect() });
    }
    let weights = model_file::changes(&description);
    let report = Report { run: file, model: description.origin.architecture.clone(), weights, images };
    if args.json { print_json(&report) } else { print(&said(&report)) }
}

/// The outputs for one picture `[size, size, 3]`, which goes the way of the test images.
fn logits(model: &MobileNet, picture: Vec<u8>, data: &DataConfig, device: &Device) -> Result<Vec<f32>> {
    let size = data.image[0];
    let split = Arc::new(Split::new(picture, vec![0], size, size)?);
    let mut batches = batches(split, run::normalization(data), &BatchConfig::eval(1), device);
    let batch = batches.next().ok_or_else(|| anyhow!("no batch was made of the picture"))??;
    let logits = model.forward_t(&batch.images, false).context("the network cannot take the picture")?;
    let logits: Vec<f32> = logits.flatten_all()?.to_vec1()?;
    ensure!(logits.iter().all(|x| x.is_finite()), "the network answers with NaN or infinite numbers");
    Ok(logits)
}

/// The softmax of `logits`, its largest values first.
fn likeliest<'a>(logits: &[f32], classes: &'a [String]) -> Vec<Prediction<'a>> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&x| f64::from(x - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut found: Vec<Prediction> = classes
        .iter()
        .zip(weights)
        .enumerate()
        .map(|(label, (class, weight))| Prediction { class, label, probability: weight / sum })
        .collect();
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    found.truncate(TOP);
    found
}

fn said(report: &Report) -> String {
    let names = report.images.iter().flat_map(|picture| &picture.predictions);
    let width = names.map(|p| p.class.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for picture in &report.images {
        text += &format!("{}\n", picture.path.display());
        for Prediction { class, probability, .. } in &picture.predictions {
            text += &format!("  {class:<width$}  {:>7}\n", percent(*probability));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeliest_first_and_they_sum_to_one() {
        let classes: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let found = likeliest(&[1.0, 3.0, 2.0], &classes);
        assert_eq!(found.iter().map(|p| (p.class, p.label)).collect::<Vec<_>>(), [("b", 1), ("c", 2), ("a", 0)]);
        // softmax([1, 3, 2]) by numpy
        assert!((found[0].probability - 0.665_240_955_774_821_8).abs() < 1e-12);
        assert!((found.iter().map(|p| p.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        let large = likeliest(&[1e4, -1e4, 0.0], &classes);
        assert!((large[0].probability, large[2].probability) == (1.0, 0.0));
    }

    #[test]
    fn at_most_five() {
        let classes: Vec<String> = (0..9).map(|i| i.to_string()).collect();
        assert_eq!(likeliest(&[0.0; 9], &classes).len(), 5);
    }
}
