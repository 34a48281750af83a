//! One picture of a batch: decoded if need be, cut, scaled, changed, normalized.

use std::borrow::Cow;

use super::config::BatchConfig;
use super::order::Place;
use super::pictures::{PictureChange, Rectangle};
use crate::augment::{Change, Crop};
use crate::resize::Resizer;
use crate::scale::{scale, whole};
use crate::{Error, Split, augment};

/// What making the pictures of an epoch takes.
pub(super) struct Maker<'a> {
    split: &'a Split,
    cfg: &'a BatchConfig,
    /// Of the pictures that are made.
    size: (usize, usize),
}

/// What a thread keeps from one picture to the next.
#[derive(Default)]
pub(super) struct Room {
    cropped: Vec<u8>,
    /// If pictures are scaled after they were cut: how, and room for one.
    scaled: Option<(Resizer, Vec<u8>)>,
}

/// A picture before its changes, and what they are.
struct Drawn<'a> {
    pixels: Cow<'a, [u8]>,
    /// Height and width.
    size: (usize, usize),
    change: Change,
}

impl<'a> Maker<'a> {
    pub fn new(split: &'a Split, cfg: &'a BatchConfig, size: (usize, usize)) -> Self {
        Self { split, cfg, size }
    }

    /// Numbers of a picture.
    pub fn image_len(&self) -> usize {
        self.size.0 * self.size.1 * 3
    }

    /// Whether pictures are decoded: they are not in memory, or not at the size that a part is drawn from.
    pub fn decodes(&self) -> bool {
        self.split.originals().is_some() && (self.split.pixels().is_none() || self.cfg.augment.resized_crop.is_some())
    }

    /// Writes a picture, augmented, scaled and normalized by a table, into `out`.
    pub fn picture(
        &self,
        place: Place,
        table: &[[f32; 256]; 3],
        room: &mut Room,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let drawn = self.draw(place)?;
        let pixels = self.changed(&drawn, room);
        for (to, pixel) in out.chunks_exact_mut(3).zip(pixels.chunks_exact(3)) {
            for ((to, &value), table) in to.iter_mut().zip(pixel).zip(table) {
                *to = table[usize::from(value)];
            }
        }
        if let Some(area) = drawn.change.erase {
            // 0 stands for the set's mean color.
            area.rows(self.size.1).for_each(|row| out[row].fill(0.0));
        }
        Ok(())
    }

    /// Writes a picture into `out`: as it is where all that is left is a crop, else with all of its colors' and places'
    /// changes. Returns what is left to do.
    pub fn unfinished(&self, place: Place, room: &mut Room, out: &mut [u8]) -> Result<PictureChange, Error> {
        let drawn = self.draw(place)?;
        let change = &drawn.change;
        let erase = change.erase.map(Rectangle::from);
        if change.part.is_some() || drawn.size != self.size || change.recolors() {
            out.copy_from_slice(self.changed(&drawn, room));
            return Ok(PictureChange { erase, ..PictureChange::default() });
        }
        out.copy_from_slice(&drawn.pixels);
        let Crop { dy, dx, mirror, padding } = change.crop;
        Ok(PictureChange { shift: (dy, dx), mirror, padding, erase })
    }

    fn draw(&self, place: Place) -> Result<Drawn<'a>, Error> {
        let (split, cfg, i) = (self.split, self.cfg, place.picture);
        let (pixels, size) = match split.originals() {
            Some(originals) if cfg.augment.resized_crop.is_some() => {
                let image = originals.decode(i)?;
                let size = (image.height() as usize, image.width() as usize);
                (Cow::Owned(image.into_raw()), size)
            }
            _ => (split.picture(i)?, (split.height(), split.width())),
        };
        let change = augment::draw(&cfg.augment, cfg.seed, cfg.epoch, place.draw, size, self.size);
        Ok(Drawn { pixels, size, change })
    }

    /// A picture, changed and scaled, before it is normalized.
    fn changed<'r>(&self, drawn: &Drawn, room: &'r mut Room) -> &'r [u8] {
        let Drawn { pixels: image, size: own, change } = drawn;
        let pixels = match change.part {
            Some(part) => {
                room.cropped = scale(image, own.1, part, self.size, whole(self.size));
                if change.crop.mirror {
                    mirror(&mut room.cropped, self.size.1);
                }
                &mut room.cropped
            }
            None => {
                room.cropped.resize(image.len(), 0);
                change.crop.apply(image, *own, &mut room.cropped);
                match *own == self.size {
                    true => &mut room.cropped,
                    false => {
                        let fresh = || (Resizer::new(*own, self.size), vec![0; self.image_len()]);
                        let (resizer, scaled) = room.scaled.get_or_insert_with(fresh);
                        resizer.apply(&room.cropped, scaled);
                        scaled
                    }
                }
            }
        };
        change.recolor(pixels, self.size);
        pixels
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
