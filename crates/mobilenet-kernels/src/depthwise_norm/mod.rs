//! A depthwise convolution, batch norm and activation as one operation: half a layer of MobileNetV1.
//!
//! `y = act(bn(d))` with `d = depthwise(x)`; only `d` is kept. Every channel is on its own, so that an image is worked
//! on block by block of channels, each small enough for a core's cache, and `d` is laid out that way: image after
//! image, in each block after block. Images are divided into parts, worked on in parallel; a single image's blocks are
//! divided in inference.
//!
//! In bf16 what is kept, of the forward and between the two passes of the backward, is bf16; the convolution stays
//! float32.

mod backward;
mod forward;
mod infer;
mod shape;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::batch_norm::{Statistics, Unit};
use crate::bf16::Pair;
use crate::blocks::Blocks;
use crate::depthwise::{Frame, image_forward};
use crate::matmul::transposed;
use crate::simd::Level;
pub use backward::backward;
pub use forward::forward;
pub use infer::infer;
pub use shape::DepthwiseNormShape;

/// What a forward leaves for its backward.
pub struct Saved(Kept);

enum Kept {
    F32(Unit<f32>),
    Bf16(Unit<Pair>),
}

impl Saved {
    /// The batch's statistics.
    pub fn statistics(&self) -> &Statistics {
        match &self.0 {
            Kept::F32(unit) => &unit.statistics,
            Kept::Bf16(unit) => &unit.statistics,
        }
    }
}

/// Convolves blocks of channels of one image after another.
struct Convolution<'a> {
    level: Level,
    g: &'a DepthwiseNormShape,
    /// The windows, block after block, `[taps, block]` each.
    windows: &'a [f32],
    frame: Frame,
}

impl<'a> Convolution<'a> {
    fn new(level: Level, g: &'a DepthwiseNormShape, windows: &'a [f32]) -> Self {
        Self { level, g, windows, frame: Frame::default() }
    }

    /// Takes a block of channels of the image `x`.
    fn take(&mut self, x: &[f32], channels: &Range<usize>) {
        let c = self.g.depthwise.c;
        self.frame.fit_input(&self.g.depthwise.with_channels(channels.len()));
        self.frame.copy_channels(x, c, channels.clone());
    }

    /// `d`, a block of channels of it.
    fn forward(&mut self, x: &[f32], channels: &Range<usize>, d: &mut [f32]) {
        self.take(x, channels);
        let taps = self.g.taps();
        let windows = &self.windows[channels.start * taps..channels.end * taps];
        image_forward(self.level, &self.g.depthwise.with_channels(channels.len()), &self.frame, windows, d);
    }
}

/// The windows of each block of channels, `[taps, block]`, one after the other.
fn windows_of(weight: &[f32], taps: usize, blocks: &Blocks) -> Vec<f32> {
    let block =
        |channels: Range<usize>| transposed(&weight[channels.start * taps..channels.end * taps], channels.len(), taps);
    blocks.iter().flat_map(block).collect()
}
