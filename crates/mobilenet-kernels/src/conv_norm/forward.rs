//! Training, forward.

use super::{ConvNormShape, Saved, images_at_once, part_images, product};
use crate::batch_norm::{Moments, Unit};
use crate::bf16::Pair;
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::matmul::transposed;
use crate::parallel::{for_parts, leaves_threads_idle, map_parts_mut};
use crate::profile::phase;
use crate::rows::{left, normalize, right};
use crate::simd::Level;

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &ConvNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    forward_at(Level::best(), g, x, theta, y)
}

pub(super) fn forward_at(level: Level, g: &ConvNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    match g.is_bf16() {
        false => forward_with::<f32>(level, g, x, theta, y),
        true => forward_with::<Pair>(level, g, x, theta, y),
    }
}

fn forward_with<E: Element>(level: Level, g: &ConvNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    let [weight, gamma, beta] = g.parameters(x, theta, y);
    let (c, k) = (g.conv.c_out, g.conv.unfolded());
    let weight = right::<E>(level, &transposed(weight, c, k), c);
    let mut pre = Buffer::new(y.len());
    let is_shared = leaves_threads_idle(g.n.div_ceil(part_images(g)));
    let moments = phase("forward convolution", g.work(1, [1, 1]), || {
        map_parts_mut(&mut pre, g.image_out(), part_images(g), |first, pre| {
            let x = &x[first * g.image_in()..][..pre.len() / g.image_out() * g.image_in()];
            let (mut moments, mut scratch, mut packed) = (Moments::new(c), Buffer::default(), Elements::default());
            let step = images_at_once(g);
            for (x, pre) in x.chunks(step * g.image_in()).zip(pre.chunks_mut(step * g.image_out())) {
                let rows = left(level, g.rows(x, &mut scratch), k, &mut packed);
                product(level, is_shared, rows, &weight, c, false, pre);
                moments.add(level, pre);
            }
            moments
        })
    });
    let unit = Unit::new(pre, &moments, gamma, g.eps);
    phase("forward output", g.work(0, [0, 2]), || {
        for_parts(y, c, 1024, |row, y| {
            let pre = &unit.pre[row * c..row * c + y.len()];
            normalize(level, pre, unit.affine(beta), g.activation, y);
        });
    });
    Saved(unit)
}
