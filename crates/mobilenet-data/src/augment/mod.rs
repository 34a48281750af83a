//! What is done to training pictures: each by itself (mirror, crop, erase), and then a whole batch (mix).
//!
//! Everything is drawn from streams of [`SplitMix64`] that are keyed by seed, epoch and the picture's index (or, for a
//! mix, the step), so that it depends on nothing else.

mod affine;
mod area;
mod color;
mod crop;
mod erase;
mod jitter;
mod mix;
mod policy;
mod resized_crop;

use crate::Error;
use mobilenet_common::random::SplitMix64;
use mobilenet_schema::{Augment, Padding};

pub(crate) use self::area::Area;
pub(crate) use self::crop::Crop;
pub(crate) use self::jitter::Shade;
pub(crate) use self::mix::Mixing;
pub(crate) use self::policy::Op;

/// First words of the keys of the random streams.
const PICTURE: u64 = u64::from_le_bytes(*b"picture.");
const MIRROR: u64 = u64::from_le_bytes(*b"mirror..");
const MIX: u64 = u64::from_le_bytes(*b"mix.....");
const PART: u64 = u64::from_le_bytes(*b"part....");
const POLICY: u64 = u64::from_le_bytes(*b"policy..");
const JITTER: u64 = u64::from_le_bytes(*b"jitter..");

/// [`Augment::validate`], and what pictures of `height` x `width` ask for.
pub(crate) fn validate_for(augment: &Augment, (height, width): (usize, usize)) -> Result<(), Error> {
    augment.validate()?;
    let most = height.min(width).saturating_sub(1);
    if augment.resized_crop.is_none() && augment.padding == Padding::Reflect && augment.crop_padding > most {
        return Err(Error::Config {
            name: "crop padding".into(),
            expected: format!("0 to {most}, since pictures of {height}x{width} reflect no more"),
            found: augment.crop_padding.to_string(),
        });
    }
    Ok(())
}

/// What is drawn for the picture `index`, to which it is applied in the same order: a part or a crop of the picture as it is
/// stored, of `own` size, changes of the picture of `size` that the network gets, and an area of that to erase.
pub(crate) fn draw(
    augment: &Augment,
    seed: u64,
    epoch: u64,
    index: usize,
    own: (usize, usize),
    size: (usize, usize),
) -> Change {
    let mut rng = SplitMix64::keyed(&[PICTURE, seed, epoch, index as u64]);
    let (dy, dx) = crop::draw_shift(&mut rng, augment.crop_padding);
    // Always drawn, so that switching the flip does not move the crops.
    let mut mirror = rng.below(2) == 1;
    if augment.alternate_flip {
        let first = SplitMix64::keyed(&[MIRROR, seed, index as u64]).below(2) == 1;
        mirror = first != (epoch % 2 == 1);
    }
    let crop = Crop { dy, dx, mirror: augment.flip && mirror, padding: augment.padding };
    let erase = rng.unit() <= augment.random_erasing;
    let erase = if erase { erase::draw(&mut rng, size) } else { None };
    // Each from a stream of its own, so that none moves the draws of another.
    let stream = |first: u64| SplitMix64::keyed(&[first, seed, epoch, index as u64]);
    Change {
        part: augment.resized_crop.map(|crop| resized_crop::draw(&crop, &mut stream(PART), own)),
        crop,
        ops: policy::draw(augment.policy, &mut stream(POLICY), size),
        shades: augment.color_jitter.map_or_else(Vec::new, |jitter| jitter::draw(&jitter, &mut stream(JITTER))),
        erase,
    }
}

/// How the batch of `step` is mixed, if at all; its pictures are of `size`.
pub(crate) fn draw_mixing(
    augment: &Augment,
    seed: u64,
    epoch: u64,
    step: usize,
    size: (usize, usize),
) -> Option<Mixing> {
    mix::draw(augment.mix, &mut SplitMix64::keyed(&[MIX, seed, epoch, step as u64]), size)
}

/// What is drawn for one picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// A part to scale, in place of a shift.
    pub part: Option<Area>,
    pub crop: Crop,
    pub ops: Vec<Op>,
    pub shades: Vec<Shade>,
    pub erase: Option<Area>,
}

impl Change {
    /// Whether [`recolor`](Self::recolor) does anything.
    pub fn recolors(&self) -> bool {
        !self.ops.is_empty() || !self.shades.is_empty()
    }

    /// Changes the colors and places of a picture `[height, width, 3]`.
    pub fn recolor(&self, pixels: &mut [u8], size: (usize, usize)) {
        self.ops.iter().for_each(|op| op.apply(pixels, size));
        self.shades.iter().for_each(|shade| shade.apply(pixels));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mobilenet_schema::Mix;

    use super::*;

    const SIZE: (usize, usize) = (32, 32);

    #[test]
    fn every_shift_and_both_mirrors_are_drawn() {
        let mut seen = HashMap::new();
        for i in 0..5000 {
            let Change { crop, erase, .. } = draw(&Augment::default(), 0, 0, i, SIZE, SIZE);
            assert_eq!(erase, None);
            *seen.entry((crop.dy, crop.dx, crop.mirror)).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 9 * 9 * 2);
        assert!(seen.keys().all(|(dy, dx, _)| dy.abs() <= 4 && dx.abs() <= 4));
        let crop = Crop { dy: 0, dx: 0, mirror: false, padding: Padding::Black };
        assert_eq!(
            draw(&Augment::NONE, 3, 4, 5, SIZE, SIZE),
            Change { part: None, crop, ops: Vec::new(), shades: Vec::new(), erase: None }
        );
    }

    #[test]
    fn a_setting_moves_no_draw_of_another() {
        let base = Augment::default();
        for i in 0..200 {
            let crop = draw(&base, 1, 2, i, SIZE, SIZE).crop;
            let erased = draw(&Augment { random_erasing: 1.0, ..base }, 1, 2, i, SIZE, SIZE);
            assert_eq!(erased.crop, crop);
            assert!(erased.erase.is_some());
            for other in [Augment { flip: false, ..base }, Augment { alternate_flip: true, ..base }] {
                let other = draw(&other, 1, 2, i, SIZE, SIZE).crop;
                assert_eq!((other.dy, other.dx), (crop.dy, crop.dx));
            }
        }
    }

    #[test]
    fn an_alternating_flip_alternates() {
        let augment = Augment { alternate_flip: true, ..Augment::default() };
        let mirror = |seed, epoch, i| draw(&augment, seed, epoch, i, SIZE, SIZE).crop.mirror;
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
            let erased =
                (0..4000).filter(|&i| draw(&augment, 1, 1, i, SIZE, SIZE).erase.is_some()).count() as f64 / 4000.0;
            // Standard deviation 0.007.
            assert!((erased - probability).abs() < 0.03, "{erased}, expected {probability}");
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
            let error = validate_for(&augment, (5, 6)).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}, expected {expected}");
        }
        for augment in [base, Augment::NONE, Augment { padding: Padding::Reflect, ..base }] {
            validate_for(&augment, (5, 6)).unwrap();
        }
    }
}
