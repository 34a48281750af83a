//! The background thread that makes batches, and the end of its queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};

use super::config::{Batch, BatchConfig, Mixed};
use super::maker::{Maker, Room};
use super::order::Plan;
use super::pictures::{PictureBatch, PictureMix};
use super::pool::{self, Make, Pictures};
use crate::{Error, Normalization, Split, augment};

/// Batches that may wait, ready, for their consumer, and how many bytes of them where there is more than one.
const QUEUE: usize = 3;
const QUEUE_BYTES: usize = 128 << 20;

/// Pictures `[n, h, w, 3]` and labels, before they are tensors: those belong on the consumer's
/// thread, which may own the context of a device.
#[derive(Debug)]
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

/// The thread, and the end of its queue of `T`, one for each batch.
#[derive(Debug)]
pub(super) struct Worker<T> {
    queue: Option<Receiver<Result<T, Error>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// A thread that runs `produce`, which is told how many threads may decode. A batch takes so many bytes.
    fn start(
        bytes: usize,
        produce: impl FnOnce(usize, &SyncSender<Result<T, Error>>) + Send + 'static,
    ) -> Result<Self, Error> {
        // Of the pool that the caller is in.
        let threads = rayon::current_num_threads();
        let (sender, receiver) = sync_channel((QUEUE_BYTES / bytes.max(1)).clamp(1, QUEUE));
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || produce(threads, &sender))
            .map_err(|e| Error::BatchThread { reason: e.to_string() })?;
        Ok(Self { queue: Some(receiver), thread: Some(thread) })
    }

    fn receive(&self) -> Result<T, Error> {
        self.queue
            .as_ref()
            .and_then(|queue| queue.recv().ok())
            .unwrap_or_else(|| Err(Error::BatchThread { reason: "it ended too early".into() }))
    }
}

impl Worker<Raw> {
    /// Makes pictures of `size`.
    pub fn images(
        split: Arc<Split>,
        norm: Normalization,
        cfg: BatchConfig,
        size: (usize, usize),
    ) -> Result<Self, Error> {
        Self::start(bytes_of::<f32>(&cfg, size), move |threads, sender| {
            let (maker, plan, table) = (Maker::new(&split, &cfg, size), Plan::new(&cfg, split.labels()), norm.table());
            let make = |place, room: &mut Room, out: &mut [f32]| maker.picture(place, &table, room, out);
            produce(&maker, &plan, threads, &make, sender, &mut |step, (mut images, _)| {
                let mixing = augment::draw_mixing(&cfg.augment, cfg.seed, cfg.epoch, step, size);
                if let Some(mixing) = mixing {
                    mixing.apply(&mut images, maker.image_len(), size.1);
                }
                let labels = plan.labels(step, split.labels());
                Raw { images, labels, mixed: mixing.map(|mixing| mixing.lambda()) }
            });
        })
    }
}

impl Worker<PictureBatch> {
    /// Makes pictures of `size` whose last changes are left to others.
    pub fn pictures(split: Arc<Split>, cfg: BatchConfig, size: (usize, usize)) -> Result<Self, Error> {
        Self::start(bytes_of::<u8>(&cfg, size), move |threads, sender| {
            let (maker, plan) = (Maker::new(&split, &cfg, size), Plan::new(&cfg, split.labels()));
            let make = |place, room: &mut Room, out: &mut [u8]| maker.unfinished(place, room, out);
            produce(&maker, &plan, threads, &make, sender, &mut |step, (pixels, changes)| {
                let mixing = augment::draw_mixing(&cfg.augment, cfg.seed, cfg.epoch, step, size);
                let labels = plan.labels(step, split.labels());
                PictureBatch { pixels, size, labels, changes, mixing: mixing.map(PictureMix::from) }
            });
        })
    }
}

/// The batches of an epoch that are left, the last one an error if there is any.
#[derive(Debug)]
pub(super) struct Queue<T> {
    worker: Option<Worker<T>>,
    failed: Option<Error>,
    remaining: usize,
}

impl<T: Send + 'static> Queue<T> {
    /// Of a worker that `start` gives for pictures of a size, if the settings make sense.
    pub fn new(
        split: &Arc<Split>,
        cfg: &BatchConfig,
        start: impl FnOnce(Arc<Split>, BatchConfig, (usize, usize)) -> Result<Worker<T>, Error>,
    ) -> Self {
        let started = cfg
            .check((split.height(), split.width()))
            .and_then(|()| start(Arc::clone(split), cfg.clone(), size_of_pictures(split, cfg)));
        match started {
            Ok(worker) => {
                Self { worker: Some(worker), failed: None, remaining: cfg.count(split.len()).saturating_sub(cfg.skip) }
            }
            Err(error) => Self { worker: None, failed: Some(error), remaining: 1 },
        }
    }

    /// Ends the worker: there is nothing left.
    pub fn end(&mut self) {
        (self.worker, self.remaining) = (None, 0);
    }
}

/// Height and width of a batch's pictures.
pub(super) fn size_of_pictures(split: &Split, cfg: &BatchConfig) -> (usize, usize) {
    cfg.resize.unwrap_or((split.height(), split.width()))
}

impl<T: Send + 'static> Iterator for Queue<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let item = match (self.failed.take(), &self.worker) {
            (Some(error), _) => Err(error),
            (None, Some(worker)) => worker.receive(),
            (None, None) => return None,
        };
        if item.is_err() {
            self.end();
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // Without a receiver the thread's next send fails, and it ends.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it has already reached the consumer as an error.
            let _ = thread.join();
        }
    }
}

fn bytes_of<T>(cfg: &BatchConfig, size: (usize, usize)) -> usize {
    [cfg.batch_size, size.0, size.1, 3 * size_of::<T>()].into_iter().fold(1, usize::saturating_mul)
}

/// Makes the batches one after the other, on this thread or, where pictures have to be decoded, on several, until nobody
/// takes them.
fn produce<T: Copy + Default + Send, C: Clone + Default + Send, B>(
    maker: &Maker,
    plan: &Plan,
    threads: usize,
    make: &Make<T, C>,
    sender: &SyncSender<Result<B, Error>>,
    finish: &mut dyn FnMut(usize, Pictures<T, C>) -> B,
) {
    let len = maker.image_len();
    let mut send = |step: usize, pictures: Result<Pictures<T, C>, Error>| {
        let batch = pictures.map(|pictures| finish(step, pictures));
        let failed = batch.is_err();
        sender.send(batch).is_ok() && !failed
    };
    if maker.decodes() {
        pool::each_batch(make, len, plan, threads, &mut send);
        return;
    }
    let mut room = Room::default();
    for step in plan.steps() {
        let mut values = vec![T::default(); plan.batch(step).len() * len];
        let changes = values
            .chunks_exact_mut(len)
            .zip(plan.batch(step))
            .map(|(out, place)| make(*place, &mut room, out))
            .collect::<Result<Vec<C>, Error>>();
        if !send(step, changes.map(|changes| (values, changes))) {
            return;
        }
    }
}
