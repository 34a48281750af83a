//! Training, backward.

use super::{ConvNormShape, Saved, images_at_once, part_images, product};
use crate::batch_norm::GradientSums;
use crate::bf16::Pair;
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::matmul::Matrix;
use crate::parallel::{added_up, leaves_threads_idle, map_parts, map_parts_mut};
use crate::profile::phase;
use crate::rows::{input_gradient, left, over_rows, right};
use crate::simd::Level;

/// The gradients of the parameters, and that of the input where `gx` asks for it. Uses up `gy`.
pub fn backward(
    g: &ConvNormShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &mut [f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    backward_at(Level::best(), g, x, theta, saved, gy, gx)
}

pub(super) fn backward_at(
    level: Level,
    g: &ConvNormShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &mut [f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    match g.is_bf16() {
        false => backward_with::<f32>(level, g, x, theta, saved, gy, gx),
        true => backward_with::<Pair>(level, g, x, theta, saved, gy, gx),
    }
}

fn backward_with<E: Element>(
    level: Level,
    g: &ConvNormShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &mut [f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    let [weight, _, beta] = g.parameters(x, theta, gy);
    let (c, k, unit) = (g.conv.c_out, g.conv.unfolded(), &saved.0);
    let affine = unit.affine(beta);
    let sums = phase("backward activation", g.work(0, [0, 3]), || {
        map_parts_mut(gy, c, 1024, |row, gy| {
            let mut sums = GradientSums::new(c);
            let pre = &unit.pre[row * c..row * c + gy.len()];
            sums.all().add(level, (pre, affine, g.activation), gy, ());
            sums
        })
    });
    let norm = unit.backward(&sums, g.eps);

    let (weight, origin) = (right::<E>(level, weight, k), g.origin(x));
    let inputs = usize::from(gx.is_some());
    let images = part_images(g);
    let is_shared = leaves_threads_idle(g.n.div_ceil(images));
    let gweights = phase("backward convolution", g.work(1 + inputs, [1 + inputs, 2]), || {
        let part = |first: usize, images: usize, mut gx: Option<&mut [f32]>| {
            let mut gweight = Buffer::zeroed(c * k);
            let [mut scratch, mut shifted, mut gp, mut grows] = [(); 4].map(|()| Buffer::default());
            let (mut gp_left, mut gp_rows, mut packed) =
                (Elements::default(), Elements::default(), Elements::default());
            for i in (first..first + images).step_by(images_at_once(g)) {
                let count = images_at_once(g).min(first + images - i);
                let at = i * g.image_out()..(i + count) * g.image_out();
                gp.resize(at.len());
                let sums = [&norm.slope[..], &norm.offset];
                input_gradient::<f32>(level, &unit.pre[at.clone()], &gy[at], affine, sums, &mut gp);
                let rows = g.rows(&x[i * g.image_in()..(i + count) * g.image_in()], &mut scratch);
                let gp_rows = over_rows::<E>(level, &gp, c, &mut gp_rows);
                let gp_rows = Matrix::new(gp_rows, gp_rows.len() / c, c);
                origin.subtract(level, rows, &mut shifted);
                let rows = over_rows(level, &shifted, k, &mut packed);
                product(level, is_shared, gp_rows.t(), rows, k, true, &mut gweight);
                let Some(gx) = gx.as_deref_mut() else { continue };
                let gx = &mut gx[(i - first) * g.image_in()..][..count * g.image_in()];
                let gp = left(level, &gp, c, &mut gp_left);
                if g.conv.is_pointwise() {
                    product(level, is_shared, gp, &weight, k, false, gx);
                } else {
                    grows.resize(count * g.conv.pixels_out() * k);
                    product(level, is_shared, gp, &weight, k, false, &mut grows);
                    gx.fill(0.);
                    let len = g.conv.pixels_out() * k;
                    let images = grows.chunks_exact(len).zip(gx.chunks_exact_mut(g.image_in()));
                    images.for_each(|(rows, gx)| g.conv.fold(rows, gx));
                }
            }
            gweight
        };
        match gx {
            Some(gx) => map_parts_mut(gx, g.image_in(), images, |first, gx| {
                let count = gx.len() / g.image_in();
                part(first, count, Some(gx))
            }),
            None => map_parts(g.n, images, |range| part(range.start, range.len(), None)),
        }
    });
    [added_up(&gweights), norm.weight, norm.bias]
}
