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

mod sums;

use crate::activation::Activation;
pub use crate::affine::Affine;
use crate::buffer::Buffer;
use crate::parallel::{for_parts, map_parts, map_parts_mut, rows_per_part};
use crate::rows::{input_gradient, normalize};
use crate::simd::Level;
pub(crate) use sums::{Backward, ChannelGradientSums, ChannelMoments, GradientSums, Moments, Unit};

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
        moments.add(level, &xs[r.start * c..r.end * c]);
        moments
    });
    Moments::merge(&parts).0
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
pub struct NormParameters<'a> {
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
pub fn backward(xs: &[f32], gys: &[f32], p: NormParameters, act: Activation, batch_statistics: bool) -> Gradients {
    backward_at(Level::best(), xs, gys, p, act, batch_statistics)
}

fn backward_at(
    level: Level,
    xs: &[f32],
    gys: &[f32],
    p: NormParameters,
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
        sums.all().add(level, (xs, affine, act), gs, ());
        sums
    });
    let Backward { slope, offset, weight, bias, .. } =
        GradientSums::merge(&parts, rows, &scale, p.var, &vec![0.; c], p.eps);
    let (slope, offset) = if batch_statistics { (slope, offset) } else { (vec![0.; c], vec![0.; c]) };
    for_parts(&mut gxs, c, rows_per_part(c), |first, gxs| {
        let gs = Buffer::copy_of(gxs);
        input_gradient(level, &xs[first * c..first * c + gs.len()], &gs, affine, [&slope, &offset], gxs);
    });
    Gradients { xs: gxs, weight, bias }
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

                    let p = NormParameters { mean, var, weight: &weight, bias: &bias, eps: EPS };
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
