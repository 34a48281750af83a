//! From a picture of any size to what a network takes.

use mobilenet_common::resize::{Taps, triangle};

use crate::network::Input;
use crate::{Error, Result};

/// Scales, cuts and normalizes pictures.
#[derive(Debug)]
pub(crate) struct Preprocessor {
    input: Input,
    resizer: Option<Resizer>,
    /// The image of the last call: memory that is used again.
    pub image: Vec<f32>,
}

impl Preprocessor {
    pub(crate) fn new(input: &Input) -> Self {
        Self { input: input.clone(), resizer: None, image: Vec::new() }
    }

    /// `picture`, `[height, width, 3]` -> `image`, `[input height, input width, 3]`, normalized.
    pub(crate) fn apply(&mut self, picture: &[u8], height: usize, width: usize, image: &mut Vec<f32>) -> Result<()> {
        let expected = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(3));
        if height == 0 || width == 0 || expected != Some(picture.len()) {
            let size = format!("{height} × {width} pixels of 3 values, at least one pixel");
            return Err(Error::value("picture", size, format!("{} values", picture.len())));
        }
        let Input { mean, std, .. } = self.input;
        let resizer = match &mut self.resizer {
            Some(resizer) if resizer.from == (height, width) => resizer,
            other => other.insert(Resizer::new(&self.input, height, width)),
        };
        image.clear();
        let (factors, offsets) = (std.map(|std| 1. / (255. * std)), [0, 1, 2].map(|i| mean[i] / std[i]));
        resizer.apply(picture, |pixel| {
            image.extend([0, 1, 2].map(|i| f32::from(pixel[i]) * factors[i] - offsets[i]));
        });
        Ok(())
    }
}

/// Scales pictures of one size so that a network's input is cut out of their middle: bilinear, antialiased where they become
/// smaller, as torchvision's `Resize` and `CenterCrop`.
#[derive(Debug)]
pub(crate) struct Resizer {
    from: (usize, usize),
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// A row before its columns are scaled.
    line: Vec<f32>,
}

impl Resizer {
    /// For pictures of `height` × `width` pixels.
    fn new(input: &Input, height: usize, width: usize) -> Self {
        // What the picture is scaled to: the input and what is cut off, in the picture's own shape.
        let scale =
            (input.height as f64 / height as f64).max(input.width as f64 / width as f64) / f64::from(input.crop);
        let side = |length: usize, least: usize| ((length as f64 * scale).round() as usize).max(least);
        let (scaled_h, scaled_w) = (side(height, input.height), side(width, input.width));
        Self {
            from: (height, width),
            rows: triangle(height, scaled_h).skip((scaled_h - input.height) / 2).take(input.height).collect(),
            columns: triangle(width, scaled_w).skip((scaled_w - input.width) / 2).take(input.width).collect(),
            line: vec![0.; width * 3],
        }
    }

    /// Calls `pixel` with each pixel of the result, row by row.
    fn apply(&mut self, picture: &[u8], mut pixel: impl FnMut([u8; 3])) {
        let Self { rows, columns, line, .. } = self;
        for row in &*rows {
            line.fill(0.);
            for (weight, source) in row.weights.iter().zip(picture.chunks_exact(line.len()).skip(row.start)) {
                line.iter_mut().zip(source).for_each(|(sum, &value)| *sum += weight * f32::from(value));
            }
            for column in &*columns {
                let mut sum = [0.5; 3];
                for (weight, source) in column.weights.iter().zip(line[column.start * 3..].chunks_exact(3)) {
                    sum.iter_mut().zip(source).for_each(|(sum, value)| *sum += weight * value);
                }
                pixel(sum.map(|sum| sum as u8)); // which cuts off: with the half above, to the nearest
            }
        }
    }
}
