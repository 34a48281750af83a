//! What the first reading of a set leaves: the pictures in memory if they fit, and else only what tells them apart.

use std::path::PathBuf;
use std::sync::Arc;

use mobilenet_common::numbers::thousands;
use mobilenet_common::random::Fingerprint;

use crate::dataset::Sums;
use crate::originals::{Originals, Store};
use crate::{Error, ReadOptions, Split};

/// How the pictures of a set are read.
pub(crate) struct How<'a> {
    /// Side that they are scaled to.
    pub size: usize,
    pub options: &'a ReadOptions,
    /// Most bytes of them that are kept in memory.
    pub cache: u64,
    /// Where temporary files may be.
    pub temporary: PathBuf,
}

impl How<'_> {
    /// What a picture's shorter side is scaled to before it is cut.
    pub fn short(&self) -> usize {
        self.options.short_side(self.size)
    }

    /// Bytes of so many pictures, scaled.
    pub fn bytes(&self, pictures: usize) -> u64 {
        let side = self.size as u64;
        (pictures as u64).saturating_mul(side * side * 3)
    }

    /// Pictures of which the scaled ones take `bytes` at most: as many as are read between two reports of progress.
    pub fn within(&self, bytes: u64, most: usize) -> usize {
        usize::try_from(bytes / self.bytes(1).max(1)).unwrap_or(most).clamp(1, most)
    }

    /// What is said of pictures that are not kept; `encoded`: bytes that would be kept besides them.
    pub fn not_kept(&self, pictures: usize, encoded: u64) -> String {
        let (size, most) = (self.size, amount(self.cache));
        let would = amount(self.bytes(pictures).saturating_add(encoded));
        let and = if encoded > 0 { " with the files' own" } else { "" };
        format!(
            "pictures are decoded as they are needed: {} of {size}x{size}{and} would take {would}, the picture cache has \
             {most}",
            thousands(pictures as u64)
        )
    }
}

/// Bytes for people.
pub(crate) fn amount(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A picture that was read, scaled.
pub(crate) struct Scanned {
    pub pixels: Vec<u8>,
    content: u64,
    sums: Sums,
}

impl Scanned {
    pub fn new(pixels: Vec<u8>) -> Self {
        let mut content = Fingerprint::new();
        content.add_bytes(&pixels);
        Self { content: content.value(), sums: Sums::of(&pixels), pixels }
    }
}

/// The pictures of a part that could be read.
pub(crate) struct Gathered {
    /// `None`: not to be kept.
    pixels: Option<Vec<u8>>,
    labels: Vec<u32>,
    places: Vec<usize>,
    contents: Vec<u64>,
    /// Of all of them.
    pub sums: Sums,
}

impl Gathered {
    /// For some `pictures`, to be kept or not.
    pub fn new(how: &How, pictures: usize, keep: bool) -> Self {
        // What is kept fits into memory.
        let room = || usize::try_from(how.bytes(pictures)).unwrap_or(0);
        Self {
            pixels: keep.then(|| Vec::with_capacity(room())),
            labels: Vec::with_capacity(pictures),
            places: Vec::with_capacity(pictures),
            contents: Vec::with_capacity(pictures),
            sums: Sums::default(),
        }
    }

    /// Takes the picture that is at `place` of a store.
    pub fn push(&mut self, picture: Scanned, label: u32, place: usize) {
        self.pixels.iter_mut().for_each(|pixels| pixels.extend_from_slice(&picture.pixels));
        self.labels.push(label);
        self.places.push(place);
        self.contents.push(picture.content);
        self.sums.add(&picture.sums);
    }

    /// The part, with its pictures at their own sizes if there is a store of them.
    pub fn finish(self, how: &How, store: Option<Arc<Store>>) -> Result<Split, Error> {
        match store {
            Some(store) => {
                let originals = Originals::new(store, self.places, self.contents, how.short());
                Split::of_originals(self.pixels, self.labels, how.size, originals)
            }
            None => Split::new(self.pixels.unwrap_or_default(), self.labels, how.size, how.size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_for_people() {
        for (bytes, expected) in [(0, "0.0 kB"), (3_072, "3.1 kB"), (1_500_000, "1.5 MB"), (15_052_800_000, "15.05 GB")]
        {
            assert_eq!(amount(bytes), expected);
        }
    }
}
