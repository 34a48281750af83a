//! How folders of pictures, lists and parquet are read.

use serde::{Deserialize, Serialize};

use crate::check::{Problem, check};

/// What `--data-dir` alone does not tell of a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReadOptions {
    /// Name of the part to train on; `None`: `train` or `training`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_part: Option<String>,
    /// Name of the part to test with; `None`: the first there is of `test`, `testing`, `val`, `valid`, `validation` and
    /// `eval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_part: Option<String>,
    /// The share of each class that is held out to test with where there is no such part; `None`: 0.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_share: Option<f64>,
    /// Draws what is held out. Not the seed of a training: runs with other seeds keep the same test images.
    #[serde(skip_serializing_if = "is_default")]
    pub split_seed: u64,
    /// The column of parquet, or of a list, that has the pictures; `None`: told by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_column: Option<String>,
    /// The column that has the labels; `None`: told by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_column: Option<String>,
    /// Side of what is cut out of a picture's middle, as a share of its shorter side; `None`: 1. 224 of 256 is 0.875.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_share: Option<f64>,
    /// Whether to go on without pictures that cannot be read.
    #[serde(skip_serializing_if = "is_default")]
    pub skip_broken: bool,
    /// Whether sets whose pictures have a size of their own (CIFAR, `shapes10`) are scaled, too: an image size was asked
    /// for.
    #[serde(skip_serializing_if = "is_default")]
    pub scale_all: bool,
}

impl ReadOptions {
    /// What the shorter side of a picture is scaled to before `size` is cut out of its middle.
    #[must_use]
    pub fn short_side(&self, size: usize) -> usize {
        (size as f64 / self.crop_share.unwrap_or(1.0)).round() as usize
    }

    /// Refuses shares that are none.
    ///
    /// # Errors
    /// The setting's name, what is allowed and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        let share = self.crop_share.unwrap_or(1.0);
        check((0.1..=1.0).contains(&share), "crop share", "a number from 0.1 to 1", share)?;
        let share = self.test_share.unwrap_or(0.5);
        check(share > 0.0 && share < 1.0, "share of the test images", "a number above 0 and below 1", share)
    }
}

/// Whether a setting is as if it had not been given; such ones are not written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_share() {
        let with = |crop_share, test_share| ReadOptions { crop_share, test_share, ..Default::default() };
        assert_eq!((with(Some(0.875), None).short_side(224), with(None, None).short_side(32)), (256, 32));
        with(Some(0.875), Some(0.1)).validate().unwrap();
        for bad in [with(Some(0.0), None), with(Some(1.1), None), with(Some(f64::NAN), None), with(None, Some(1.0))] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_was_not_given_is_not_written() {
        assert_eq!(serde_json::to_string(&ReadOptions::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<ReadOptions>("{}").unwrap(), ReadOptions::default());
        let given = ReadOptions {
            test_part: Some("fold 3".into()),
            test_share: Some(0.1),
            skip_broken: true,
            ..Default::default()
        };
        let json = serde_json::to_string(&given).unwrap();
        assert_eq!(json, r#"{"test_part":"fold 3","test_share":0.1,"skip_broken":true}"#);
        assert_eq!(serde_json::from_str::<ReadOptions>(&json).unwrap(), given);
    }
}
