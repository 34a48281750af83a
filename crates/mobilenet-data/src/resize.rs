//! Pictures scaled to another size: bilinear, and antialiased when they become smaller, as torchvision's `Resize` is.
//!
//! `image::imageops::resize`, which scales the pictures of files, is the same filter, but works out its weights for
//! every picture anew and takes many times as long. Here they are kept for all pictures of an epoch.

use mobilenet_common::resize::{Taps, triangle};

/// Most pixels of a side that pictures are scaled to.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// Scales pictures of one size to another.
pub(crate) struct Resizer {
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// One row of the result, before its columns are scaled: `[w, 3]` of the picture's own width.
    line: Vec<f32>,
}

impl Resizer {
    /// For pictures of `(h, w)`, which become `(height, width)`; all at least 1.
    pub fn new((h, w): (usize, usize), (height, width): (usize, usize)) -> Self {
        Self { rows: triangle(h, height).collect(), columns: triangle(w, width).collect(), line: vec![0.0; w * 3] }
    }

    /// `image`, `[h, w, 3]` -> `out`, `[height, width, 3]`.
    pub fn apply(&mut self, image: &[u8], out: &mut [u8]) {
        let Self { rows, columns, line } = self;
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(columns.len() * 3)) {
            line.fill(0.0);
            for (weight, source) in row.weights.iter().zip(image.chunks_exact(line.len()).skip(row.start)) {
                line.iter_mut().zip(source).for_each(|(sum, &value)| *sum += weight * f32::from(value));
            }
            for (column, pixel) in columns.iter().zip(out.chunks_exact_mut(3)) {
                let mut sum = [0.5; 3];
                for (weight, source) in column.weights.iter().zip(line.chunks_exact(3).skip(column.start)) {
                    sum.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
                }
                // Cut off, which with the half above is to round.
                pixel.iter_mut().zip(sum).for_each(|(pixel, sum)| *pixel = sum as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_color_stays_that_color() {
        for size in [(1, 1), (1, 9), (3, 2), (32, 32)] {
            for to in [(1, 1), (2, 5), (24, 24), (40, 33)] {
                for value in [0, 1, 128, 255] {
                    let mut out = vec![7; to.0 * to.1 * 3];
                    Resizer::new(size, to).apply(&vec![value; size.0 * size.1 * 3], &mut out);
                    assert!(out.iter().all(|&v| v == value), "{size:?} to {to:?}: {out:?}, expected {value}");
                }
            }
        }
    }

    #[test]
    fn is_the_filter_that_files_are_scaled_with() {
        use image::imageops::{FilterType, resize};

        let (h, w) = (32, 20);
        let bytes: Vec<u8> = (0..h * w * 3).map(|i| ((i * i) % 251) as u8).collect();
        let picture = image::RgbImage::from_raw(w as u32, h as u32, bytes.clone()).unwrap();
        for (height, width) in [(24, 24), (16, 10), (5, 3), (50, 41), (32, 20)] {
            let expected = resize(&picture, width as u32, height as u32, FilterType::Triangle).into_raw();
            let mut out = vec![0; height * width * 3];
            Resizer::new((h, w), (height, width)).apply(&bytes, &mut out);
            let most = out.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(most <= 1, "{height}x{width}: differs by {most}");
        }
    }
}
