//! `mobilenet eval`: what a trained network says to each test image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, at_least_one, check, length, not_negative, share};

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

        let (images, classes) = (usize::try_from(self.test_images).unwrap_or(usize::MAX), self.classes.len());
        length("labels", "test image", images, self.labels.len())?;
        length("predicted", "test image", images, self.predicted.len())?;
        length("confidence", "test image", images, self.confidence.len())?;
        for (field, list) in [("labels", &self.labels), ("predicted", &self.predicted)] {
            let wrong = list.iter().enumerate().find(|&(_, &class)| class >= classes);
            let (image, found) = wrong.map_or((0, 0), |(image, &class)| (image, class));
            check(wrong.is_none(), format_args!("{field}[{image}]"), format_args!("one of {classes} classes"), found)?;
        }
        if let Some((image, &found)) =
            self.confidence.iter().enumerate().find(|&(_, p)| !(0.0..=1.0 + ROUNDING).contains(p))
        {
            check(false, format_args!("confidence[{image}]"), "a probability from 0 to 1", found)?;
        }
        length("confusion", "class", classes, self.confusion.len())?;
        for (class, row) in self.confusion.iter().enumerate() {
            length(format_args!("confusion[{class}]"), "class", classes, row.len())?;
        }
        let counted = self.confusion.iter().flatten().fold(0, |sum: u64, &n| sum.saturating_add(n));
        check(
            counted == self.test_images,
            "confusion",
            format_args!("{} test images in all", self.test_images),
            counted,
        )
    }
}
