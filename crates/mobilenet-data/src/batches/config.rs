//! What batches are asked for, and what they hold.

use candle_core::Tensor;

use crate::resize::MAX_SIDE;
use crate::{Augment, Error, augment};

/// One epoch of batches.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchConfig {
    /// Pictures per batch.
    pub batch_size: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// The epoch: each has its own order and augmentation.
    pub epoch: u64,
    /// Whether pictures come in an order drawn from seed and epoch, or in their own.
    pub shuffle: bool,
    /// What is done to each picture, and to the batch.
    pub augment: Augment,
    /// Height and width that pictures are scaled to (bilinear, antialiased) after flip and crop and before the rest;
    /// `None`: their own. A training that begins with smaller pictures is cheaper for it.
    pub resize: Option<(usize, usize)>,
    /// Whether a last batch of fewer pictures is left out.
    pub drop_last: bool,
    /// Whether each class comes as often as any other: pictures of small classes several times in an epoch, each time
    /// augmented anew, and of large ones not all. With `shuffle` alone.
    pub balanced: bool,
    /// Batches that are left out at the beginning, without being made: for who goes on within an epoch.
    pub skip: usize,
}

impl BatchConfig {
    /// Shuffled, with flip and crop, without a short last batch.
    pub fn train(batch_size: usize, seed: u64, epoch: u64) -> Self {
        let augment = Augment::default();
        Self { shuffle: true, seed, epoch, augment, drop_last: true, ..Self::eval(batch_size) }
    }

    /// Every picture once, in its order, as it is.
    pub fn eval(batch_size: usize) -> Self {
        let augment = Augment::NONE;
        Self {
            batch_size,
            seed: 0,
            epoch: 0,
            shuffle: false,
            augment,
            resize: None,
            drop_last: false,
            balanced: false,
            skip: 0,
        }
    }

    /// Number of batches that `images` pictures make, those among them that are skipped.
    pub fn count(&self, images: usize) -> usize {
        match self.batch_size {
            0 => 0,
            size if self.drop_last => images / size,
            size => images.div_ceil(size),
        }
    }

    pub(super) fn check(&self, size: (usize, usize)) -> Result<(), Error> {
        if self.batch_size == 0 {
            return Err(Error::Config { name: "batch size".into(), expected: "1 or more".into(), found: "0".into() });
        }
        let sides = 1..=MAX_SIDE as usize;
        if let Some((height, width)) = self.resize.filter(|(h, w)| !sides.contains(h) || !sides.contains(w)) {
            return Err(Error::Config {
                name: "resize".into(),
                expected: format!("1x1 to {MAX_SIDE}x{MAX_SIDE}"),
                found: format!("{height}x{width}"),
            });
        }
        if self.balanced && !self.shuffle {
            return Err(Error::Config {
                name: "balanced".into(),
                expected: "off without shuffle".into(),
                found: "on".into(),
            });
        }
        augment::validate_for(&self.augment, size)
    }
}

/// Pictures and labels of one step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `f32` `[n, 3, h, w]`, normalized; in memory channels come last.
    pub images: Tensor,
    /// `u32` `[n]`.
    pub labels: Tensor,
    /// What else is in each picture, if [`Augment::mix`] is set.
    pub mixed: Option<Mixed>,
}

/// What a mixed batch is made of: each picture is `lambda` itself and `1 - lambda` its partner, and so is its target.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The partners' labels, `u32` `[n]`.
    pub labels: Tensor,
    /// Share of the picture itself, and so of [`Batch::labels`], 0 to 1.
    pub lambda: f64,
}
