//! `mobilenet eval`: what a trained network says to each test image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, at_least_one, check, length, not_negative, share};
use crate::scores::Scores;

/// `eval.json`: accuracies as fractions, and the answers that they are counted from. It is written by
/// [`to_pretty_json_with_short_arrays`](crate::to_pretty_json_with_short_arrays).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// The run's folder, as it was typed.
    #[serde(default)]
    pub run: PathBuf,
    /// The architecture's name.
    #[serde(default)]
    pub model: String,
    /// The data set's name.
    #[serde(default)]
    pub data: String,
    /// Which copy of it was read.
    #[serde(default)]
    pub copy: String,
    /// Test images.
    pub test_images: u64,
    /// Mean cross-entropy, without label smoothing.
    pub test_loss: f64,
    /// Share of the test images whose label has the largest logit.
    pub test_top1: f64,
    /// Share of the test images whose label is among the five largest logits.
    pub test_top5: f64,
    /// `test_top1` with the mean of the answers to each image and to its mirror image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top1_mirrored: Option<f64>,
    /// Training images that were evaluated, without augmentation.
    pub train_images: u64,
    /// As `test_loss`, on them.
    #[serde(default)]
    pub train_loss: f64,
    /// As `test_top1`, on them.
    pub train_top1: f64,
    /// As `test_top5`, on them.
    #[serde(default)]
    pub train_top5: f64,
    /// The classes' names.
    pub classes: Vec<String>,
    /// Test images by true class (row) and answer (column).
    pub confusion: Vec<Vec<u64>>,
    /// The true class of each test image.
    pub labels: Vec<usize>,
    /// The answer to each test image.
    pub predicted: Vec<usize>,
    /// The probability of each answer.
    pub confidence: Vec<f32>,
    /// Speed of the evaluation of the test images.
    #[serde(default)]
    pub images_per_second: f64,
    /// Which weights these are.
    #[serde(default)]
    pub weights: String,
    /// What is counted from the answers, class by class and by confidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<Scores>,
}

/// `mobilenet eval --json` of a network on a set that is not its run's, or of weights that belong to no run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetEval {
    /// The run's folder or the file of weights, as it was typed.
    pub source: PathBuf,
    /// The architecture's name.
    pub model: String,
    /// Which weights these are.
    pub weights: String,
    /// The data set's name.
    pub data: String,
    /// Which copy of it was read.
    pub copy: String,
    /// Which part of it was judged: `test`, `train` or `all`.
    pub part: String,
    /// Its images.
    pub test_images: u64,
    /// Mean cross-entropy.
    pub test_loss: f64,
    /// Share of the images whose label has the largest logit.
    pub test_top1: f64,
    /// Share of the images whose label is among the five largest logits.
    pub test_top5: f64,
    /// Images in a second.
    pub images_per_second: f64,
    /// What is counted from the answers, class by class and by confidence.
    pub scores: Scores,
    /// The network's classes.
    pub classes: Vec<String>,
    /// Images by true class (row) and answer (column).
    pub confusion: Vec<Vec<u64>>,
    /// The true class of each image.
    pub labels: Vec<usize>,
    /// The answer to each image.
    pub predicted: Vec<usize>,
    /// The probability of each answer.
    pub confidence: Vec<f32>,
}

/// How far rounding takes a probability above 1.
const ROUNDING: f32 = 1e-5;

impl Artefact for Eval {
    const WHAT: &str = "an evaluation";

    fn check(&self) -> Result<(), Problem> {
        at_least_one("test_images", self.test_images)?;
        for (field, value) in [
            ("test_top1", self.test_top1),
            ("test_top5", self.test_top5),
            ("train_top1", self.train_top1),
            ("train_top5", self.train_top5),
        ] {
            share(field, value)?;
        }
        self.test_top1_mirrored.map_or(Ok(()), |value| share("test_top1_mirrored", value))?;
        not_negative("test_loss", self.test_loss)?;

        Answers {
            images: self.test_images,
            classes: self.classes.len(),
            labels: &self.labels,
            predicted: &self.predicted,
            confidence: &self.confidence,
            confusion: &self.confusion,
            scores: self.scores.as_ref(),
        }
        .check()
    }
}

impl Artefact for SetEval {
    const WHAT: &str = "an evaluation on a set";

    fn check(&self) -> Result<(), Problem> {
        at_least_one("test_images", self.test_images)?;
        share("test_top1", self.test_top1)?;
        share("test_top5", self.test_top5)?;
        not_negative("test_loss", self.test_loss)?;
        Answers {
            images: self.test_images,
            classes: self.classes.len(),
            labels: &self.labels,
            predicted: &self.predicted,
            confidence: &self.confidence,
            confusion: &self.confusion,
            scores: Some(&self.scores),
        }
        .check()
    }
}

/// What both have of each image, and what is counted from it.
struct Answers<'a> {
    images: u64,
    classes: usize,
    labels: &'a [usize],
    predicted: &'a [usize],
    confidence: &'a [f32],
    confusion: &'a [Vec<u64>],
    scores: Option<&'a Scores>,
}

impl Answers<'_> {
    fn check(&self) -> Result<(), Problem> {
        let (images, classes) = (usize::try_from(self.images).unwrap_or(usize::MAX), self.classes);
        length("labels", "test image", images, self.labels.len())?;
        length("predicted", "test image", images, self.predicted.len())?;
        length("confidence", "test image", images, self.confidence.len())?;
        for (field, list) in [("labels", self.labels), ("predicted", self.predicted)] {
            let wrong = list.iter().enumerate().find(|&(_, &class)| class >= classes);
            let (image, found) = wrong.map_or((0, 0), |(image, &class)| (image, class));
            check(wrong.is_none(), format_args!("{field}[{image}]"), format_args!("one of {classes} classes"), found)?;
        }
        if let Some((image, &found)) =
            self.confidence.iter().enumerate().find(|&(_, p)| !(0.0..=1.0 + ROUNDING).contains(p))
        {
            check(false, format_args!("confidence[{image}]"), "a probability from 0 to 1", found)?;
        }
        let scores = self.scores.map_or(Ok(()), |scores| scores.check(classes));
        scores.map_err(|problem| problem.within("scores"))?;
        length("confusion", "class", classes, self.confusion.len())?;
        for (class, row) in self.confusion.iter().enumerate() {
            length(format_args!("confusion[{class}]"), "class", classes, row.len())?;
        }
        let counted = self.confusion.iter().flatten().fold(0, |sum: u64, &n| sum.saturating_add(n));
        check(counted == self.images, "confusion", format_args!("{} test images in all", self.images), counted)
    }
}
