//! Batch norm and the activation after it, over `rows × c` values.
//!
//! ```text
//! ys = act((xs - mean) · scale + bias)      scale = weight / sqrt(var + eps)
//! ```
//!
//! (`xs · scale + shift` with the mean folded into `shift` would save a subtraction, and lose digits where the mean is
//! much larger than the deviation.)
//!
//! The activation is fused: its input is recomputed in the backward, so that of a convolution, a batch norm and an
//! activation only the convolution's output is kept.

use crate::activation::{Activation, Function, with_function};
use crate::parallel::{for_parts, map_parts, rows_per_part};
use crate::simd::{Arithmetic, Level, for_each_level};

/// How many rows are summed in float32: more of them would cost digits of the statistics.
const RUN: usize = 128;

/// A batch's mean and biased variance, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// `Σ x / rows`
    pub mean: Vec<f32>,
    /// `Σ (x - mean)² / rows`
    pub var: Vec<f32>,
}

/// The function that a batch norm is once its statistics are known.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[c]`
    pub mean: &'a [f32],
    /// `[c]`, see [`scale`]
    pub scale: &'a [f32],
    /// `[c]`
    pub bias: &'a [f32],
}

impl<'a> Affine<'a> {
    /// The channels and three slices of as many values: a loop over them needs no bounds checks.
    #[inline(always)]
    fn slices(self) -> (usize, &'a [f32], &'a [f32], &'a [f32]) {
        let c = self.scale.len();
        (c, &self.mean[..c], self.scale, &self.bias[..c])
    }
}

/// `weight / sqrt(var + eps)`
pub fn scale(weight: &[f32], var: &[f32], eps: f64) -> Vec<f32> {
    weight.iter().zip(var).map(|(w, v)| (f64::from(*w) / (f64::from(*v) + eps).sqrt()) as f32).collect()
}

/// Mean and variance of each channel of `xs`: `[rows, c]`, at least one row.
pub fn statistics(xs: &[f32], c: usize) -> Statistics {
    statistics_at(Level::best(), xs, c)
}

fn statistics_at(level: Level, xs: &[f32], c: usize) -> Statistics {
    assert!(c > 0 && !xs.is_empty() && xs.len().is_multiple_of(c), "{} values over {c} channels", xs.len());
    let parts = map_parts(xs.len() / c, rows_per_part(c), |r| {
        let mut moments = Moments::new(c);
        moments.add(level, &xs[r.start * c..r.end * c]);
        moments
    });
    Moments::merge(&parts)
}

/// The running sums of a part's statistics.
///
/// The variance is taken about the part's first row: sums of squares about 0 would cancel where the mean is much larger
/// than the deviation. Sums are float32 over [`RUN`] rows, float64 over runs.
pub(crate) struct Moments {
    rows: usize,
    origin: Vec<f32>,
    sum: Vec<f64>,
    square: Vec<f64>,
    scratch: Vec<f32>,
}

impl Moments {
    pub(crate) fn new(c: usize) -> Self {
        Self { rows: 0, origin: vec![0.; c], sum: vec![0.; c], square: vec![0.; c], scratch: vec![0.; 2 * c] }
    }

    /// Takes in some rows.
    pub(crate) fn add(&mut self, level: Level, xs: &[f32]) {
        let c = self.origin.len();
        if self.rows == 0 {
            self.origin.copy_from_slice(&xs[..c]);
        }
        self.rows += xs.len() / c;
        for xs in xs.chunks(RUN * c) {
            self.scratch.fill(0.);
            let (sum, square) = self.scratch.split_at_mut(c);
            moments(level, xs, &self.origin, sum, square);
            accumulate(&mut self.sum, sum);
            accumulate(&mut self.square, square);
        }
    }

    /// The statistics of all parts together, each of at least one row.
    pub(crate) fn merge(parts: &[Self]) -> Statistics {
        let rows: f64 = parts.iter().map(|p| p.rows as f64).sum();
        let c = parts.first().map_or(0, |p| p.origin.len());
        let (mut mean, mut var) = (Vec::with_capacity(c), Vec::with_capacity(c));
        for ch in 0..c {
            let part_mean = |p: &Self| f64::from(p.origin[ch]) + p.sum[ch] / p.rows as f64;
            let m = parts.iter().map(|p| p.rows as f64 * part_mean(p)).sum::<f64>() / rows;
            let squares = parts.iter().map(|p| {
                let within = p.square[ch] - p.sum[ch] * p.sum[ch] / p.rows as f64;
                within + p.rows as f64 * (part_mean(p) - m).powi(2)
            });
            let squares = squares.sum::<f64>();
            mean.push(m as f32);
            var.push((squares / rows).max(0.) as f32);
        }
        Statistics { mean, var }
    }
}

/// `total += part`
pub(crate) fn accumulate(total: &mut [f64], part: &[f32]) {
    total.iter_mut().zip(part).for_each(|(t, p)| *t += f64::from(*p));
}

/// `ys = act((xs - mean) · scale + bias)`
pub fn forward(xs: &[f32], affine: Affine, act: Activation, ys: &mut [f32]) {
    forward_at(Level::best(), xs, affine, act, ys);
}

fn forward_at(level: Level, xs: &[f32], affine: Affine, act: Activation, ys: &mut [f32]) {
    assert_eq!(xs.len(), ys.len());
    let c = affine.scale.len();
    for_parts(ys, c, rows_per_part(c), |first, ys| {
        let xs = &xs[first * c..first * c + ys.len()];
        with_function!(act, F => normalize::<F>(level, xs, affine, ys));
    });
}

/// What the backward gives: the gradient of the input, of the weight and of the bias.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// `[rows, c]`
    pub xs: Vec<f32>,
    /// `[c]`
    pub weight: Vec<f32>,
    /// `[c]`
    pub bias: Vec<f32>,
}

/// The statistics a backward is taken with.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// `[c]`
    pub mean: &'a [f32],
    /// `[c]`, biased
    pub var: &'a [f32],
    /// `[c]`
    pub weight: &'a [f32],
    /// `[c]`
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f64,
}

/// The gradients of `act(batch_norm(xs))`, given `gys`. With `batch_statistics` the mean and variance are functions of
/// `xs` (training), else constants (evaluation).
pub fn backward(xs: &[f32], gys: &[f32], p: Parameters, act: Activation, batch_statistics: bool) -> Gradients {
    backward_at(Level::best(), xs, gys, p, act, batch_statistics)
}

fn backward_at(
    level: Level,
    xs: &[f32],
    gys: &[f32],
    p: Parameters,
    act: Activation,
    batch_statistics: bool,
) -> Gradients {
    assert_eq!(xs.len(), gys.len());
    let c = p.mean.len();
    let rows = xs.len() / c;
    let scale = scale(p.weight, p.var, p.eps);
    let affine = Affine { mean: p.mean, scale: &scale, bias: p.bias };
    let parts = map_parts(rows, rows_per_part(c), |r| {
        let mut sums = GradientSums::new(c);
        let part = r.start * c..r.end * c;
        with_function!(act, F => sums.add::<F>(level, &xs[part.clone()], &gys[part], affine));
        sums
    });
    let Backward { slope, offset, weight, bias } = GradientSums::merge(&parts, rows, &scale, p.var, p.eps);
    let (slope, offset) = if batch_statistics { (slope, offset) } else { (vec![0.; c], vec![0.; c]) };
    let mut gxs = vec![0.; xs.len()];
    for_parts(&mut gxs, c, rows_per_part(c), |first, gxs| {
        let part = first * c..first * c + gxs.len();
        let (xs, gys) = (&xs[part.clone()], &gys[part]);
        with_function!(act, F => input_gradient::<F>(level, xs, gys, affine, &slope, &offset, gxs));
    });
    Gradients { xs: gxs, weight, bias }
}

/// The running sums of a part's backward: with `g = gy · act'`, `Σ g` and `Σ g · (x - mean)`.
pub(crate) struct GradientSums {
    sum: Vec<f64>,
    dot: Vec<f64>,
    scratch: Vec<f32>,
}

impl GradientSums {
    pub(crate) fn new(c: usize) -> Self {
        Self { sum: vec![0.; c], dot: vec![0.; c], scratch: vec![0.; 2 * c] }
    }

    /// Takes in some rows.
    pub(crate) fn add<F: Function>(&mut self, level: Level, xs: &[f32], gys: &[f32], affine: Affine) {
        let c = affine.scale.len();
        for (xs, gys) in xs.chunks(RUN * c).zip(gys.chunks(RUN * c)) {
            self.scratch.fill(0.);
            let (sum, dot) = self.scratch.split_at_mut(c);
            gradient_sums::<F>(level, xs, gys, affine, sum, dot);
            accumulate(&mut self.sum, sum);
            accumulate(&mut self.dot, dot);
        }
    }

    /// What all parts together, of `rows` rows, say.
    pub(crate) fn merge(parts: &[Self], rows: usize, scale: &[f32], var: &[f32], eps: f64) -> Backward {
        // With x̂ = (x - mean) / std:  gx = scale · (g - mean(g) - x̂ · mean(g · x̂))
        //                                = scale · g + slope · (x - mean) + offset
        let (mut slope, mut offset) = (Vec::with_capacity(scale.len()), Vec::with_capacity(scale.len()));
        let (mut weight, mut bias) = (Vec::with_capacity(scale.len()), Vec::with_capacity(scale.len()));
        let n = rows as f64;
        for (ch, (scale, var)) in scale.iter().zip(var).enumerate() {
            let sum: f64 = parts.iter().map(|p| p.sum[ch]).sum();
            let dot: f64 = parts.iter().map(|p| p.dot[ch]).sum();
            let inverse_std = 1. / (f64::from(*var) + eps).sqrt();
            slope.push((-f64::from(*scale) * inverse_std * inverse_std * dot / n) as f32);
            offset.push((-f64::from(*scale) * sum / n) as f32);
            weight.push((dot * inverse_std) as f32);
            bias.push(sum as f32);
        }
        Backward { slope, offset, weight, bias }
    }
}

/// The gradient of the input as `scale · g + slope · (x - mean) + offset`, and those of the parameters.
pub(crate) struct Backward {
    pub(crate) slope: Vec<f32>,
    pub(crate) offset: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

for_each_level! {
    /// `sum[c] += Σ (x - origin)` and `square[c] += Σ (x - origin)²`
    fn moments(xs: &[f32], origin: &[f32], sum: &mut [f32], square: &mut [f32]) = moments_body
}

#[inline(always)]
fn moments_body<A: Arithmetic>(xs: &[f32], origin: &[f32], sum: &mut [f32], square: &mut [f32]) {
    let c = origin.len();
    let (sum, square) = (&mut sum[..c], &mut square[..c]);
    for row in xs.chunks_exact(c) {
        for i in 0..c {
            let d = row[i] - origin[i];
            sum[i] += d;
            square[i] = A::mul_add(d, d, square[i]);
        }
    }
}

for_each_level! {
    /// `ys = act((xs - mean) · scale + bias)` over rows.
    pub(crate) fn normalize<F: Function>(xs: &[f32], affine: Affine, ys: &mut [f32]) = normalize_body
}

#[inline(always)]
fn normalize_body<A: Arithmetic, F: Function>(xs: &[f32], affine: Affine, ys: &mut [f32]) {
    let (c, mean, scale, bias) = affine.slices();
    for (x, y) in xs.chunks_exact(c).zip(ys.chunks_exact_mut(c)) {
        for i in 0..c {
            y[i] = F::value(A::mul_add(x[i] - mean[i], scale[i], bias[i]));
        }
    }
}

for_each_level! {
    /// With `g = gy · act'`: `sum[c] += Σ g` and `dot[c] += Σ g · (x - mean)`
    fn gradient_sums<F: Function>(
        xs: &[f32], gys: &[f32], affine: Affine, sum: &mut [f32], dot: &mut [f32],
    ) = gradient_sums_body
}

#[inline(always)]
fn gradient_sums_body<A: Arithmetic, F: Function>(
    xs: &[f32],
    gys: &[f32],
    affine: Affine,
    sum: &mut [f32],
    dot: &mut [f32],
) {
    let (c, mean, scale, bias) = affine.slices();
    let (sum, dot) = (&mut sum[..c], &mut dot[..c]);
    for (x, gy) in xs.chunks_exact(c).zip(gys.chunks_exact(c)) {
        for i in 0..c {
            let d = x[i] - mean[i];
            let g = gy[i] * F::derivative(A::mul_add(d, scale[i], bias[i]));
            sum[i] += g;
            dot[i] = A::mul_add(g, d, dot[i]);
        }
    }
}

for_each_level! {
    /// `gx = scale · (gy · act') + slope · (x - mean) + offset`
    pub(crate) fn input_gradient<F: Function>(
        xs: &[f32], gys: &[f32], affine: Affine, slope: &[f32], offset: &[f32], gxs: &mut [f32],
    ) = input_gradient_body
}

#[inline(always)]
fn input_gradient_body<A: Arithmetic, F: Function>(
    xs: &[f32],
    gys: &[f32],
    affine: Affine,
    slope: &[f32],
    offset: &[f32],
    gxs: &mut [f32],
) {
    let (c, mean, scale, bias) = affine.slices();
    let (slope, offset) = (&slope[..c], &offset[..c]);
    for ((x, gy), gx) in xs.chunks_exact(c).zip(gys.chunks_exact(c)).zip(gxs.chunks_exact_mut(c)) {
        for i in 0..c {
            let d = x[i] - mean[i];
            let g = gy[i] * F::derivative(A::mul_add(d, scale[i], bias[i]));
            gx[i] = A::mul_add(g, scale[i], A::mul_add(d, slope[i], offset[i]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    const EPS: f64 = 1e-3;

    /// A loss of the definition in float64: Σ gys · act(batch_norm(xs)).
    fn loss(xs: &[f64], gys: &[f32], weight: &[f64], bias: &[f64], act: Activation, fixed: Option<&Statistics>) -> f64 {
        let c = weight.len();
        let n = (xs.len() / c) as f64;
        (0..c)
            .map(|ch| {
                let column = || xs.iter().skip(ch).step_by(c);
                let (mean, var) = match fixed {
                    Some(s) => (f64::from(s.mean[ch]), f64::from(s.var[ch])),
                    None => {
                        let mean = column().sum::<f64>() / n;
                        (mean, column().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
                    }
                };
                let act = |z: f64| match act {
                    Activation::Identity => z,
                    Activation::HSwish => z * (z + 3.).clamp(0., 6.) / 6.,
                    _ => unreachable!("smooth ones suffice here"),
                };
                let y = |x: &f64| act((x - mean) / (var + EPS).sqrt() * weight[ch] + bias[ch]);
                column().zip(gys.iter().skip(ch).step_by(c)).map(|(x, g)| y(x) * f64::from(*g)).sum::<f64>()
            })
            .sum()
    }

    #[test]
    fn statistics_survive_a_mean_far_from_zero() {
        for level in Level::available() {
            let xs: Vec<f32> = values(70_000 * 3, 5).iter().map(|v| 1000. + v).collect();
            let Statistics { mean, var } = statistics_at(level, &xs, 3);
            for ch in 0..3 {
                let column = || xs.iter().skip(ch).step_by(3).map(|x| f64::from(*x));
                let m = column().sum::<f64>() / 70_000.;
                let v = column().map(|x| (x - m).powi(2)).sum::<f64>() / 70_000.;
                assert!(
                    (f64::from(mean[ch]) - m).abs() < 1e-3 && (f64::from(var[ch]) / v - 1.).abs() < 1e-4,
                    "{level}"
                );
            }
        }
    }

    #[test]
    fn one_row_has_variance_zero() {
        let Statistics { mean, var } = statistics(&[1., 2.], 2);
        assert_eq!((mean, var), (vec![1., 2.], vec![0., 0.]));
    }

    #[test]
    fn forward_and_gradients_agree_with_finite_differences() {
        let (rows, c) = (11, 5);
        let (xs, gys) = (values(rows * c, 1), values(rows * c, 2));
        let (weight, bias) = (values(c, 3), values(c, 4));
        let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        for act in [Activation::Identity, Activation::HSwish] {
            for train in [true, false] {
                for level in Level::available() {
                    let stats = if train {
                        statistics_at(level, &xs, c)
                    } else {
                        Statistics { mean: values(c, 6), var: vec![0.7; c] }
                    };
                    let fixed = (!train).then_some(&stats);
                    let value = |xs: &[f64], w: &[f64], b: &[f64]| loss(xs, &gys, w, b, act, fixed);
                    let Statistics { mean, var } = &stats;

                    let mut ys = vec![0.; xs.len()];
                    let affine = Affine { mean, scale: &scale(&weight, var, EPS), bias: &bias };
                    forward_at(level, &xs, affine, act, &mut ys);
                    let got: f64 = ys.iter().zip(&gys).map(|(y, g)| f64::from(y * g)).sum();
                    assert!((got - value(&wide(&xs), &wide(&weight), &wide(&bias))).abs() < 1e-4, "{act:?} {level}");

                    let p = Parameters { mean, var, weight: &weight, bias: &bias, eps: EPS };
                    let gradients = backward_at(level, &xs, &gys, p, act, train);
                    let arguments = [wide(&xs), wide(&weight), wide(&bias)];
                    for (k, got) in [gradients.xs, gradients.weight, gradients.bias].iter().enumerate() {
                        for (i, g) in got.iter().enumerate() {
                            let shifted = |d: f64| {
                                let mut a = arguments.clone();
                                a[k][i] += d;
                                value(&a[0], &a[1], &a[2])
                            };
                            let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                            assert!(
                                (f64::from(*g) - slope).abs() < 1e-4,
                                "{act:?} {train} {level}: {k} {i} {g} {slope}"
                            );
                        }
                    }
                }
            }
        }
    }
}
