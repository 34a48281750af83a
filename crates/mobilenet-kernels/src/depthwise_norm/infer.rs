//! Inference.

use std::ops::Range;

use rayon::prelude::*;

use super::shape::Parameters;
use super::{Convolution, DepthwiseNormShape, windows_of};
use crate::batch_norm::{Affine, scale};
use crate::blocks::Blocks;
use crate::buffer::Buffer;
use crate::parallel::{for_parts, images_per_part};
use crate::rows::{Target, normalize_to};
use crate::simd::Level;

/// Channels of a block of a single image, at least: a cache line of each pixel.
const LEAST_CHANNELS: usize = 16;

/// Rows of an output that one thread normalizes at once, of a single image.
const ROWS: usize = 64;

/// `[n, h, w, c] -> [n, h', w', c]` with given statistics: one mean and variance, as for other operations.
pub fn infer(g: &DepthwiseNormShape, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    infer_at(Level::best(), g, x, theta, running, y);
}

pub(super) fn infer_at(
    level: Level,
    g: &DepthwiseNormShape,
    x: &[f32],
    theta: &[&[f32]],
    running: &[(&[f32], &[f32])],
    y: &mut [f32],
) {
    assert_eq!(running.len(), 1, "statistics of {g:?}");
    let (mean, var) = running[0];
    let Parameters { weight, gamma, beta } = g.parameters(x, theta, y);
    let scale = scale(gamma, var, g.eps);
    let affine = Affine { mean, scale: &scale, bias: beta };
    if g.n == 1 {
        return infer_image(level, g, x, weight, affine, y);
    }
    let (c, image, blocks) = (g.depthwise.c, g.depthwise.image_out(), g.blocks());
    let windows = windows_of(weight, g.taps(), &blocks);
    for_parts(y, image, images_per_part(g.n), |first, y| {
        let mut convolution = Convolution::new(level, g, &windows);
        let mut tile = Buffer::new(g.pixels_out() * blocks.width());
        for (i, y) in y.chunks_exact_mut(image).enumerate() {
            for channels in blocks.iter() {
                let tile = &mut tile[..g.pixels_out() * channels.len()];
                convolution.forward(g.input(x, first + i), &channels, tile);
                let affine = affine.of(channels.clone());
                normalize_to(level, &tile[..], affine, g.activation, Target::block(y, c, &channels));
            }
        }
    });
}

/// A single image: the threads share its channels, then its rows. No value is a sum over either, so that the number of
/// blocks may be a matter of the number of threads.
fn infer_image(level: Level, g: &DepthwiseNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (c, pixels) = (g.depthwise.c, g.pixels_out());
    let blocks = Blocks::at_most(2 * rayon::current_num_threads(), LEAST_CHANNELS, c);
    let windows = windows_of(weight, g.taps(), &blocks);
    let tile = |channels: Range<usize>| {
        let mut tile = Buffer::new(pixels * channels.len());
        Convolution::new(level, g, &windows).forward(x, &channels, &mut tile);
        (channels, tile)
    };
    let tiles: Vec<_> = blocks.iter().collect::<Vec<_>>().into_par_iter().map(tile).collect();
    for_parts(y, c, ROWS, |row, y| {
        for (channels, tile) in &tiles {
            let rows = row * channels.len()..(row + y.len() / c) * channels.len();
            let affine = affine.of(channels.clone());
            normalize_to(level, &tile[rows], affine, g.activation, Target::block(y, c, channels));
        }
    });
}
