//! What is done to training pictures: each by itself (mirror, crop, erase), and then a whole batch (mix).
//!
//! Everything is drawn from streams of [`SplitMix64`] that are keyed by seed, epoch and the picture's index (or, for a
//! mix, the step), so that it depends on nothing else.

mod area;
mod crop;
mod erase;
mod mix;

use serde::{Deserialize, Serialize};

use crate::Error;
use mobilenet_common::random::SplitMix64;

pub(crate) use self::area::Area;
pub(crate) use self::crop::Crop;
pub use self::crop::Padding;
pub use self::mix::Mix;
pub(crate) use self::mix::Mixing;

/// First words of the keys of the random streams.
const PICTURE: u64 = u64::from_le_bytes(*b"picture.");
const MIRROR: u64 = u64::from_le_bytes(*b"mirror..");
const MIX: u64 = u64::from_le_bytes(*b"mix.....");

/// What is done to training pictures. The default is the usual one of CIFAR: a horizontal flip half of the time and
/// `RandomCrop(32, padding=4)` of torchvision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    };

    /// Most padding that [`crate::batches`] takes: beyond it no picture is left to see.
    const MAX_PADDING: usize = 1 << 16;

    /// Refuses what cannot be done to pictures of any size.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] with the setting's name, what is allowed and what was found.
    pub fn validate(&self) -> Result<(), Error> {
        let check = |ok: bool, name, expected: &str, found: String| match ok {
            true => Ok(()),
            false => Err(Error::Config { name, expected: expected.into(), found }),
        };
        let most = format!("0 to {}", Self::MAX_PADDING);
        check(self.crop_padding <= Self::MAX_PADDING, "crop padding", &most, self.crop_padding.to_string())?;
        check(self.flip || !self.alternate_flip, "alternate flip", "off without flip", "on".into())?;
        check(
            (0.0..=1.0).contains(&self.random_erasing),
            "random erasing",
            "a probability from 0 to 1",
            self.random_erasing.to_string(),
        )?;
        let (name, alpha) = match self.mix {
            Mix::None => return Ok(()),
            Mix::MixUp { alpha } => ("mixup alpha", alpha),
            Mix::CutMix { alpha } => ("cutmix alpha", alpha),
        };
        check(alpha > 0.0 && alpha.is_finite(), name, "a number above 0", alpha.to_string())
    }

    /// [`Augment::validate`], and what pictures of `height` x `width` ask for.
    pub(crate) fn validate_for(&self, (height, width): (usize, usize)) -> Result<(), Error> {
        self.validate()?;
        let most = height.min(width).saturating_sub(1);
        if self.padding == Padding::Reflect && self.crop_padding > most {
            return Err(Error::Config {
                name: "crop padding",
                expected: format!("0 to {most}, since pictures of {height}x{width} reflect no more"),
                found: self.crop_padding.to_string(),
            });
        }
        Ok(())
    }

    /// What is drawn for the picture `index`, to which it is applied in the same order: a crop of the picture as it is
    /// stored, and an area to erase of the picture of `size` that the network gets.
    pub(crate) fn draw(&self, seed: u64, epoch: u64, index: usize, size: (usize, usize)) -> Change {
        let mut rng = SplitMix64::keyed(&[PICTURE, seed, epoch, index as u64]);
        let (dy, dx) = crop::draw_shift(&mut rng, self.crop_padding);
        // Always drawn, so that switching the flip does not move the crops.
        let mut mirror = rng.below(2) == 1;
        if self.alternate_flip {
            let first = SplitMix64::keyed(&[MIRROR, seed, index as u64]).below(2) == 1;
            mirror = first != (epoch % 2 == 1);
        }
        let crop = Crop { dy, dx, mirror: self.flip && mirror, padding: self.padding };
        let erase = rng.unit() <= self.random_erasing;
        Change { crop, erase: if erase { erase::draw(&mut rng, size) } else { None } }
    }

    /// How the batch of `step` is mixed, if at all; its pictures are of `size`.
    pub(crate) fn draw_mixing(&self, seed: u64, epoch: u64, step: usize, size: (usize, usize)) -> Option<Mixing> {
        self.mix.draw(&mut SplitMix64::keyed(&[MIX, seed, epoch, step as u64]), size)
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { flip: true, crop_padding: 4, ..Self::NONE }
    }
}

/// What is drawn for one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub crop: Crop,
    pub erase: Option<Area>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SIZE: (usize, usize) = (32, 32);

    #[test]
    fn every_shift_and_both_mirrors_are_drawn() {
        let mut seen = HashMap::new();
        for i in 0..5000 {
            let Change { crop, erase } = Augment::default().draw(0, 0, i, SIZE);
            assert_eq!(erase, None);
            *seen.entry((crop.dy, crop.dx, crop.mirror)).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 9 * 9 * 2);
        assert!(seen.keys().all(|(dy, dx, _)| dy.abs() <= 4 && dx.abs() <= 4));
        let crop = Crop { dy: 0, dx: 0, mirror: false, padding: Padding::Black };
        assert_eq!(Augment::NONE.draw(3, 4, 5, SIZE), Change { crop, erase: None });
    }

    #[test]
    fn a_setting_moves_no_draw_of_another() {
        let base = Augment::default();
        for i in 0..200 {
            let crop = base.draw(1, 2, i, SIZE).crop;
            let erased = Augment { random_erasing: 1.0, ..base }.draw(1, 2, i, SIZE);
            assert_eq!(erased.crop, crop);
            assert!(erased.erase.is_some());
            for other in [Augment { flip: false, ..base }, Augment { alternate_flip: true, ..base }] {
                let other = other.draw(1, 2, i, SIZE).crop;
                assert_eq!((other.dy, other.dx), (crop.dy, crop.dx));
            }
        }
    }

    #[test]
    fn an_alternating_flip_alternates() {
        let augment = Augment { alternate_flip: true, ..Augment::default() };
        let mirror = |seed, epoch, i| augment.draw(seed, epoch, i, SIZE).crop.mirror;
        let mut mirrored = 0;
        for i in 0..2000 {
            for epoch in 0..6 {
                assert_ne!(mirror(7, epoch, i), mirror(7, epoch + 1, i), "picture {i}, epoch {epoch}");
            }
            mirrored += usize::from(mirror(7, 1, i));
        }
        // Mean 1000, standard deviation 22.
        assert!((900..1100).contains(&mirrored), "{mirrored}");
        assert!((0..50).any(|i| mirror(7, 1, i) != mirror(8, 1, i)));
    }

    #[test]
    fn erasing_happens_as_often_as_it_should() {
        for probability in [0.0, 0.25, 1.0] {
            let augment = Augment { random_erasing: probability, ..Augment::default() };
            let erased = (0..4000).filter(|&i| augment.draw(1, 1, i, SIZE).erase.is_some()).count() as f64 / 4000.0;
            // Standard deviation 0.007.
            assert!((erased - probability).abs() < 0.03, "{erased}, expected {probability}");
        }
    }

    #[test]
    fn settings_are_read_back_and_old_ones_too() {
        for (json, expected) in [
            (r#"{"flip":true,"crop_padding":4}"#, Augment::default()),
            (r#"{"flip":false,"crop_padding":0}"#, Augment::NONE),
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
        ] {
            let found: Augment = serde_json::from_str(json).unwrap();
            assert_eq!(found, expected);
            assert_eq!(serde_json::from_str::<Augment>(&serde_json::to_string(&found).unwrap()).unwrap(), found);
        }
        for json in [
            r#"{"flip":true,"crop_padding":4,"erasing":0.1}"#,
            r#"{"flip":true,"crop_padding":4,"padding":"white"}"#,
            r#"{"flip":true,"crop_padding":4,"mix":{"name":"mixup"}}"#,
            r#"{"flip":true,"crop_padding":4,"mix":{"name":"mixup","alpha":1,"beta":2}}"#,
        ] {
            assert!(serde_json::from_str::<Augment>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn senseless_settings_are_named() {
        let base = Augment::default();
        for (augment, expected) in [
            (Augment { crop_padding: usize::MAX, ..base }, "crop padding: expected 0 to 65536, found 1844674407"),
            (Augment { random_erasing: 1.5, ..base }, "random erasing: expected a probability from 0 to 1, found 1.5"),
            (
                Augment { random_erasing: f64::NAN, ..base },
                "random erasing: expected a probability from 0 to 1, found NaN",
            ),
            (Augment { mix: Mix::MixUp { alpha: 0.0 }, ..base }, "mixup alpha: expected a number above 0, found 0"),
            (Augment { mix: Mix::CutMix { alpha: -1.0 }, ..base }, "cutmix alpha: expected a number above 0, found -1"),
            (
                Augment { mix: Mix::CutMix { alpha: f64::NAN }, ..base },
                "cutmix alpha: expected a number above 0, found NaN",
            ),
            (
                Augment { flip: false, alternate_flip: true, ..base },
                "alternate flip: expected off without flip, found on",
            ),
            (
                Augment { padding: Padding::Reflect, crop_padding: 5, ..base },
                "crop padding: expected 0 to 4, since pictures of 5x6 reflect no more, found 5",
            ),
        ] {
            let error = augment.validate_for((5, 6)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}, expected {expected}");
        }
        for augment in [base, Augment::NONE, Augment { padding: Padding::Reflect, ..base }] {
            augment.validate_for((5, 6)).unwrap();
        }
    }
}
