//! Training, forward.

use super::shape::Parameters;
use super::{Convolution, DepthwiseNormShape, Kept, Saved, windows_of};
use crate::batch_norm::{Moments, Unit};
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::parallel::{for_parts, images_per_part, map_parts_mut};
use crate::profile::phase;
use crate::rows::{Target, normalize_to};
use crate::simd::Level;

/// `[n, h, w, c] -> [n, h', w', c]`, with the batch's statistics.
pub fn forward(g: &DepthwiseNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    forward_at(Level::best(), g, x, theta, y)
}

pub(super) fn forward_at(level: Level, g: &DepthwiseNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    Saved(match g.is_bf16() {
        false => Kept::F32(forward_with(level, g, x, theta, y)),
        true => Kept::Bf16(forward_with(level, g, x, theta, y)),
    })
}

fn forward_with<E: Element>(
    level: Level,
    g: &DepthwiseNormShape,
    x: &[f32],
    theta: &[&[f32]],
    y: &mut [f32],
) -> Unit<E> {
    let Parameters { weight, gamma, beta } = g.parameters(x, theta, y);
    let (c, image, blocks) = (g.depthwise.c, g.depthwise.image_out(), g.blocks());
    let windows = windows_of(weight, g.taps(), &blocks);
    let mut pre = Elements::<E>::new(y.len() / E::WIDTH);
    let moments = phase("forward depthwise", g.work(1, 1, 1), || {
        map_parts_mut(&mut pre, image / E::WIDTH, images_per_part(g.n), |first, pre| {
            let mut moments = Moments::new(c);
            let mut convolution = Convolution::new(level, g, &windows);
            let mut tile = Buffer::new(g.pixels_out() * blocks.width());
            for (i, pre) in pre.chunks_exact_mut(image / E::WIDTH).enumerate() {
                for (channels, mut moments) in blocks.iter().zip(moments.blocks(&blocks)) {
                    let tile = &mut tile[..g.pixels_out() * channels.len()];
                    convolution.forward(g.input(x, first + i), &channels, tile);
                    let pre = &mut pre[g.tile::<E>(&channels)];
                    moments.add_and_keep(level, tile, Some(pre));
                }
            }
            moments
        })
    });
    let unit = Unit::new(pre, &moments, gamma, g.eps);
    phase("forward output", g.work(0, 0, 2), || {
        for_parts(y, image, images_per_part(g.n), |first, y| {
            let pre = unit.pre[first * image / E::WIDTH..].chunks_exact(image / E::WIDTH);
            for (pre, y) in pre.zip(y.chunks_exact_mut(image)) {
                for channels in blocks.iter() {
                    let affine = unit.affine(beta).of(channels.clone());
                    let pre = &pre[g.tile::<E>(&channels)];
                    normalize_to(level, pre, affine, g.activation, Target::block(y, c, &channels));
                }
            }
        });
    });
    unit
}
