//! The background thread that makes batches, and the end of its queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};

use super::config::{Batch, BatchConfig, Mixed};
use super::pictures::{PictureBatch, PictureChange, PictureMix, Rectangle};
use crate::augment::Crop;
use crate::resize::Resizer;
use crate::scale::{scale, whole};
use crate::{Error, Normalization, Split, augment};
use mobilenet_common::random::SplitMix64;

/// Batches that may wait, ready, for their consumer.
const QUEUE: usize = 3;

/// First word of the key of the order's random stream.
const ORDER: u64 = u64::from_le_bytes(*b"order...");

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
    queue: Option<Receiver<T>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// A thread that runs `produce`.
    fn start(produce: impl FnOnce(&SyncSender<T>) + Send + 'static) -> Result<Self, Error> {
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || produce(&sender))
            .map_err(|e| Error::BatchThread { reason: e.to_string() })?;
        Ok(Self { queue: Some(receiver), thread: Some(thread) })
    }

    pub fn receive(&self) -> Result<T, Error> {
        self.queue
            .as_ref()
            .and_then(|queue| queue.recv().ok())
            .ok_or_else(|| Error::BatchThread { reason: "it ended too early".into() })
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
        Self::start(move |sender| {
            let mut maker = Maker::new(&split, &cfg, size);
            let table = norm.table();
            let image_size = size.0 * size.1 * 3;
            produce(&split, &cfg, sender, |step, indices| {
                let mut images = vec![0f32; indices.len() * image_size];
                for (out, &i) in images.chunks_exact_mut(image_size).zip(indices) {
                    maker.picture(i, &table, out);
                }
                let mixing = augment::draw_mixing(&cfg.augment, cfg.seed, cfg.epoch, step, size);
                if let Some(mixing) = mixing {
                    mixing.apply(&mut images, image_size, size.1);
                }
                let labels = indices.iter().map(|&i| split.labels()[i]).collect();
                Raw { images, labels, mixed: mixing.map(|mixing| mixing.lambda()) }
            });
        })
    }
}

impl Worker<PictureBatch> {
    /// Makes pictures of `size` whose last changes are left to others.
    pub fn pictures(split: Arc<Split>, cfg: BatchConfig, size: (usize, usize)) -> Result<Self, Error> {
        Self::start(move |sender| {
            let mut maker = Maker::new(&split, &cfg, size);
            let image_size = size.0 * size.1 * 3;
            produce(&split, &cfg, sender, |step, indices| {
                let mut pixels = vec![0u8; indices.len() * image_size];
                let outputs = pixels.chunks_exact_mut(image_size).zip(indices);
                let changes = outputs.map(|(out, &i)| maker.unfinished(i, out)).collect();
                let mixing = augment::draw_mixing(&cfg.augment, cfg.seed, cfg.epoch, step, size);
                let labels = indices.iter().map(|&i| split.labels()[i]).collect();
                PictureBatch { pixels, size, labels, changes, mixing: mixing.map(PictureMix::from) }
            });
        })
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

/// Makes a batch of each step's pictures, until nobody takes them.
fn produce<T>(split: &Split, cfg: &BatchConfig, sender: &SyncSender<T>, mut make: impl FnMut(usize, &[usize]) -> T) {
    let mut order: Vec<usize> = (0..split.len()).collect();
    if cfg.shuffle {
        SplitMix64::keyed(&[ORDER, cfg.seed, cfg.epoch]).shuffle(&mut order);
    }
    for (step, indices) in order.chunks(cfg.batch_size).take(cfg.count(split.len())).enumerate() {
        if sender.send(make(step, indices)).is_err() {
            return;
        }
    }
}

/// Exchanges left and right of a picture `[h, width, 3]`.
fn mirror(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(width * 3) {
        for x in 0..width / 2 {
            for c in 0..3 {
                row.swap(x * 3 + c, (width - 1 - x) * 3 + c);
            }
        }
    }
}

/// What making the pictures of a batch takes.
struct Maker<'a> {
    split: &'a Split,
    cfg: &'a BatchConfig,
    size: (usize, usize),
    cropped: Vec<u8>,
    /// If pictures are scaled: how, and room for one.
    scaled: Option<(Resizer, Vec<u8>)>,
}

impl<'a> Maker<'a> {
    fn new(split: &'a Split, cfg: &'a BatchConfig, size: (usize, usize)) -> Self {
        let own_size = (split.height(), split.width());
        let scaled = (own_size != size).then(|| (Resizer::new(own_size, size), vec![0; size.0 * size.1 * 3]));
        Self { split, cfg, size, cropped: vec![0; split.image_size()], scaled }
    }

    /// Writes picture `i`, augmented, scaled and normalized by a table, into `out`.
    fn picture(&mut self, i: usize, table: &[[f32; 256]; 3], out: &mut [f32]) {
        let change = self.draw(i);
        let pixels = self.pixels(i, &change);
        for (to, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
            for ((to, &value), table) in to.iter_mut().zip(pixel).zip(table) {
                *to = table[usize::from(value)];
            }
        }
        if let Some(area) = change.erase {
            // 0 stands for the set's mean color.
            area.rows(self.size.1).for_each(|row| out[row].fill(0.0));
        }
    }

    /// Writes picture `i` into `out`: as it is stored where all that is left is a crop, else with all of its colors' and
    /// places' changes. Returns what is left to do.
    fn unfinished(&mut self, i: usize, out: &mut [u8]) -> PictureChange {
        let change = self.draw(i);
        let erase = change.erase;
        let is_crop = change.part.is_none() && self.scaled.is_none() && !change.recolors();
        if !is_crop {
            out.copy_from_slice(self.pixels(i, &change));
            return PictureChange { erase: erase.map(Rectangle::from), ..PictureChange::default() };
        }
        out.copy_from_slice(self.stored(i));
        let Crop { dy, dx, mirror, padding } = change.crop;
        PictureChange { shift: (dy, dx), mirror, padding, erase: erase.map(Rectangle::from) }
    }

    fn draw(&self, i: usize) -> augment::Change {
        let (split, cfg) = (self.split, self.cfg);
        augment::draw(&cfg.augment, cfg.seed, cfg.epoch, i, (split.height(), split.width()), self.size)
    }

    fn stored(&self, i: usize) -> &'a [u8] {
        let from = i * self.split.image_size();
        &self.split.pixels()[from..from + self.split.image_size()]
    }

    /// Picture `i`, changed and scaled, before it is normalized.
    fn pixels(&mut self, i: usize, change: &augment::Change) -> &[u8] {
        let own = (self.split.height(), self.split.width());
        let image = self.stored(i);
        let pixels: &mut Vec<u8> = match (change.part, &mut self.scaled) {
            (Some(part), _) => {
                self.cropped = scale(image, own.1, part, self.size, whole(self.size));
                if change.crop.mirror {
                    mirror(&mut self.cropped, self.size.1);
                }
                &mut self.cropped
            }
            (None, scaled) => {
                self.cropped.resize(image.len(), 0);
                change.crop.apply(image, own, &mut self.cropped);
                match scaled {
                    None => &mut self.cropped,
                    Some((resizer, scaled)) => {
                        resizer.apply(&self.cropped, scaled);
                        scaled
                    }
                }
            }
        };
        change.recolor(pixels, self.size);
        pixels
    }
}
