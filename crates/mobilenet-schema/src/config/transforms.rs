//! What is done to training pictures beyond flips and crops, with torchvision's names and defaults.

use serde::{Deserialize, Serialize};

use crate::check::{Problem, check};

/// `RandomResizedCrop`: a part of the picture, scaled to the size of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResizedCrop {
    /// The part's share of the area, at least and at most.
    pub scale: (f64, f64),
    /// Width over height of the part, at least and at most; its logarithm is drawn evenly.
    #[serde(default = "ratio")]
    pub ratio: (f64, f64),
}

fn ratio() -> (f64, f64) {
    (3.0 / 4.0, 4.0 / 3.0)
}

impl Default for ResizedCrop {
    fn default() -> Self {
        Self { scale: (0.08, 1.0), ratio: ratio() }
    }
}

impl ResizedCrop {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        let (low, high) = self.scale;
        let scale = 0.0 < low && low <= high && high <= 1.0;
        check(
            scale,
            "resized crop",
            "two shares of the area above 0, at most 1, the smaller first",
            format_args!("{low},{high}"),
        )?;
        let (low, high) = self.ratio;
        let ratio = 0.0 < low && low <= high && high.is_finite();
        check(
            ratio,
            "ratio of the resized crop",
            "two numbers above 0, the smaller first",
            format_args!("{low},{high}"),
        )
    }
}

/// `ColorJitter`: each of these is drawn for each picture, and they come in a random order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ColorJitter {
    /// A factor from `1 - brightness` to `1 + brightness`.
    pub brightness: f64,
    /// The same for the contrast.
    pub contrast: f64,
    /// The same for the saturation.
    pub saturation: f64,
    /// A turn of the hue from `-hue` to `hue`, in circles; at most 0.5.
    pub hue: f64,
}

impl ColorJitter {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        for (name, value) in
            [("brightness", self.brightness), ("contrast", self.contrast), ("saturation", self.saturation)]
        {
            check(value >= 0.0 && value.is_finite(), format!("color jitter of {name}"), "a number, at least 0", value)?;
        }
        check((0.0..=0.5).contains(&self.hue), "color jitter of hue", "a number from 0 to 0.5", self.hue)
    }
}

/// Changes that are drawn from a list of fourteen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum Policy {
    /// None of them.
    #[default]
    None,
    /// One of them, of any strength (Müller & Hutter 2021, arXiv:2103.10158).
    TrivialAugmentWide,
    /// Several of them, of one strength (Cubuk et al. 2020, arXiv:1909.13719).
    RandAugment {
        /// How many, one after another.
        ops: usize,
        /// The strength, 0 to 30.
        magnitude: usize,
    },
}

impl Policy {
    pub(super) fn validate(&self) -> Result<(), Problem> {
        let Self::RandAugment { ops, magnitude } = *self else { return Ok(()) };
        check((1..=100).contains(&ops), "changes of RandAugment", "1 to 100", ops)?;
        check(magnitude <= 30, "magnitude of RandAugment", "0 to 30", magnitude)
    }
}
