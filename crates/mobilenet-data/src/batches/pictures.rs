//! Batches as bytes, for a device that changes and normalizes pictures itself: a quarter of what numbers take, and what
//! was drawn for each picture.

use std::sync::Arc;

use super::config::BatchConfig;
use super::worker::{Queue, Worker};
use crate::augment::{Area, Mixing};
use crate::{Error, Padding, Split};

/// A batch whose pictures are yet to be shifted, mirrored, normalized, erased and mixed, in this order.
///
/// Other changes (a resized crop, a policy, color jitter, another size) are the host's: a picture that has any is shifted
/// and mirrored, too, and only has an area to erase.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureBatch {
    /// `[n, h, w, 3]`
    pub pixels: Vec<u8>,
    /// Height and width.
    pub size: (usize, usize),
    /// `[n]`
    pub labels: Vec<u32>,
    /// What was drawn for each picture.
    pub changes: Vec<PictureChange>,
    /// How the batch is mixed, each picture with the one before it, the first with the last.
    pub mixing: Option<PictureMix>,
}

/// What is left to do with a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureChange {
    /// Down and right: the pixel at `(y, x)` comes from `(y + dy, x + dx)` in the mirrored picture if `mirror`.
    pub shift: (isize, isize),
    /// Whether left and right are exchanged.
    pub mirror: bool,
    /// What is beyond the borders.
    pub padding: Padding,
    /// What becomes 0 after normalization.
    pub erase: Option<Rectangle>,
}

/// `height` x `width` pixels, the first of them in row `top` and column `left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// Row of the first pixel.
    pub top: usize,
    /// Column of the first pixel.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// How pictures are mixed with the ones before them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PictureMix {
    /// Every pixel is `lambda` of its own and `1 - lambda` of the other's.
    Blend {
        /// Share of the picture itself.
        lambda: f64,
    },
    /// An area is the other picture's.
    Paste {
        /// Where.
        area: Rectangle,
        /// Share of the picture itself.
        lambda: f64,
    },
}

impl PictureMix {
    /// Share of the picture itself, and so of its label.
    #[must_use]
    pub fn lambda(&self) -> f64 {
        match self {
            Self::Blend { lambda } | Self::Paste { lambda, .. } => *lambda,
        }
    }
}

impl From<Area> for Rectangle {
    fn from(Area { top, left, height, width }: Area) -> Self {
        Self { top, left, height, width }
    }
}

impl From<Mixing> for PictureMix {
    fn from(mixing: Mixing) -> Self {
        match mixing {
            Mixing::Blend { lambda } => Self::Blend { lambda },
            Mixing::Paste { area, lambda } => Self::Paste { area: area.into(), lambda },
        }
    }
}

/// The batches of one epoch of `split` as bytes: what [`batches`](crate::batches) makes tensors of, with the same draws.
///
/// # Errors
/// Those of [`batches`](crate::batches), as its items.
pub fn pictures(split: Arc<Split>, cfg: &BatchConfig) -> Pictures {
    Pictures(Queue::new(&split, cfg, Worker::pictures))
}

/// Iterator over the batches of one epoch; see [`pictures`].
#[derive(Debug)]
pub struct Pictures(Queue<PictureBatch>);

impl Iterator for Pictures {
    type Item = Result<PictureBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Pictures {}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{Augment, ColorJitter, Mix, Normalization, ResizedCrop, batches};

    /// Makes numbers of a batch by the rules in words, to the bit.
    fn finished(batch: &PictureBatch, norm: &Normalization) -> Vec<f32> {
        let (table, (h, w)) = (norm.table(), batch.size);
        let mut images = Vec::new();
        for (pixels, change) in batch.pixels.chunks_exact(h * w * 3).zip(&batch.changes) {
            let place = |at: usize, shift: isize, size: usize| {
                let (at, last) = (at as isize + shift, size as isize - 1);
                match change.padding {
                    _ if (0..=last).contains(&at) => Some(at as usize),
                    Padding::Black => None,
                    Padding::Reflect => Some(if at < 0 { -at } else { 2 * last - at } as usize),
                }
            };
            for at in 0..h * w * 3 {
                let (c, x, y) = (at % 3, at / 3 % w, at / 3 / w);
                let from = place(y, change.shift.0, h).zip(place(x, change.shift.1, w));
                let value =
                    from.map_or(0, |(y, x)| pixels[(y * w + if change.mirror { w - 1 - x } else { x }) * 3 + c]);
                let inside = |area: &Rectangle| {
                    (area.top..area.top + area.height).contains(&y) && (area.left..area.left + area.width).contains(&x)
                };
                let erased = change.erase.as_ref().is_some_and(inside);
                images.push(if erased { 0.0 } else { table[c][usize::from(value)] });
            }
        }
        let before = |at: usize| images[(at + images.len() - h * w * 3) % images.len()];
        let mixed = images.iter().enumerate().map(|(at, own)| match batch.mixing {
            None => *own,
            Some(PictureMix::Blend { lambda }) => lambda as f32 * own + (1.0 - lambda) as f32 * before(at),
            Some(PictureMix::Paste { area: Rectangle { top, left, height, width }, .. }) => {
                let (x, y) = (at / 3 % w, at / 3 / w % h);
                let inside = (top..top + height).contains(&y) && (left..left + width).contains(&x);
                if inside { before(at) } else { *own }
            }
        });
        mixed.collect()
    }

    /// Whatever is drawn, bytes and what is left to do come to the numbers of `batches`.
    #[test]
    fn bytes_and_changes_are_the_batches() {
        let pixels = (0..11 * 8 * 6 * 3).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let split = Arc::new(Split::new(pixels, (0..11).collect(), 8, 6).unwrap());
        let norm = Normalization::of(&split).unwrap();
        let erasing = Augment { random_erasing: 0.5, crop_padding: 2, ..Augment::default() };
        for (augment, resize) in [
            (Augment::NONE, None),
            (erasing, None),
            (Augment { padding: Padding::Reflect, mix: Mix::MixUp { alpha: 0.4 }, ..erasing }, None),
            (Augment { mix: Mix::CutMix { alpha: 1.0 }, alternate_flip: true, ..erasing }, None),
            (Augment { color_jitter: Some(ColorJitter { hue: 0.2, ..ColorJitter::default() }), ..erasing }, None),
            (Augment { resized_crop: Some(ResizedCrop::default()), ..erasing }, None),
            (erasing, Some((5, 7))),
        ] {
            let config = BatchConfig { augment, resize, drop_last: false, ..BatchConfig::train(4, 7, 2) };
            let expected: Vec<_> =
                batches(Arc::clone(&split), norm, &config, &Device::Cpu).map(Result::unwrap).collect();
            let found: Vec<_> = pictures(Arc::clone(&split), &config).map(Result::unwrap).collect();
            assert_eq!((found.len(), expected.len()), (3, 3));
            for (found, expected) in found.iter().zip(&expected) {
                let images =
                    expected.images.permute((0, 2, 3, 1)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(finished(found, &norm), images, "{augment:?}");
                assert_eq!(found.labels, expected.labels.to_vec1::<u32>().unwrap());
                assert_eq!(found.mixing.map(|mix| mix.lambda()), expected.mixed.as_ref().map(|mixed| mixed.lambda));
            }
        }
    }

    #[test]
    fn senseless_settings_come_as_the_first_item() {
        let split = Arc::new(Split::new(vec![0; 12], vec![0], 2, 2).unwrap());
        let found: Vec<_> = pictures(split, &BatchConfig::eval(0)).collect();
        assert!(matches!(&found[..], [Err(Error::Config { .. })]), "{found:?}");
    }
}
