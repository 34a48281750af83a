//! What is done to training pictures.

use serde::{Deserialize, Serialize};

use super::read::is_default;
use super::transforms::{ColorJitter, Policy, ResizedCrop};
use crate::check::{Problem, check};

/// What is done to training pictures. The default is the usual one of CIFAR: a horizontal flip half of the time and
/// `RandomCrop(32, padding=4)` of torchvision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augment {
    /// Mirror left and right with probability 1/2.
    pub flip: bool,
    /// Pixels added on every side before a picture of the old size is cut out of it.
    pub crop_padding: usize,
    /// With `flip`: only the first epoch's mirrors are drawn; in each later epoch every picture is seen the other way
    /// round than in the epoch before, so that two epochs show both (Jordan 2024, arXiv:2404.00498).
    #[serde(default)]
    pub alternate_flip: bool,
    /// What the added pixels are.
    #[serde(default)]
    pub padding: Padding,
    /// Probability, 0 to 1, that a rectangle of a picture becomes the set's mean color, as torchvision's
    /// `RandomErasing` does after normalization (Zhong et al. 2017, arXiv:1708.04896): 0.02 to 0.33 of the area, 0.3 to
    /// 3.3 times as high as it is wide.
    #[serde(default)]
    pub random_erasing: f64,
    /// How the pictures of a batch are mixed with each other.
    #[serde(default)]
    pub mix: Mix,
    /// A part of the picture scaled to the size of the whole, in place of the crop after padding.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resized_crop: Option<ResizedCrop>,
    /// Changes from a list, after crop, flip and scaling.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policy: Policy,
    /// Changes of the colors, after those.
    #[serde(default, skip_serializing_if = "is_default")]
    pub color_jitter: Option<ColorJitter>,
}

/// What lies beyond the edges of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Black, before normalization.
    #[default]
    Black,
    /// The picture mirrored at its edge pixel, which is not repeated (PyTorch's `reflect`): before `abc` comes `cb`.
    /// There is one pixel less of it than the picture is high or wide; more padding than that is refused.
    Reflect,
}

/// How the pictures of a batch, normalized, are mixed with each other: each with the one before it, the first with the
/// last. What a picture's label is then comes with the batch (`Mixed` of mobilenet-data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Mix {
    /// Not at all.
    #[default]
    None,
    /// Their weighted mean, with weights from Beta(alpha, alpha) (Zhang et al. 2018, arXiv:1710.09412).
    MixUp {
        /// Above 0. Small: mostly one of the two; 1: all weights alike; large: halves.
        alpha: f64,
    },
    /// A box of the one in the other, whose area is drawn from Beta(alpha, alpha) (Yun et al. 2019, arXiv:1905.04899).
    CutMix {
        /// Above 0. Small: mostly one of the two; 1: all areas alike; large: halves.
        alpha: f64,
    },
}

impl Augment {
    /// Leaves pictures as they are: for evaluation.
    pub const NONE: Self = Self {
        flip: false,
        crop_padding: 0,
        alternate_flip: false,
        padding: Padding::Black,
        random_erasing: 0.0,
        mix: Mix::None,
        resized_crop: None,
        policy: Policy::None,
        color_jitter: None,
    };

    /// Most padding that is taken: beyond it no picture is left to see.
    const MAX_PADDING: usize = 1 << 16;

    /// Refuses what cannot be done to pictures of any size.
    ///
    /// # Errors
    /// The setting's name, what is allowed and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        let most = format_args!("0 to {}", Self::MAX_PADDING);
        check(self.crop_padding <= Self::MAX_PADDING, "crop padding", most, self.crop_padding)?;
        check(self.flip || !self.alternate_flip, "alternate flip", "off without flip", "on")?;
        check(
            (0.0..=1.0).contains(&self.random_erasing),
            "random erasing",
            "a probability from 0 to 1",
            self.random_erasing,
        )?;
        self.resized_crop.map_or(Ok(()), |crop| crop.validate())?;
        self.policy.validate()?;
        self.color_jitter.map_or(Ok(()), |jitter| jitter.validate())?;
        let (name, alpha) = match self.mix {
            Mix::None => return Ok(()),
            Mix::MixUp { alpha } => ("mixup alpha", alpha),
            Mix::CutMix { alpha } => ("cutmix alpha", alpha),
        };
        check(alpha > 0.0 && alpha.is_finite(), name, "a number above 0", alpha)
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { flip: true, crop_padding: 4, ..Self::NONE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_and_old_ones_too() {
        for (json, expected) in [
            (r#"{"flip":true,"crop_padding":4}"#, Augment::default()),
            (r#"{"flip":false,"crop_padding":0}"#, Augment::NONE),
            (r#"{"flip":true,"crop_padding":4,"of_an_earlier_version":1}"#, Augment::default()),
            (
                r#"{"flip":true,"crop_padding":4,"alternate_flip":true,"padding":"reflect","random_erasing":0.1,
                    "mix":{"name":"cutmix","alpha":0.2}}"#,
                Augment {
                    alternate_flip: true,
                    padding: Padding::Reflect,
                    random_erasing: 0.1,
                    mix: Mix::CutMix { alpha: 0.2 },
                    ..Augment::default()
                },
            ),
            (
                r#"{"flip":true,"crop_padding":4,"mix":{"name":"mixup","alpha":1}}"#,
                Augment { mix: Mix::MixUp { alpha: 1.0 }, ..Augment::default() },
            ),
            (
                r#"{"flip":true,"crop_padding":4,"resized_crop":{"scale":[0.3,1]},"color_jitter":{"hue":0.1},
                    "policy":{"name":"rand-augment","ops":2,"magnitude":9}}"#,
                Augment {
                    resized_crop: Some(ResizedCrop { scale: (0.3, 1.0), ..ResizedCrop::default() }),
                    color_jitter: Some(ColorJitter { hue: 0.1, ..ColorJitter::default() }),
                    policy: Policy::RandAugment { ops: 2, magnitude: 9 },
                    ..Augment::default()
                },
            ),
        ] {
            let found: Augment = serde_json::from_str(json).unwrap();
            assert_eq!(found, expected);
            assert_eq!(serde_json::from_str::<Augment>(&serde_json::to_string(&found).unwrap()).unwrap(), found);
        }
        for json in [
            r#"{"flip":true}"#,
            r#"{"flip":true,"crop_padding":4,"padding":"white"}"#,
            r#"{"flip":true,"crop_padding":4,"mix":{"name":"mixup"}}"#,
            r#"{"flip":true,"crop_padding":4,"mix":{"name":"blend","alpha":1}}"#,
        ] {
            assert!(serde_json::from_str::<Augment>(json).is_err(), "{json}");
        }
    }
}
