//! Pictures and labels of a part of a set.

use std::borrow::Cow;
use std::path::Path;

use mobilenet_common::random::{Fingerprint, SplitMix64};
use rayon::prelude::*;

use crate::Error;
use crate::originals::Originals;
use crate::scale::resize_and_crop;

/// One part of a data set: `u8` pictures, RGB, all of one size, and their labels.
///
/// The pictures are in memory, `[n, h, w, 3]`, or decoded when they are needed: [`load`](crate::load) decides by their
/// size ([`LoadOptions::picture_cache`](crate::LoadOptions::picture_cache)). What batches hold is the same.
#[derive(Clone, Debug)]
pub struct Split {
    /// `None`: decoded when they are needed.
    pixels: Option<Vec<u8>>,
    labels: Vec<u32>,
    height: usize,
    width: usize,
    /// The pictures at their own sizes, if they come from files of any size.
    originals: Option<Originals>,
}

/// Splits are alike whose pictures and labels are, wherever those are kept.
impl PartialEq for Split {
    fn eq(&self, other: &Self) -> bool {
        let pictures = match (&self.originals, &other.originals) {
            (Some(own), Some(others)) => own.contents() == others.contents(),
            _ => self.pixels == other.pixels,
        };
        pictures && (&self.labels, self.height, self.width) == (&other.labels, other.height, other.width)
    }
}

impl Eq for Split {}

impl Split {
    /// Takes pixels `[labels.len(), height, width, 3]`.
    ///
    /// # Errors
    ///
    /// [`Error::SplitSize`] if the number of bytes is another, [`Error::Config`] for pictures
    /// without pixels.
    pub fn new(pixels: Vec<u8>, labels: Vec<u32>, height: usize, width: usize) -> Result<Self, Error> {
        if height == 0 || width == 0 {
            return Err(Error::Config {
                name: "picture size".into(),
                expected: "1x1 or more".into(),
                found: format!("{height}x{width}"),
            });
        }
        let expected = [height, width, 3].into_iter().try_fold(labels.len(), usize::checked_mul).unwrap_or(usize::MAX);
        if pixels.len() != expected {
            return Err(Error::SplitSize { expected, found: pixels.len() });
        }
        Ok(Self { pixels: Some(pixels), labels, height, width, originals: None })
    }

    /// The same with pictures at their own sizes, of which `pixels` are the scaled ones, if they are kept.
    pub(crate) fn of_originals(
        pixels: Option<Vec<u8>>,
        labels: Vec<u32>,
        size: usize,
        originals: Originals,
    ) -> Result<Self, Error> {
        let kept = pixels.is_some();
        // Checks what there is of pixels; of none, the size.
        let counted = if kept { labels.clone() } else { Vec::new() };
        let split = Self::new(pixels.unwrap_or_default(), counted, size, size)?;
        Ok(Self { pixels: split.pixels.filter(|_| kept), labels, originals: Some(originals), ..split })
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no picture.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Height of every picture, in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width of every picture, in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All pixels, `[n, h, w, 3]`; `None` if the pictures are decoded when they are needed ([`Split::into_memory`]).
    pub fn pixels(&self) -> Option<&[u8]> {
        self.pixels.as_deref()
    }

    /// The class of every picture.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Picture `i` as `[h, w, 3]`, or `None` past the end and where pictures are decoded when they are needed
    /// ([`Split::picture`]).
    pub fn image(&self, i: usize) -> Option<&[u8]> {
        if i >= self.len() {
            return None;
        }
        let size = self.image_size();
        self.pixels.as_ref()?.get(i * size..(i + 1) * size)
    }

    /// Picture `i` as `[h, w, 3]`, decoded if it is not in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] past the end, those of [`load_image`](crate::load_image) for a file that has changed since the
    /// set was loaded.
    pub fn picture(&self, i: usize) -> Result<Cow<'_, [u8]>, Error> {
        match (self.image(i), &self.originals) {
            (Some(image), _) => Ok(Cow::Borrowed(image)),
            (None, Some(originals)) if i < self.len() => Ok(Cow::Owned(originals.decode_square(i, self.height)?)),
            _ => Err(Error::Config {
                name: "picture".into(),
                expected: format!("less than {}", self.len()),
                found: i.to_string(),
            }),
        }
    }

    /// The file that picture `i` was read from; `None` past the end and where pictures have no files of their own.
    pub fn file(&self, i: usize) -> Option<&Path> {
        self.originals.as_ref()?.file(i)
    }

    /// The same with all pictures in memory, whatever that takes.
    ///
    /// # Errors
    ///
    /// Those of [`Split::picture`].
    pub fn into_memory(self) -> Result<Self, Error> {
        if self.pixels.is_some() {
            return Ok(self);
        }
        let pictures = (0..self.len()).into_par_iter().map(|i| Ok(self.picture(i)?.into_owned()));
        let pixels = pictures.collect::<Result<Vec<_>, Error>>()?.concat();
        Ok(Self { pixels: Some(pixels), ..self })
    }

    /// A number that tells these pictures and labels from others; the same wherever they are kept.
    pub fn fingerprint(&self) -> u64 {
        let mut fingerprint = Fingerprint::new();
        fingerprint.add(self.height as u64);
        fingerprint.add(self.width as u64);
        self.labels.iter().for_each(|&label| fingerprint.add(u64::from(label)));
        match &self.originals {
            Some(originals) => originals.contents().iter().for_each(|&content| fingerprint.add(content)),
            None => fingerprint.add_bytes(self.pixels().unwrap_or_default()),
        }
        fingerprint.value()
    }

    /// The pictures at their own sizes.
    pub(crate) fn originals(&self) -> Option<&Originals> {
        self.originals.as_ref()
    }

    /// `n` pictures, or all if there are fewer, with a fair part of each class: the first `n` where the classes are
    /// mixed, as those of every loader of this crate are but for files that are sorted by class; else the first ones of
    /// each class, in their order.
    pub fn take(mut self, n: usize) -> Self {
        if n < self.len() && !self.is_mixed() {
            let chosen = self.fair_part(n);
            return self.pick(&chosen);
        }
        let bytes = n.saturating_mul(self.image_size());
        self.pixels.iter_mut().for_each(|pixels| pixels.truncate(bytes));
        self.labels.truncate(n);
        self.originals.iter_mut().for_each(|originals| originals.truncate(n));
        self
    }

    /// How many pictures each class has.
    fn counts(&self) -> Vec<usize> {
        let classes = self.labels.iter().max().map_or(0, |&most| most as usize + 1);
        let mut counts = vec![0; classes];
        self.labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// Whether neighbors are of one class no more often than they would be in a random order.
    fn is_mixed(&self) -> bool {
        let n = self.len() as f64;
        // The chance that two are of one class.
        let chance: f64 = self.counts().iter().map(|&count| (count as f64 / n).powi(2)).sum();
        let alike = self.labels.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
        let expected = n * chance;
        // Four standard deviations, and one more for the very small.
        alike <= expected + 4.0 * (n * chance * (1.0 - chance)).sqrt() + 1.0
    }

    /// Places of `n` pictures, at most as many as there are: of each class its share, to whole numbers by the largest
    /// remainders.
    fn fair_part(&self, n: usize) -> Vec<usize> {
        let counts = self.counts();
        let exact = |count: usize| count as u128 * n as u128;
        let all = self.len() as u128;
        let mut quotas: Vec<usize> = counts.iter().map(|&count| (exact(count) / all) as usize).collect();
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&class| std::cmp::Reverse(exact(counts[class]) % all));
        let left = n - quotas.iter().sum::<usize>();
        order.iter().take(left).for_each(|&class| quotas[class] += 1);
        let mut chosen = Vec::with_capacity(n);
        for (i, &label) in self.labels.iter().enumerate() {
            if let Some(rest) = quotas[label as usize].checked_sub(1) {
                quotas[label as usize] = rest;
                chosen.push(i);
            }
        }
        chosen
    }

    /// Sets `n` pictures, drawn by `seed`, apart: returns the rest and those, both in their old
    /// order.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] unless `0 < n < len`.
    pub fn split_off_validation(self, n: usize, seed: u64) -> Result<(Self, Self), Error> {
        if n == 0 || n >= self.len() {
            return Err(Error::Config {
                name: "validation images".into(),
                expected: format!("1 to {}", self.len().saturating_sub(1)),
                found: n.to_string(),
            });
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        SplitMix64::keyed(&[VALIDATION, seed]).shuffle(&mut order);
        let (valid, rest) = order.split_at_mut(n);
        valid.sort_unstable();
        rest.sort_unstable();
        Ok((self.pick(rest), self.pick(valid)))
    }

    /// All pictures as squares of another size.
    pub(crate) fn scaled(&self, size: usize) -> Result<Self, Error> {
        let own = (self.height, self.width);
        let scaled = |i| Ok(resize_and_crop(&self.picture(i)?, own, size, size));
        let pixels = (0..self.len()).into_par_iter().map(scaled).collect::<Result<Vec<Vec<u8>>, Error>>()?;
        Self::new(pixels.concat(), self.labels.clone(), size, size)
    }

    pub(crate) fn image_size(&self) -> usize {
        self.height * self.width * 3
    }

    /// The pictures of the given indices, which must be in range.
    pub(crate) fn pick(&self, indices: &[usize]) -> Self {
        let size = self.image_size();
        let pixels = self.pixels.as_ref().map(|all| {
            let mut pixels = Vec::with_capacity(indices.len() * size);
            indices.iter().for_each(|&i| pixels.extend_from_slice(&all[i * size..(i + 1) * size]));
            pixels
        });
        let labels = indices.iter().map(|&i| self.labels[i]).collect();
        let originals = self.originals.as_ref().map(|originals| originals.pick(indices));
        Self { pixels, labels, height: self.height, width: self.width, originals }
    }
}

/// First word of the key of this random choice.
const VALIDATION: u64 = u64::from_le_bytes(*b"validate");

#[cfg(test)]
mod tests {
    use super::*;

    fn split(n: usize) -> Split {
        let pixels = (0..n * 3).map(|i| i as u8).collect();
        Split::new(pixels, (0..n as u32).collect(), 1, 1).unwrap()
    }

    #[test]
    fn validation_is_a_seeded_partition() {
        let (rest, valid) = split(50).split_off_validation(20, 7).unwrap();
        assert_eq!((rest.len(), valid.len()), (30, 20));
        let mut all = [rest.labels(), valid.labels()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        for i in 0..valid.len() {
            assert_eq!(valid.image(i).unwrap()[0], valid.labels()[i] as u8 * 3);
        }
        assert_eq!(split(50).split_off_validation(20, 7).unwrap().1, valid);
        assert_ne!(split(50).split_off_validation(20, 8).unwrap().1, valid);
        for n in [0, 50, 51] {
            assert!(split(50).split_off_validation(n, 7).is_err(), "{n}");
        }
    }

    #[test]
    fn take_keeps_the_first() {
        assert_eq!(split(5).take(2), split(2));
        assert_eq!(split(5).take(usize::MAX), split(5));
        assert_eq!(split(5).image(5), None);
    }

    #[test]
    fn a_part_is_fair_whatever_the_order() {
        let of = |labels: Vec<u32>| Split::new(vec![0; labels.len() * 3], labels, 1, 1).unwrap();
        let counts = |split: Split| {
            (0..10).map(|class| split.labels().iter().filter(|&&l| l == class).count()).collect::<Vec<_>>()
        };
        let sorted: Vec<u32> = (0..10).flat_map(|class| [class; 40]).collect();
        assert_eq!(counts(of(sorted.clone()).take(100)), [10; 10]);
        assert_eq!(counts(of(sorted.clone()).take(4)).iter().max(), Some(&1));
        let few: Vec<u32> = (0..10).flat_map(|class| [class; 4]).collect();
        assert_eq!(counts(of(few).take(10)), [1; 10]);
        // 300 of one class and 100 of another.
        let uneven = [vec![0; 300], vec![1; 100]].concat();
        assert_eq!(counts(of(uneven).take(40))[..2], [30, 10]);
        // What is mixed is cut as it is.
        let mut mixed = sorted;
        SplitMix64::keyed(&[1]).shuffle(&mut mixed);
        assert_eq!(of(mixed.clone()).take(33).labels(), &mixed[..33]);
        let one = of(vec![0; 50]);
        assert_eq!((one.clone().take(7).len(), one.take(0).len()), (7, 0));
    }

    #[test]
    fn pixels_must_fit_the_labels() {
        for (bytes, n, h, w) in [(11, 1, 2, 2), (12, 2, 2, 2), (0, 1, usize::MAX, 3), (0, 1, 0, 1)] {
            assert!(Split::new(vec![0; bytes], vec![0; n], h, w).is_err());
        }
    }
}
