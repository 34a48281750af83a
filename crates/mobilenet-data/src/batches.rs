//! Batches, made on a thread of their own while the last one is being used.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};

use crate::rng::Rng;
use crate::{Augment, Error, Normalization, Split};

/// Batches that may wait, ready, for their consumer.
const QUEUE: usize = 3;

/// First words of the keys of the random streams.
const ORDER: u64 = u64::from_le_bytes(*b"order...");
const PICTURE: u64 = u64::from_le_bytes(*b"picture.");

/// One epoch of batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Pictures per batch.
    pub batch_size: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Which epoch: each has its own order and augmentation.
    pub epoch: u64,
    /// Whether pictures come in an order drawn from seed and epoch, or in their own.
    pub shuffle: bool,
    /// What is done to each picture.
    pub augment: Augment,
    /// Whether a last batch of fewer pictures is left out.
    pub drop_last: bool,
}

impl BatchConfig {
    /// Shuffled, with flip and crop, without a short last batch.
    pub fn train(batch_size: usize, seed: u64, epoch: u64) -> Self {
        let augment = Augment::default();
        Self { batch_size, seed, epoch, shuffle: true, augment, drop_last: true }
    }

    /// Every picture once, in its order, as it is.
    pub fn eval(batch_size: usize) -> Self {
        let augment = Augment::NONE;
        Self { batch_size, seed: 0, epoch: 0, shuffle: false, augment, drop_last: false }
    }

    /// Number of batches that `images` pictures make.
    pub fn count(&self, images: usize) -> usize {
        match self.batch_size {
            0 => 0,
            size if self.drop_last => images / size,
            size => images.div_ceil(size),
        }
    }

    fn check(&self) -> Result<(), Error> {
        if self.batch_size == 0 {
            return Err(Error::Config { name: "batch size", expected: "1 or more".into(), found: "0".into() });
        }
        if self.augment.crop_padding > Augment::MAX_PADDING {
            return Err(Error::Config {
                name: "crop padding",
                expected: format!("0 to {}", Augment::MAX_PADDING),
                found: self.augment.crop_padding.to_string(),
            });
        }
        Ok(())
    }
}

/// Pictures and labels of one step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `f32` `[n, 3, h, w]`, normalized; in memory channels come last.
    pub images: Tensor,
    /// `u32` `[n]`.
    pub labels: Tensor,
}

/// The batches of one epoch of `split`, on `device`.
///
/// What is in batch `i` depends on the pictures, `norm` and `cfg` alone: neither on the number of
/// threads nor on how fast batches are taken. Dropping the iterator ends its thread.
///
/// # Errors
///
/// [`Error::Config`] for a batch size of 0 comes as the first item, [`Error::BatchThread`] if the
/// thread dies as the item that it should have made. After an error there are no more items.
pub fn batches(split: Arc<Split>, norm: Normalization, cfg: &BatchConfig, device: &Device) -> Batches {
    let started = cfg.check().and_then(|()| Worker::start(Arc::clone(&split), norm, cfg.clone()));
    let (worker, failed) = match started {
        Ok(worker) => (Some(worker), None),
        Err(error) => (None, Some(error)),
    };
    Batches {
        remaining: if failed.is_some() { 1 } else { cfg.count(split.len()) },
        size: (split.height(), split.width()),
        device: device.clone(),
        worker,
        failed,
    }
}

/// Iterator over the batches of one epoch; see [`batches`].
#[derive(Debug)]
pub struct Batches {
    worker: Option<Worker>,
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

/// Pictures `[n, h, w, 3]` and labels, before they are tensors: those belong on the consumer's
/// thread, which may own the context of a device.
struct Raw {
    images: Vec<f32>,
    labels: Vec<u32>,
}

impl Raw {
    fn into_tensors(self, (h, w): (usize, usize), device: &Device) -> Result<Batch, Error> {
        let n = self.labels.len();
        let images = Tensor::from_vec(self.images, (n, h, w, 3), device)?.permute((0, 3, 1, 2))?;
        let labels = Tensor::from_vec(self.labels, n, device)?;
        Ok(Batch { images, labels })
    }
}

/// The background thread and the end of its queue.
#[derive(Debug)]
struct Worker {
    queue: Option<Receiver<Raw>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(split: Arc<Split>, norm: Normalization, cfg: BatchConfig) -> Result<Self, Error> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || produce(&split, norm, &cfg, &sender))
            .map_err(|e| Error::BatchThread { reason: e.to_string() })?;
        Ok(Self { queue: Some(receiver), thread: Some(thread) })
    }

    fn receive(&self) -> Result<Raw, Error> {
        self.queue
            .as_ref()
            .and_then(|queue| queue.recv().ok())
            .ok_or_else(|| Error::BatchThread { reason: "it ended too early".into() })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has already reached the consumer as an error.
            let _ = thread.join();
        }
    }
}

fn produce(split: &Split, norm: Normalization, cfg: &BatchConfig, sender: &SyncSender<Raw>) {
    let mut order: Vec<usize> = (0..split.len()).collect();
    if cfg.shuffle {
        Rng::keyed(&[ORDER, cfg.seed, cfg.epoch]).shuffle(&mut order);
    }
    let table = norm.table();
    let size = (split.height(), split.width());
    for indices in order.chunks(cfg.batch_size).take(cfg.count(split.len())) {
        let mut images = vec![0f32; indices.len() * split.image_size()];
        for (out, &i) in images.chunks_exact_mut(split.image_size()).zip(indices) {
            let mut rng = Rng::keyed(&[PICTURE, cfg.seed, cfg.epoch, i as u64]);
            let from = i * split.image_size();
            let image = &split.pixels()[from..from + split.image_size()];
            cfg.augment.draw(&mut rng).apply(image, size, &table, out);
        }
        let labels = indices.iter().map(|&i| split.labels()[i]).collect();
        if sender.send(Raw { images, labels }).is_err() {
            return;
        }
    }
}
