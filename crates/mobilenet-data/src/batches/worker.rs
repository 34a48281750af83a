//! The background thread that makes batches, and the end of its queue.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use candle_core::{Device, Tensor};

use super::config::{Batch, BatchConfig, Mixed};
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
    queue: Option<Receiver<Raw>>,
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
        let (sender, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || produce(&split, norm, &cfg, size, &sender))
            .map_err(|e| Error::BatchThread { reason: e.to_string() })?;
        Ok(Self { queue: Some(receiver), thread: Some(thread) })
    }

    pub fn receive(&self) -> Result<Raw, Error> {
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

fn produce(split: &Split, norm: Normalization, cfg: &BatchConfig, size: (usize, usize), sender: &SyncSender<Raw>) {
    let mut order: Vec<usize> = (0..split.len()).collect();
    if cfg.shuffle {
        SplitMix64::keyed(&[ORDER, cfg.seed, cfg.epoch]).shuffle(&mut order);
    }
    let mut maker = Maker::new(split, norm, cfg, size);
    let image_size = size.0 * size.1 * 3;
    for (step, indices) in order.chunks(cfg.batch_size).take(cfg.count(split.len())).enumerate() {
        let mut images = vec![0f32; indices.len() * image_size];
        for (out, &i) in images.chunks_exact_mut(image_size).zip(indices) {
            maker.picture(i, out);
        }
        let mixing = augment::draw_mixing(&cfg.augment, cfg.seed, cfg.epoch, step, size);
        if let Some(mixing) = mixing {
            mixing.apply(&mut images, image_size, size.1);
        }
        let labels = indices.iter().map(|&i| split.labels()[i]).collect();
        if sender.send(Raw { images, labels, mixed: mixing.map(|mixing| mixing.lambda()) }).is_err() {
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
    table: [[f32; 256]; 3],
    cropped: Vec<u8>,
    /// If pictures are scaled: how, and room for one.
    scaled: Option<(Resizer, Vec<u8>)>,
}

impl<'a> Maker<'a> {
    fn new(split: &'a Split, norm: Normalization, cfg: &'a BatchConfig, size: (usize, usize)) -> Self {
        let own_size = (split.height(), split.width());
        let scaled = (own_size != size).then(|| (Resizer::new(own_size, size), vec![0; size.0 * size.1 * 3]));
        Self { split, cfg, size, table: norm.table(), cropped: vec![0; split.image_size()], scaled }
    }

    /// Writes picture `i`, augmented, scaled and normalized, into `out`.
    fn picture(&mut self, i: usize, out: &mut [f32]) {
        let (split, cfg) = (self.split, self.cfg);
        let own = (split.height(), split.width());
        let change = augment::draw(&cfg.augment, cfg.seed, cfg.epoch, i, own, self.size);
        let from = i * split.image_size();
        let image = &split.pixels()[from..from + split.image_size()];
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
        for (to, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
            for ((to, &value), table) in to.iter_mut().zip(pixel).zip(&self.table) {
                *to = table[usize::from(value)];
            }
        }
        if let Some(area) = change.erase {
            // 0 stands for the set's mean color.
            area.rows(self.size.1).for_each(|row| out[row].fill(0.0));
        }
    }
}
