//! What the sets that are drawn by code have in common: how many pictures, and which class comes when.
//!
//! Only operations that IEEE 754 rounds exactly are used to draw (no sine), so that a seed gives the same bits on every
//! machine.

use rayon::prelude::*;

use super::cifar::classes;
use super::files;
use crate::{Dataset, Error, Split};
use mobilenet_common::random::SplitMix64;

/// How much of a set that is drawn by code (`shapes10`, `flaws`) to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// Seed of all of them.
    pub seed: u64,
}

/// Most bytes of pixels in a part: four million pictures of 32x32.
const MAX_BYTES: usize = 4_000_000 * 32 * 32 * 3;

/// A set that code can draw.
pub(crate) struct Drawing {
    /// Its name
    pub name: &'static str,
    /// Its classes by label
    pub classes: &'static [&'static str],
    /// First word of the key of the order of the classes
    pub order: u64,
    /// First word of a picture's key
    pub picture: u64,
    /// How much of it is drawn where nothing is asked for
    pub usual: Drawn,
    /// Height and width of the pictures
    pub side: usize,
    /// Draws one picture `[side, side, 3]` of a class
    pub draw: fn(class: u32, rng: &mut SplitMix64, side: usize, image: &mut [u8]),
}

impl Drawing {
    /// Draws the set. The first images of a larger one are those of a smaller one.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a part of no, or of far too many images.
    pub fn load(&self, size: Option<Drawn>) -> Result<Dataset, Error> {
        let size = size.unwrap_or(self.usual);
        let train = self.split(size.seed, 0, size.train)?;
        let test = self.split(size.seed, 1, size.test)?;
        let copy = format!("drawn by code, seed {}; {}", size.seed, files::counts(train.len(), test.len()));
        Dataset::new(self.name.into(), copy, classes::owned(self.classes), train, test)
    }

    fn split(&self, seed: u64, part: u64, n: usize) -> Result<Split, Error> {
        let bytes = self.side.saturating_mul(self.side).saturating_mul(3);
        let most = MAX_BYTES / bytes.max(1);
        if !(1..=most).contains(&n) {
            return Err(Error::Config {
                name: format!("{} images", self.name).into(),
                expected: format!("1 to {most}"),
                found: n.to_string(),
            });
        }
        let labels: Vec<u32> = (0..n).map(|i| self.label(seed, part, i)).collect();
        let mut pixels = vec![0; n * bytes];
        pixels.par_chunks_exact_mut(bytes).zip(&labels).enumerate().for_each(|(i, (image, &label))| {
            let mut rng = SplitMix64::keyed(&[self.picture, seed, part, i as u64]);
            (self.draw)(label, &mut rng, self.side, image);
        });
        Split::new(pixels, labels, self.side, self.side)
    }

    /// As many images in a row as there are classes have one of each, in an order of their own.
    fn label(&self, seed: u64, part: u64, i: usize) -> u32 {
        let n = self.classes.len();
        let mut order: Vec<u32> = (0..n as u32).collect();
        SplitMix64::keyed(&[self.order, seed, part, (i / n) as u64]).shuffle(&mut order);
        order[i % n]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{flaws, shapes10};
    use super::*;

    #[test]
    fn same_seed_same_pictures_and_a_prefix_of_more() {
        for drawing in [shapes10::drawing(), flaws::drawing(24)] {
            let n = drawing.classes.len();
            let load = |train, test, seed| drawing.load(Some(Drawn { train, test, seed })).unwrap();
            let small = load(4 * n, 2 * n, 3);
            let large = load(9 * n, 5 * n, 3);
            assert_eq!(large.train.take(4 * n), small.train);
            assert_eq!(large.test.take(2 * n), small.test);
            assert_ne!(load(4 * n, 2 * n, 4).train, small.train);
            assert_ne!(small.train.clone().take(2 * n).pixels(), small.test.pixels());
            for class in 0..n as u32 {
                assert_eq!(small.train.labels().iter().filter(|&&l| l == class).count(), 4);
            }
        }
    }

    #[test]
    fn senseless_counts_are_errors() {
        for (train, test) in [(0, 10), (10, 0), (usize::MAX, 10)] {
            for drawing in [shapes10::drawing(), flaws::drawing(64), flaws::drawing(usize::MAX)] {
                assert!(drawing.load(Some(Drawn { train, test, seed: 0 })).is_err(), "{} {train} {test}", drawing.name);
            }
        }
    }
}
