//! A whole data set, and the statistics that normalize it.

use serde::{Deserialize, Serialize};

use crate::{Error, Split};

/// Training and test pictures with what is known about them.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// `cifar10`, `cifar100`, `shapes10`, or the name of the folder.
    pub name: String,
    /// One line for people: which copy of the set this is, with format, file names, checksums and
    /// numbers of images.
    pub copy: String,
    /// Name of each class; a label is an index into it.
    pub classes: Vec<String>,
    /// The training pictures.
    pub train: Split,
    /// The test pictures.
    pub test: Split,
    /// Mean of each channel of the training pictures, in units of 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel of the training pictures, in the same units.
    pub std: [f32; 3],
    /// Whether this is `shapes10` in place of a set that could not be had.
    pub fallback: bool,
    /// What people should know of how the set was read, a line each: a part that was made, files that were left out.
    pub notes: Vec<String>,
    /// Broken pictures that were left out.
    pub left_out: usize,
}

impl Dataset {
    /// Measures mean and standard deviation; pictures of both parts are of one size.
    pub(crate) fn new(
        name: String,
        copy: String,
        classes: Vec<String>,
        train: Split,
        test: Split,
    ) -> Result<Self, Error> {
        let normalization = Normalization::of(&train)?;
        Ok(Self::measured(name, copy, classes, (train, test), normalization))
    }

    /// The same with what is known of the training pictures.
    pub(crate) fn measured(
        name: String,
        copy: String,
        classes: Vec<String>,
        (train, test): (Split, Split),
        Normalization { mean, std }: Normalization,
    ) -> Self {
        Self { name, copy, classes, train, test, mean, std, fallback: false, notes: Vec::new(), left_out: 0 }
    }

    /// The same set with pictures of another size, cut to their middle squares and scaled as those of files are.
    pub(crate) fn scaled(self, size: usize) -> Result<Self, Error> {
        if (self.train.height(), self.train.width()) == (size, size) {
            return Ok(self);
        }
        let (train, test) = (self.train.scaled(size)?, self.test.scaled(size)?);
        let Normalization { mean, std } = Normalization::of(&train)?;
        let copy = format!("{}, scaled to {size}x{size}", self.copy);
        Ok(Self { copy, train, test, mean, std, ..self })
    }

    /// The set's own mean and standard deviation.
    pub fn normalization(&self) -> Normalization {
        Normalization { mean: self.mean, std: self.std }
    }
}

/// What makes a channel of mean 0 and variance 1: `(x / 255 - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Mean of each channel, in units of 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, in units of 0 to 1.
    pub std: [f32; 3],
}

impl Normalization {
    /// Mean and (population) standard deviation over all pixels of `split`. A channel that never
    /// changes gets the standard deviation 1, an empty split mean 0 and standard deviation 1.
    ///
    /// The sums are whole numbers, so the result depends on nothing but the pictures.
    ///
    /// # Errors
    ///
    /// Those of [`Split::picture`]; none for pictures in memory.
    pub fn of(split: &Split) -> Result<Self, Error> {
        let mut sums = Sums::default();
        for i in 0..split.len() {
            sums.add(&Sums::of(&split.picture(i)?));
        }
        Ok(sums.normalization())
    }

    /// For each channel, what each of the 256 values becomes.
    #[must_use]
    pub fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|c| std::array::from_fn(|value| (value as f32 / 255.0 - self.mean[c]) / self.std[c]))
    }
}

/// What mean and standard deviation are made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pixels: u64,
    sum: [u64; 3],
    squares: [u64; 3],
}

impl Sums {
    /// Those of pixels `[…, 3]`.
    pub fn of(pixels: &[u8]) -> Self {
        let mut sums = Self { pixels: (pixels.len() / 3) as u64, ..Self::default() };
        for pixel in pixels.chunks_exact(3) {
            for ((sum, squares), &value) in sums.sum.iter_mut().zip(&mut sums.squares).zip(pixel) {
                let value = u64::from(value);
                *sum += value;
                *squares += value * value;
            }
        }
        sums
    }

    pub fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        for c in 0..3 {
            self.sum[c] += other.sum[c];
            self.squares[c] += other.squares[c];
        }
    }

    pub fn normalization(&self) -> Normalization {
        let n = self.pixels.max(1) as f64;
        let mean = self.sum.map(|s| s as f64 / n);
        let std = std::array::from_fn(|c| {
            let variance = self.squares[c] as f64 / n - mean[c] * mean[c];
            if variance > 1e-6 { (variance.sqrt() / 255.0) as f32 } else { 1.0 }
        });
        Normalization { mean: mean.map(|m| (m / 255.0) as f32), std }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_std_of_known_pictures() {
        // Red 0 and 255, green always 51, blue 0, 0, 0, 255.
        let pixels = vec![0, 51, 0, 255, 51, 0, 0, 51, 0, 255, 51, 255];
        let norm = Normalization::of(&Split::new(pixels, vec![0, 0], 1, 2).unwrap()).unwrap();
        assert_eq!(norm.mean, [0.5, 0.2, 0.25]);
        assert_eq!(norm.std, [0.5, 1.0, 0.1875f32.sqrt()]);
        let table = norm.table();
        assert_eq!([table[0][0], table[0][255], table[1][51]], [-1.0, 1.0, 0.0]);
    }
}
