//! Sums of a convolution in 8 bits, and what they stand for.

use crate::fake::{Kept, Steps};

/// What sums of products of steps stand for.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Of each channel: what a product of two steps stands for.
    pub(super) scale: Vec<f32>,
    /// What bytes' sums have more than those of steps: the zero point times the weight's steps.
    offset: Vec<i32>,
}

impl Sums {
    /// Of products of an input with a weight.
    pub(crate) fn new(input: Kept, weight: &Steps) -> Self {
        Self {
            scale: weight.scales.iter().map(|scale| input.scale * scale).collect(),
            offset: weight.sums.iter().map(|sum| input.zero_point as i32 * sum).collect(),
        }
    }

    /// The bias of bytes' sums, as the runtime has it: less what the zero point adds to them.
    pub(super) fn bias(&self, bias: &[f32]) -> Vec<f32> {
        let parts = bias.iter().zip(&self.scale).zip(&self.offset);
        parts
            .map(|((bias, scale), offset)| (f64::from(*bias) - f64::from(*scale) * f64::from(*offset)) as f32)
            .collect()
    }

    /// Bytes' sums with scale and bias, of rows of channels.
    pub(super) fn scaled<'a>(&'a self, sums: &'a [f32], channels: &'a [(f32, f32)]) -> impl Iterator<Item = f32> + 'a {
        let rows = sums.chunks_exact(channels.len().max(1));
        rows.flat_map(move |row| {
            let parts = row.iter().zip(channels).zip(&self.offset);
            parts.map(|((sum, (scale, bias)), offset)| (*sum as i32 + offset) as f32 * scale + bias)
        })
    }
}
