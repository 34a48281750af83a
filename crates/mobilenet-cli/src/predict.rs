//! `mobilenet predict`

mod pictures;

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Serialize;

use crate::args::PredictArgs;
use crate::classifier::Classifier;
use crate::output::{note, print, print_json, write_line};
use crate::progress::{Progress, percent};

/// Pictures that are classified at once.
const BATCH: usize = 32;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a Path,
    model: &'a str,
    weights: &'a str,
    images: Vec<Picture<'a>>,
    /// Pictures that cannot be read and were left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broken: Vec<String>,
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
    let mut classifier = Classifier::open(&args.network)?;
    let normalization = classifier.normalization.with_context(|| {
        format!("{}: expected --mean-std: what its images are normalized by is not in it", classifier.source.display())
    })?;
    let all = pictures::list(&args.images)?;
    let crop = args.crop_share.or(classifier.crop_share).unwrap_or(1.0);
    ensure!((0.1..=1.0).contains(&crop), "--crop-share: expected a number from 0.1 to 1, found {crop}");
    let (size, outputs, names) = (classifier.size, classifier.outputs, classifier.names());
    let short = (size as f64 / crop).round() as usize;

    let (mut images, mut broken) = (Vec::with_capacity(all.len()), Vec::new());
    let mut progress = Progress::new();
    for (at, paths) in all.chunks(BATCH).enumerate() {
        let (mut pixels, mut read) = (Vec::with_capacity(paths.len() * size * size * 3), Vec::new());
        for path in paths {
            match pictures::load(path, short, size) {
                Ok(picture) => {
                    pixels.extend(picture);
                    read.push(path.as_path());
                }
                Err(error) => broken.push(error),
            }
        }
        // Nothing comes of it any more if one is broken.
        if !read.is_empty() && (broken.is_empty() || args.skip_broken) {
            let logits = classifier.logits(&pixels, normalization)?;
            for (path, logits) in read.into_iter().zip(logits.chunks_exact(outputs)) {
                images.push(Picture { path, predictions: likeliest(logits, &names, args.top) });
            }
        }
        let done = (at * BATCH + paths.len()) as u64;
        progress.at(done, all.len() as u64, || format!("{done} pictures classified"));
    }
    progress.finish();
    if !args.skip_broken
        && let Some(error) = refusal(&broken, all.len())
    {
        return Err(error);
    }
    if !broken.is_empty() {
        broken.iter().for_each(|line| note(line));
        note(&format!("{} of {} pictures cannot be read and are left out", broken.len(), all.len()));
    }
    let Classifier { source, model, weights, .. } = &classifier;
    let report = Report { run: source, model, weights, images, broken };
    match (args.json, args.csv) {
        (true, _) => print_json(&report),
        (_, true) => write_line(&csv(&report, args.top.min(outputs))?),
        _ => print(&said(&report)),
    }
}

/// The error for pictures that cannot be read, all of which are listed.
fn refusal(broken: &[String], pictures: usize) -> Option<anyhow::Error> {
    match broken {
        [] => None,
        [one] => Some(anyhow!("{one}")),
        several => {
            several.iter().for_each(|line| note(line));
            let n = several.len();
            Some(anyhow!("{n} of {pictures} pictures cannot be read; --skip-broken goes on without them"))
        }
    }
}

/// The softmax of `logits`, its `top` largest values, the largest first.
fn likeliest<'a>(logits: &[f32], classes: &'a [String], top: usize) -> Vec<Prediction<'a>> {
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
    found.truncate(top);
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

/// RFC 4180: a line for each picture.
fn csv(report: &Report, top: usize) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = (1..=top).flat_map(|n| match n {
        1 => ["class".to_owned(), "probability".to_owned()],
        n => [format!("class_{n}"), format!("probability_{n}")],
    });
    writer.write_record(std::iter::once("file".to_owned()).chain(head))?;
    for picture in &report.images {
        let answers = picture.predictions.iter();
        let answers = answers.flat_map(|p| [p.class.to_owned(), format!("{:.6}", p.probability)]);
        writer.write_record(std::iter::once(picture.path.to_string_lossy().into_owned()).chain(answers))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likeliest_first_and_they_sum_to_one() {
        let classes: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let found = likeliest(&[1.0, 3.0, 2.0], &classes, 5);
        assert_eq!(found.iter().map(|p| (p.class, p.label)).collect::<Vec<_>>(), [("b", 1), ("c", 2), ("a", 0)]);
        // softmax([1, 3, 2]) by numpy
        assert!((found[0].probability - 0.665_240_955_774_821_8).abs() < 1e-12);
        assert!((found.iter().map(|p| p.probability).sum::<f64>() - 1.0).abs() < 1e-12);
        let large = likeliest(&[1e4, -1e4, 0.0], &classes, 5);
        assert!((large[0].probability, large[2].probability) == (1.0, 0.0));
    }

    #[test]
    fn as_many_as_are_asked_for() {
        let classes: Vec<String> = (0..9).map(|i| i.to_string()).collect();
        assert_eq!(likeliest(&[0.0; 9], &classes, 5).len(), 5);
        assert_eq!(likeliest(&[0.0; 9], &classes, 20).len(), 9);
    }

    #[test]
    fn a_name_is_one_field() {
        let classes = ["a, \"b\"\nc".to_owned(), "d".to_owned()];
        let predictions = likeliest(&[1.0, 1.0], &classes, 2);
        let images = vec![Picture { path: Path::new("x,y.png"), predictions }];
        let report = Report { run: Path::new("run"), model: "v2", weights: "last", images, broken: Vec::new() };
        let expected = "file,class,probability,class_2,probability_2\n\
                        \"x,y.png\",\"a, \"\"b\"\"\nc\",0.500000,d,0.500000\n";
        assert_eq!(csv(&report, 2).unwrap(), expected);
    }
}
