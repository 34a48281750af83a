//! Inference.

use rayon::prelude::*;

use super::{ConvNormShape, images_at_once, part_images, product};
use crate::batch_norm::{Affine, scale};
use crate::blocks::{Blocks, scatter};
use crate::buffer::Buffer;
use crate::matmul::{FEW_ROWS, Matrix, matmul, matmul_weight, transposed};
use crate::parallel::{for_parts, leaves_threads_idle};
use crate::rows::normalize;
use crate::simd::Level;

/// Pixels of a single image that are fewer than threads can share well.
const FEW_PIXELS: usize = 64;

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics: one mean and variance, as for other operations.
pub fn infer(g: &ConvNormShape, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    infer_at(Level::best(), g, x, theta, running, y);
}

pub(super) fn infer_at(
    level: Level,
    g: &ConvNormShape,
    x: &[f32],
    theta: &[&[f32]],
    running: &[(&[f32], &[f32])],
    y: &mut [f32],
) {
    assert_eq!(running.len(), 1, "statistics of {g:?}");
    let (mean, var) = running[0];
    let [weight, gamma, beta] = g.parameters(x, theta, y);
    let scale = scale(gamma, var, g.eps);
    let affine = Affine { mean, scale: &scale, bias: beta };
    infer_with(level, g, x, weight, affine, y);
}

fn infer_with(level: Level, g: &ConvNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (c, k) = (g.conv.c_out, g.conv.unfolded());
    let pixels = g.conv.pixels_out();
    if g.n * pixels <= FEW_ROWS || g.n == 1 && pixels <= FEW_PIXELS {
        return few_rows(level, g, x, weight, affine, y);
    }
    if g.n == 1 {
        return infer_image(level, g, x, &transposed(weight, c, k), affine, y);
    }
    let weight = transposed(weight, c, k);
    let is_shared = leaves_threads_idle(g.n.div_ceil(part_images(g)));
    for_parts(y, g.image_out(), part_images(g), |first, y| {
        let x = &x[first * g.image_in()..][..y.len() / g.image_out() * g.image_in()];
        let (mut scratch, mut pre) = (Buffer::default(), Buffer::default());
        let step = images_at_once(g);
        for (x, y) in x.chunks(step * g.image_in()).zip(y.chunks_mut(step * g.image_out())) {
            pre.resize(y.len());
            let rows = Matrix::new(g.rows(x, &mut scratch), y.len() / c, k);
            product(level, is_shared, rows, &weight, c, false, &mut pre);
            normalize(level, &pre[..], affine, g.activation, y);
        }
    });
}

/// A single image: the threads share its rows, which do not know of each other.
fn infer_image(level: Level, g: &ConvNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (c, k, w_out) = (g.conv.c_out, g.conv.unfolded(), g.conv.w_out());
    let rows_at_once = g.conv.h_out().div_ceil(2 * rayon::current_num_threads());
    for_parts(y, w_out * c, rows_at_once, |first, y| {
        let rows = first..first + y.len() / (w_out * c);
        let mut scratch;
        let unfolded = if g.conv.is_pointwise() {
            &x[rows.start * w_out * k..rows.end * w_out * k]
        } else {
            scratch = Buffer::zeroed(rows.len() * w_out * k);
            g.conv.unfold_rows(rows, x, &mut scratch);
            &scratch[..]
        };
        let mut pre = Buffer::new(y.len());
        matmul(level, Matrix::new(unfolded, y.len() / c, k), weight, c, false, &mut pre);
        normalize(level, &pre[..], affine, g.activation, y);
    });
}

/// With so few rows the weight is what takes time to read: the threads share its channels.
fn few_rows(level: Level, g: &ConvNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (c, k) = (g.conv.c_out, g.conv.unfolded());
    let mut scratch = Buffer::default();
    let rows = g.rows(x, &mut scratch);
    let blocks = Blocks::at_most(2 * rayon::current_num_threads().max(2), 8, c);
    let tiles = blocks.iter().collect::<Vec<_>>().into_par_iter().map(|channels| {
        let mut pre = Buffer::new(rows.len() / k * channels.len());
        let weight = &weight[channels.start * k..channels.end * k];
        matmul_weight(level, rows, weight, (channels.len(), k), 0..k, &mut pre);
        let mut tile = Buffer::new(pre.len());
        normalize(level, &pre[..], affine.of(channels.clone()), g.activation, &mut tile);
        (channels, tile)
    });
    for (channels, tile) in tiles.collect::<Vec<_>>() {
        scatter(&tile, y, c, channels);
    }
}
