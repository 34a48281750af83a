//! Batches, made on threads of their own while the last one is being used.

mod config;
mod maker;
mod order;
mod pictures;
mod pool;
mod worker;

use std::sync::Arc;

use candle_core::Device;

use self::worker::{Queue, Raw, Worker, size_of_pictures};
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
    let queue = Queue::new(&split, cfg, |split, cfg, size| Worker::images(split, norm, cfg, size));
    Batches { queue, size: size_of_pictures(&split, cfg), device: device.clone() }
}

/// Iterator over the batches of one epoch; see [`batches`].
#[derive(Debug)]
pub struct Batches {
    queue: Queue<Raw>,
    size: (usize, usize),
    device: Device,
}

impl Iterator for Batches {
    type Item = Result<Batch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.queue.next()?.and_then(|raw| raw.into_tensors(self.size, &self.device));
        if item.is_err() {
            self.queue.end();
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.queue.size_hint()
    }
}

impl ExactSizeIterator for Batches {}
