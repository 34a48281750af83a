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

use std::ops::Range;

use crate::activation::Activation;
pub use crate::affine::Affine;
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::parallel::{for_parts, map_parts, map_parts_mut, rows_per_part};
use crate::rows::{Sink, input_gradient, moments, normalize, through_activation};
use crate::simd::Level;

/// A batch's mean and biased variance, channel by channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// `Σ x / rows`
    pub mean: Vec<f32>,
    /// `Σ (x - mean)² / rows`
    pub var: Vec<f32>,
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
        moments.add(level, &xs[r.start * c..r.end * c], 0..c);
        moments
    });
    Moments::merge(&parts)
}

/// The running sums of a part's statistics.
///
/// The variance is taken about the part's first row: sums of squares about 0 would cancel where the mean is much larger
/// than the deviation. Sums are float32 over runs of rows, float64 over runs.
pub(crate) struct Moments {
    /// Rows of each channel.
    rows: Vec<f64>,
    origin: Vec<f32>,
    sum: Vec<f64>,
    square: Vec<f64>,
}

impl Moments {
    pub(crate) fn new(c: usize) -> Self {
        Self { rows: vec![0.; c], origin: vec![0.; c], sum: vec![0.; c], square: vec![0.; c] }
    }

    /// Takes in some rows of some channels.
    pub(crate) fn add(&mut self, level: Level, xs: &[f32], channels: Range<usize>) {
        self.add_and_keep::<f32>(level, xs, channels, None);
    }

    /// [`add`](Self::add), which also keeps the rows in `kept`.
    pub(crate) fn add_and_keep<E: Element>(
        &mut self,
        level: Level,
        xs: &[f32],
        channels: Range<usize>,
        kept: Option<&mut [E]>,
    ) {
        let c = channels.len();
        if self.rows[channels.start] == 0. {
            self.origin[channels.clone()].copy_from_slice(&xs[..c]);
        }
        self.rows[channels.clone()].iter_mut().for_each(|rows| *rows += (xs.len() / c) as f64);
        let (sum, square) = (&mut self.sum[channels.clone()], &mut self.square[channels.clone()]);
        moments(level, xs, &self.origin[channels], sum, square, kept);
    }

    /// The statistics of all parts together, each of at least one row.
    pub(crate) fn merge(parts: &[Self]) -> Statistics {
        let c = parts.first().map_or(0, |p| p.origin.len());
        let (mut mean, mut var) = (Vec::with_capacity(c), Vec::with_capacity(c));
        for ch in 0..c {
            let rows: f64 = parts.iter().map(|p| p.rows[ch]).sum();
            let part_mean = |p: &Self| f64::from(p.origin[ch]) + p.sum[ch] / p.rows[ch];
            let m = parts.iter().map(|p| p.rows[ch] * part_mean(p)).sum::<f64>() / rows;
            let squares = parts.iter().map(|p| {
                let within = p.square[ch] - p.sum[ch] * p.sum[ch] / p.rows[ch];
                within + p.rows[ch] * (part_mean(p) - m).powi(2)
            });
            let squares = squares.sum::<f64>();
            mean.push(m as f32);
            var.push((squares / rows).max(0.) as f32);
        }
        Statistics { mean, var }
    }
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
        normalize(level, xs, affine, act, ys);
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
    let mut gxs = gys.to_vec();
    let parts = map_parts_mut(&mut gxs, c, rows_per_part(c), |first, gs| {
        let mut sums = GradientSums::new(c);
        let xs = &xs[first * c..first * c + gs.len()];
        sums.add(level, (xs, affine, act), gs, 0..c, ());
        sums
    });
    let Backward { slope, offset, weight, bias } = GradientSums::merge(&parts, rows, &scale, p.var, p.eps);
    let (slope, offset) = if batch_statistics { (slope, offset) } else { (vec![0.; c], vec![0.; c]) };
    for_parts(&mut gxs, c, rows_per_part(c), |first, gxs| {
        let gs = Buffer::copy_of(gxs);
        input_gradient(level, &xs[first * c..first * c + gs.len()], &gs, affine, [&slope, &offset], gxs);
    });
    Gradients { xs: gxs, weight, bias }
}

/// The running sums of a part's backward: with `g = gy · act'`, `Σ g` and `Σ g · (x - mean)`.
pub(crate) struct GradientSums {
    sum: Vec<f64>,
    dot: Vec<f64>,
}

impl GradientSums {
    pub(crate) fn new(c: usize) -> Self {
        Self { sum: vec![0.; c], dot: vec![0.; c] }
    }

    /// Takes the gradient `gs` of `act(batch_norm(xs))` through the activation, and in: some rows of some channels, whose
    /// batch norm is `affine`. What else is to become of it goes to `sink`. `of` is `(xs, affine, act)`.
    pub(crate) fn add<E: Element, S: Sink>(
        &mut self,
        level: Level,
        of: (&[E], Affine, Activation),
        gs: &mut [f32],
        channels: Range<usize>,
        sink: S,
    ) {
        let sums = [&mut self.sum[channels.clone()], &mut self.dot[channels]];
        through_activation(level, of, gs, sums, sink);
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

/// A convolution's output with its statistics: what the backward needs of it.
pub(crate) struct Unit<E: Element = f32> {
    pub(crate) pre: Elements<E>,
    pub(crate) statistics: Statistics,
    pub(crate) scale: Vec<f32>,
}

impl<E: Element> Unit<E> {
    pub(crate) fn new(pre: Elements<E>, moments: &[Moments], gamma: &[f32], eps: f64) -> Self {
        let statistics = Moments::merge(moments);
        let scale = scale(gamma, &statistics.var, eps);
        Self { pre, statistics, scale }
    }

    pub(crate) fn affine<'a>(&'a self, beta: &'a [f32]) -> Affine<'a> {
        Affine { mean: &self.statistics.mean, scale: &self.scale, bias: beta }
    }

    pub(crate) fn backward(&self, sums: &[GradientSums], eps: f64) -> Backward {
        let rows = self.pre.len() * E::WIDTH / self.scale.len();
        GradientSums::merge(sums, rows, &self.scale, &self.statistics.var, eps)
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
