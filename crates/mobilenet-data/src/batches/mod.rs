//! Batches, made on threads of their own while the last one is being used.

mod config;
mod maker;
mod order;
mod pictures;
mod pool;
mod worker;

use std::sync::Arc;

use candle_core::Device;

use self::worker::{Raw, Worker};
use crate::{Error, Normalization, Split};

pub use self::config::{Batch, BatchConfig, Mixed};
pub use self::pictures::{PictureBatch, PictureChange, PictureMix, Pictures, Rectangle, pictures};

/// The batches of one epoch of `split`, on `device`.
///
/// What is in batch `i` depends on the pictures, `norm` and `cfg` alone: neither on the number of
/// threads nor on how fast batches are taken. Dropping the iterator ends its threads.
///
/// Pictures that are not in memory are decoded by as many threads as rayon has, at most two batches ahead of the one
/// that is next to be queued; three may be queued, or one if they are large. So are those that
/// [`Augment::resized_crop`](crate::Augment) is to draw from, at their full size, wherever they have one of their own.
///
/// # Errors
///
/// [`Error::Config`] for settings that make no sense, or not for pictures of this size, comes as the
/// first item; an error of [`Split::picture`], and [`Error::BatchThread`] if a thread dies, as the item that should have
/// been made. After an error there are no more items.
pub fn batches(split: Arc<Split>, norm: Normalization, cfg: &BatchConfig, device: &Device) -> Batches {
    let own_size = (split.height(), split.width());
    let size = cfg.resize.unwrap_or(own_size);
    let remaining = cfg.count(split.len()).saturating_sub(cfg.skip);
    let started = cfg.check(own_size).and_then(|()| Worker::images(split, norm, cfg.clone(), size));
    let (worker, failed) = match started {
        Ok(worker) => (Some(worker), None),
        Err(error) => (None, Some(error)),
    };
    let remaining = if failed.is_some() { 1 } else { remaining };
    Batches { worker, failed, remaining, size, device: device.clone() }
}

/// Iterator over the batches of one epoch; see [`batches`].
#[derive(Debug)]
pub struct Batches {
    worker: Option<Worker<Raw>>,
    failed: Option<Error>,
    remaining: usize,
    size: (usize, usize),
    device: Device,
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.remaining == 0 {
            return None;
        }
        self.remaining -= 1;
        let item = match (self.failed.take(), &self.worker) {
            (Some(error), _) => Err(error),
            (None, Some(worker)) => worker.receive().and_then(|raw| raw.into_tensors(self.size, &self.device)),
            (None, None) => return None,
        };
        if item.is_err() {
            self.remaining = 0;
            self.worker = None;
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Batches {}
