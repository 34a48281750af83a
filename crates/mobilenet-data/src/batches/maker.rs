//! One picture of a batch: decoded if need be, cut, scaled, changed, normalized.

use std::borrow::Cow;

use super::config::BatchConfig;
use super::order::Place;
use crate::resize::Resizer;
use crate::scale::{scale, whole};
use crate::{Error, Normalization, Split, augment};

/// What making the pictures of an epoch takes.
pub(super) struct Maker<'a> {
    split: &'a Split,
    cfg: &'a BatchConfig,
    /// Of the pictures that are made.
    size: (usize, usize),
    table: [[f32; 256]; 3],
}

/// What a thread keeps from one picture to the next.
#[derive(Default)]
pub(super) struct Room {
    cropped: Vec<u8>,
    /// If pictures are scaled after they were cut: how, and room for one.
    scaled: Option<(Resizer, Vec<u8>)>,
}

impl<'a> Maker<'a> {
    pub fn new(split: &'a Split, norm: Normalization, cfg: &'a BatchConfig, size: (usize, usize)) -> Self {
        Self { split, cfg, size, table: norm.table() }
    }

    /// Numbers of a picture.
    pub fn image_len(&self) -> usize {
        self.size.0 * self.size.1 * 3
    }

    /// Whether pictures are decoded: they are not in memory, or not at the size that a part is drawn from.
    pub fn decodes(&self) -> bool {
        self.split.originals().is_some() && (self.split.pixels().is_none() || self.cfg.augment.resized_crop.is_some())
    }

    /// Writes a picture, augmented, scaled and normalized, into `out`.
    pub fn picture(&self, place: Place, room: &mut Room, out: &mut [f32]) -> Result<(), Error> {
        let (split, cfg, i) = (self.split, self.cfg, place.picture);
        let (image, own) = match split.originals() {
            Some(originals) if cfg.augment.resized_crop.is_some() => {
                let image = originals.decode(i)?;
                let own = (image.height() as usize, image.width() as usize);
                (Cow::Owned(image.into_raw()), own)
            }
            _ => (split.picture(i)?, (split.height(), split.width())),
        };
        let change = augment::draw(&cfg.augment, cfg.seed, cfg.epoch, place.draw, own, self.size);
        let pixels = match change.part {
            Some(part) => {
                room.cropped = scale(&image, own.1, part, self.size, whole(self.size));
                if change.crop.mirror {
                    mirror(&mut room.cropped, self.size.1);
                }
                &mut room.cropped
            }
            None => {
                room.cropped.resize(image.len(), 0);
                change.crop.apply(&image, own, &mut room.cropped);
                match own == self.size {
                    true => &mut room.cropped,
                    false => {
                        let fresh = || (Resizer::new(own, self.size), vec![0; self.image_len()]);
                        let (resizer, scaled) = room.scaled.get_or_insert_with(fresh);
                        resizer.apply(&room.cropped, scaled);
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
        Ok(())
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
