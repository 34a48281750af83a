//! Squeeze-and-excite inside a block: `gates = h-sigmoid(relu(mean · weight1ᵀ + bias1) · weight2ᵀ + bias2)`, an image a
//! row.

use super::SqueezeExcite;
use crate::activation::{Function, HSigmoid};
use crate::matmul::{Matrix, matmul, matmul_weight};
use crate::parallel::for_parts;
use crate::pool::{add_rows, sum_rows};
use crate::simd::Level;

/// Rows of a weight that one thread multiplies a single image's values with, at least.
const LEAST_ROWS: usize = 64;

/// The values of some images.
#[derive(Default)]
pub(super) struct Gates {
    mean: Vec<f32>,
    hidden: Vec<f32>,
    before: Vec<f32>,
    gates: Vec<f32>,
}

/// The gradients of what the two layers give, before their activations, for some images.
#[derive(Default)]
pub(super) struct GateGradients {
    hidden: Vec<f32>,
    before: Vec<f32>,
}

impl Gates {
    /// The gates of images whose channels sum up to `sums` over their pixels.
    pub(super) fn new(level: Level, se: &SqueezeExcite, sums: Vec<f32>, pixels: usize, c: usize) -> Self {
        let mut mean = sums;
        mean.iter_mut().for_each(|m| *m /= pixels as f32);
        let mut hidden = dense(level, &mean, se.weight1, se.bias1, c);
        hidden.iter_mut().for_each(|h| *h = if *h < 0. { 0. } else { *h });
        let before = dense(level, &hidden, se.weight2, se.bias2, se.bias1.len());
        let gates = before.iter().map(|b| HSigmoid::value(*b)).collect();
        Self { mean, hidden, before, gates }
    }

    /// Those of all groups, in order.
    pub(super) fn concatenated(groups: impl Iterator<Item = Self>) -> Self {
        groups.fold(Self::default(), |mut all, group| {
            all.mean.extend(group.mean);
            all.hidden.extend(group.hidden);
            all.before.extend(group.before);
            all.gates.extend(group.gates);
            all
        })
    }

    /// The gates of image `i`.
    pub(super) fn of(&self, i: usize, c: usize) -> &[f32] {
        &self.gates[i * c..(i + 1) * c]
    }

    /// Given the gradients of the gates of the images from `first` on: the gradients inside, and of the sums over
    /// pixels.
    pub(super) fn backward(
        &self,
        level: Level,
        se: &SqueezeExcite,
        first: usize,
        ggates: &[f32],
        pixels: usize,
    ) -> (GateGradients, Vec<f32>) {
        let (c, squeeze) = (se.bias2.len(), se.bias1.len());
        let n = ggates.len() / c;
        let before = &self.before[first * c..(first + n) * c];
        let before: Vec<f32> = ggates.iter().zip(before).map(|(g, b)| g * HSigmoid::derivative(*b)).collect();
        let product = |xs: &[f32], weight: &[f32], c_in: usize, c_out: usize| {
            let mut ys = vec![0.; n * c_out];
            matmul(level, Matrix::new(xs, n, c_in), weight, c_out, false, &mut ys);
            ys
        };
        let mut hidden = product(&before, se.weight2, c, squeeze);
        let forward = &self.hidden[first * squeeze..(first + n) * squeeze];
        hidden.iter_mut().zip(forward).for_each(|(g, h)| *g = if *h > 0. { *g } else { 0. });
        let mut gsums = product(&hidden, se.weight1, squeeze, c);
        gsums.iter_mut().for_each(|g| *g /= pixels as f32);
        (GateGradients { hidden, before }, gsums)
    }

    /// The gradients of weight1, bias1, weight2, bias2, given those of all images.
    pub(super) fn parameter_gradients(
        &self,
        level: Level,
        se: &SqueezeExcite,
        gradients: &GateGradients,
    ) -> [Vec<f32>; 4] {
        let (c, squeeze) = (se.bias2.len(), se.bias1.len());
        [
            weight_gradient(level, &gradients.hidden, squeeze, &self.mean, c),
            column_sums(level, &gradients.hidden, squeeze),
            weight_gradient(level, &gradients.before, c, &self.hidden, squeeze),
            column_sums(level, &gradients.before, c),
        ]
    }
}

impl GateGradients {
    /// Those of all groups, in order.
    pub(super) fn concatenated(groups: impl Iterator<Item = Self>) -> Self {
        groups.fold(Self::default(), |mut all, group| {
            all.hidden.extend(group.hidden);
            all.before.extend(group.before);
            all
        })
    }
}

/// `xs · weightᵀ + bias`
fn dense(level: Level, xs: &[f32], weight: &[f32], bias: &[f32], c_in: usize) -> Vec<f32> {
    let c_out = bias.len();
    let rows = xs.len() / c_in;
    let mut ys = vec![0.; rows * c_out];
    if rows == 1 {
        let rows_at_once = c_out.div_ceil(2).min(LEAST_ROWS.max(c_out / rayon::current_num_threads()));
        for_parts(&mut ys, 1, rows_at_once, |first, ys| {
            let weight = &weight[first * c_in..(first + ys.len()) * c_in];
            matmul_weight(level, xs, weight, (ys.len(), c_in), 0..c_in, ys);
        });
    } else {
        matmul_weight(level, xs, weight, (c_out, c_in), 0..c_in, &mut ys);
    }
    ys.chunks_exact_mut(c_out).for_each(|y| add_rows(level, bias, y));
    ys
}

/// `gysᵀ · xs`, over all images, some rows of it on each thread.
fn weight_gradient(level: Level, gys: &[f32], c_out: usize, xs: &[f32], c_in: usize) -> Vec<f32> {
    let n = gys.len() / c_out;
    let mut gweight = vec![0.; c_out * c_in];
    for_parts(&mut gweight, c_in, c_out.div_ceil(8), |first, gweight| {
        let rows = gweight.len() / c_in;
        matmul(level, Matrix::new(gys, n, c_out).t().rows(first..first + rows), xs, c_in, false, gweight);
    });
    gweight
}

fn column_sums(level: Level, xs: &[f32], c: usize) -> Vec<f32> {
    let mut sums = vec![0.; c];
    sum_rows(level, xs, &mut sums);
    sums
}
