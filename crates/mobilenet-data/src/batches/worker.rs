//! The background thread that makes batches, and the end of its queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};

use super::config::{Batch, BatchConfig, Mixed};
use super::maker::{Maker, Room};
use super::order::Plan;
use super::pool;
use crate::{Error, Normalization, Split, augment};

/// Batches that may wait, ready, for their consumer, and how many bytes of them where there is more than one.
const QUEUE: usize = 3;
const QUEUE_BYTES: usize = 128 << 20;

type Sender = SyncSender<Result<Raw, Error>>;

/// Pictures `[n, h, w, 3]` and labels, before they are tensors: those belong on the consumer's
/// thread, which may own the context of a device.
pub(super) struct Raw {
    images: Vec<f32>,
    labels: Vec<u32>,
    /// Lambda of the mix.
    mixed: Option<f64>,
}

impl Raw {
    pub fn into_tensors(mut self, (h, w): (usize, usize), device: &Device) -> Result<Batch, Error> {
        let n = self.labels.len();
        let images = Tensor::from_vec(self.images, (n, h, w, 3), device)?.permute((0, 3, 1, 2))?;
        let labels = Tensor::new(self.labels.as_slice(), device)?;
        let mixed = match self.mixed {
            None => None,
            Some(lambda) => {
                // A picture's partner is the one before it, the first one's the last.
                self.labels.rotate_right(1);
                Some(Mixed { labels: Tensor::from_vec(self.labels, n, device)?, lambda })
            }
        };
        Ok(Batch { images, labels, mixed })
    }
}

#[derive(Debug)]
pub(super) struct Worker {
    queue: Option<Receiver<Result<Raw, Error>>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Makes pictures of `size`.
    pub fn start(
        split: Arc<Split>,
        norm: Normalization,
        cfg: BatchConfig,
        size: (usize, usize),
    ) -> Result<Self, Error> {
        let bytes = [cfg.batch_size, size.0, size.1, 3 * size_of::<f32>()].into_iter().fold(1, usize::saturating_mul);
        // Of the pool that the caller is in.
        let threads = rayon::current_num_threads();
        let (sender, receiver) = sync_channel((QUEUE_BYTES / bytes.max(1)).clamp(1, QUEUE));
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || produce(&split, norm, &cfg, size, threads, &sender))
            .map_err(|e| Error::BatchThread { reason: e.to_string() })?;
        Ok(Self { queue: Some(receiver), thread: Some(thread) })
    }

    pub fn receive(&self) -> Result<Raw, Error> {
        self.queue
            .as_ref()
            .and_then(|queue| queue.recv().ok())
            .unwrap_or_else(|| Err(Error::BatchThread { reason: "it ended too early".into() }))
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

/// Makes the batches one after the other, on this thread or, where pictures have to be decoded, on several.
fn produce(
    split: &Split,
    norm: Normalization,
    cfg: &BatchConfig,
    size: (usize, usize),
    threads: usize,
    sender: &Sender,
) {
    let maker = Maker::new(split, norm, cfg, size);
    let plan = Plan::new(cfg, split.labels());
    let mut send = |step: usize, images: Result<Vec<f32>, Error>| {
        let raw = images.map(|mut images| {
            let mixing = augment::draw_mixing(&cfg.augment, cfg.seed, cfg.epoch, step, size);
            if let Some(mixing) = mixing {
                mixing.apply(&mut images, maker.image_len(), size.1);
            }
            let labels = plan.batch(step).iter().map(|place| split.labels()[place.picture]).collect();
            Raw { images, labels, mixed: mixing.map(|mixing| mixing.lambda()) }
        });
        let failed = raw.is_err();
        sender.send(raw).is_ok() && !failed
    };
    match maker.decodes() {
        true => pool::each_batch(&maker, &plan, threads, &mut send),
        false => {
            let mut room = Room::default();
            for step in plan.steps() {
                let mut images = vec![0f32; plan.batch(step).len() * maker.image_len()];
                let made = images
                    .chunks_exact_mut(maker.image_len())
                    .zip(plan.batch(step))
                    .try_for_each(|(out, place)| maker.picture(*place, &mut room, out));
                if !send(step, made.map(|()| images)) {
                    return;
                }
            }
        }
    }
}
