//! `mobilenet data --json`: a data set, and some of its pictures.

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, check, positive};

/// `data.json` and, with pictures, `samples.json`: what a data set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataInfo {
    /// Its name: `cifar10`, `cifar100`, `shapes10`, or a folder's.
    pub name: String,
    /// Which copy of it was read.
    pub copy: String,
    /// The classes' names.
    pub classes: Vec<String>,
    /// Images to train on.
    pub train_images: u64,
    /// Images to test with.
    pub test_images: u64,
    /// Height and width of the images, in pixels; 0 where an old file does not tell.
    #[serde(default)]
    pub image: [usize; 2],
    /// Whether the set stands in for one that could not be had.
    pub fallback: bool,
    /// What there is to know of how it was read: a part that was made, files that were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Broken pictures that were left out.
    #[serde(default, skip_serializing_if = "crate::config::is_default")]
    pub left_out: u64,
    /// Mean of each channel over the training images.
    #[serde(default)]
    pub mean: [f32; 3],
    /// Standard deviation of each channel over the training images; 0 where an old file does not tell.
    #[serde(default)]
    pub std: [f32; 3],
    /// The test images that were asked for.
    #[serde(default)]
    pub images: Vec<Picture>,
}

/// One test image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Its place in the test set.
    pub index: usize,
    /// Its class.
    #[serde(default)]
    pub label: u32,
    /// A PNG file as base64 (RFC 4648, with padding).
    pub png_base64: String,
}

impl DataInfo {
    /// Whether the pictures were drawn by code, so that no accuracy on them says anything about photographs.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.fallback || matches!(self.name.as_str(), "shapes10" | "flaws")
    }

    /// As people write the set's name.
    #[must_use]
    pub fn label(&self) -> &str {
        match self.name.as_str() {
            "cifar10" => "CIFAR-10",
            "cifar100" => "CIFAR-100",
            other => other,
        }
    }
}

impl Artefact for DataInfo {
    const WHAT: &str = "a description of a data set";

    fn check(&self) -> Result<(), Problem> {
        check(!self.classes.is_empty(), "classes", "at least one", "none")?;
        check(self.train_images >= 1, "train_images", "at least 1", self.train_images)?;
        check(self.test_images >= 1, "test_images", "at least 1", self.test_images)?;
        // All of them 0: an old file does not tell.
        if self.std != [0.0; 3] {
            for (channel, &std) in self.std.iter().enumerate() {
                positive(format_args!("std[{channel}]"), f64::from(std))?;
            }
        }
        Ok(())
    }
}
