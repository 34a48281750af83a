//! What the expansion's sums add to `gx` and to its weight's gradient, and the residual's part of `gx`.

use super::super::shape::ConvNorm;
use super::super::{Step, Unit};
use super::ROWS;
use super::depthwise::ExpandPart;
use crate::batch_norm::Backward;
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::matmul::{Matrix, matmul};
use crate::origin::Origin;
use crate::parallel::{added_up, for_parts};
use crate::pool::add_rows;
use crate::rows::{left, right};
use crate::simd::Level;

/// The sums of all parts, with `x` counted from the origin.
struct Sums {
    /// What the sums over the batch norm's gradient say.
    norm: Backward,
    /// `gᵀ · x`
    weight: Vec<f32>,
    /// `Σ (x - mean) · (x - mean)ᵀ`
    squares: Vec<f32>,
    /// `Σ x`, and that by the number of rows.
    sum: Vec<f64>,
    mean: Vec<f64>,
}

/// Returns the gradients of the weight and of batch norm's weight and bias.
pub(super) fn backward<E: Element>(
    step: &Step,
    unit: &ConvNorm,
    saved: &Unit<E>,
    origin: &Origin,
    parts: Vec<ExpandPart>,
    gy: &[f32],
    gx: &mut [f32],
) -> [Vec<f32>; 3] {
    let Step { level, g, x, .. } = *step;
    let c_in = g.c_in;
    let mut sums = Sums::of(step, saved, parts);
    let m = right::<E>(level, &slope_matrix(level, unit.weight, &sums.norm, c_in), c_in);
    let v = offset_row(unit.weight, &sums);
    for_parts(gx, c_in, ROWS, |row, gx| {
        let rows = row * c_in..row * c_in + gx.len();
        let (mut shifted, mut packed) = (Buffer::default(), Elements::default());
        origin.subtract(level, &x[rows.clone()], &mut shifted);
        matmul(level, left(level, &shifted, c_in, &mut packed), &m, c_in, true, gx);
        gx.chunks_exact_mut(c_in).for_each(|gx| gx.iter_mut().zip(&v).for_each(|(gx, v)| *gx += v));
        if g.has_residual {
            add_rows(level, &gy[rows], gx);
        }
    });
    let weight = weight_gradient(level, unit.weight, &saved.scale, &mut sums);
    [weight, sums.norm.weight, sums.norm.bias]
}

impl Sums {
    fn of<E: Element>(step: &Step, saved: &Unit<E>, parts: Vec<ExpandPart>) -> Self {
        let g = step.g;
        let (c_in, rows) = (g.c_in, (g.n * g.pixels_in()) as f64);
        let (mut gradient_sums, mut weights) = (Vec::new(), Vec::new());
        let (mut squares, mut sum) = (vec![0.; c_in * c_in], vec![0.; c_in]);
        for part in parts {
            gradient_sums.push(part.sums);
            weights.push(part.weight);
            squares.iter_mut().zip(part.squares).for_each(|(total, s)| *total += s);
            sum.iter_mut().zip(part.sum).for_each(|(total, s)| *total += s);
        }
        let mean: Vec<f64> = sum.iter().map(|sum| sum / rows).collect();
        let centered = |(i, square): (usize, f64)| (square - sum[i / c_in] * mean[i % c_in]) as f32;
        let squares = squares.into_iter().enumerate().map(centered).collect();
        let norm = saved.backward(&gradient_sums, g.eps);
        Self { norm, weight: added_up(&weights), squares, sum, mean }
    }
}

/// `gW = scale · (gᵀ · x) + slope · W · X + offset · Σ x`
fn weight_gradient(level: Level, weight: &[f32], scale: &[f32], sums: &mut Sums) -> Vec<f32> {
    let mut gweight = std::mem::take(&mut sums.weight);
    let Sums { norm, squares, sum, .. } = sums;
    let c_in = sum.len();
    for_parts(&mut gweight, c_in, scale.len().div_ceil(16), |first, gw| {
        let rows = gw.len() / c_in;
        let w = &weight[first * c_in..(first + rows) * c_in];
        let mut correction = Buffer::new(gw.len());
        matmul(level, Matrix::new(w, rows, c_in), squares, c_in, false, &mut correction);
        for (i, (gw, correction)) in gw.chunks_exact_mut(c_in).zip(correction.chunks_exact(c_in)).enumerate() {
            let (scale, slope, offset) = (scale[first + i], norm.slope[first + i], norm.offset_at_mean[first + i]);
            for ((gw, correction), sum) in gw.iter_mut().zip(correction).zip(&*sum) {
                *gw = scale * *gw + slope * correction + offset * *sum as f32;
            }
        }
    });
    gweight
}

/// `M = Wᵀ · slope · W`
fn slope_matrix(level: Level, weight: &[f32], norm: &Backward, c_in: usize) -> Vec<f32> {
    let rows = weight.chunks_exact(c_in).zip(&norm.slope);
    let sloped: Vec<f32> = rows.flat_map(|(row, slope)| row.iter().map(move |w| w * slope)).collect();
    let mut m = vec![0.; c_in * c_in];
    for_parts(&mut m, c_in, c_in.div_ceil(8), |first, m| {
        let rows = first..first + m.len() / c_in;
        matmul(level, Matrix::new(&sloped, norm.slope.len(), c_in).t().rows(rows), weight, c_in, false, m);
    });
    m
}

/// `v = (offset - slope · W · mean(x)) · W`
fn offset_row(weight: &[f32], sums: &Sums) -> Vec<f32> {
    let Sums { norm, mean, .. } = sums;
    let mut v = vec![0.; mean.len()];
    for (row, (slope, offset)) in weight.chunks_exact(mean.len()).zip(norm.slope.iter().zip(&norm.offset_at_mean)) {
        let mean_of_e: f64 = row.iter().zip(mean).map(|(w, mean)| f64::from(*w) * mean).sum();
        let factor = f64::from(*offset) - f64::from(*slope) * mean_of_e;
        v.iter_mut().zip(row).for_each(|(v, w)| *v += factor * f64::from(*w));
    }
    v.into_iter().map(|v| v as f32).collect()
}
