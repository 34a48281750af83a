//! What batch norm sums up over a batch, part by part: its statistics, and those of its backward.

use super::{Affine, Statistics, scale};
use crate::activation::Activation;
use crate::blocks::{Blocks, pieces};
use crate::buffer::Elements;
use crate::element::Element;
use crate::rows::{Sink, moments, through_activation};
use crate::simd::Level;

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

/// [`Moments`] of some channels.
pub(crate) struct ChannelMoments<'a> {
    rows: &'a mut [f64],
    origin: &'a mut [f32],
    sum: &'a mut [f64],
    square: &'a mut [f64],
}

impl Moments {
    pub(crate) fn new(c: usize) -> Self {
        Self { rows: vec![0.; c], origin: vec![0.; c], sum: vec![0.; c], square: vec![0.; c] }
    }

    /// Takes in some rows of all channels.
    pub(crate) fn add(&mut self, level: Level, xs: &[f32]) {
        self.all().add(level, xs);
    }

    fn all(&mut self) -> ChannelMoments<'_> {
        let Self { rows, origin, sum, square } = self;
        ChannelMoments { rows, origin, sum, square }
    }

    /// Those of each block of channels.
    pub(crate) fn blocks(&mut self, blocks: &Blocks) -> impl Iterator<Item = ChannelMoments<'_>> {
        let [rows, sum, square] = [&mut self.rows, &mut self.sum, &mut self.square]
            .map(|values| pieces(values, blocks.iter().map(|b| b.len())));
        let origin = pieces(&mut self.origin, blocks.iter().map(|b| b.len()));
        let pieces = rows.zip(origin).zip(sum).zip(square);
        pieces.map(|(((rows, origin), sum), square)| ChannelMoments { rows, origin, sum, square })
    }

    /// The statistics of all parts together, each of at least one row, and what rounding the means took from them.
    pub(crate) fn merge(parts: &[Self]) -> (Statistics, Vec<f32>) {
        let c = parts.first().map_or(0, |p| p.origin.len());
        let [mut mean, mut var, mut lost] = [(); 3].map(|()| Vec::with_capacity(c));
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
            lost.push((m - f64::from(m as f32)) as f32);
        }
        (Statistics { mean, var }, lost)
    }
}

impl ChannelMoments<'_> {
    /// Takes in some rows.
    pub(crate) fn add(&mut self, level: Level, xs: &[f32]) {
        self.add_and_keep::<f32>(level, xs, None);
    }

    /// [`add`](Self::add), which also keeps the rows in `kept`.
    pub(crate) fn add_and_keep<E: Element>(&mut self, level: Level, xs: &[f32], kept: Option<&mut [E]>) {
        let c = self.origin.len();
        if self.rows[0] == 0. {
            self.origin.copy_from_slice(&xs[..c]);
        }
        self.rows.iter_mut().for_each(|rows| *rows += (xs.len() / c) as f64);
        moments(level, xs, self.origin, self.sum, self.square, kept);
    }
}

/// The running sums of a part's backward: with `g = gy · act'`, `Σ g` and `Σ g · (x - mean)`.
pub(crate) struct GradientSums {
    sum: Vec<f64>,
    dot: Vec<f64>,
}

/// [`GradientSums`] of some channels.
pub(crate) struct ChannelGradientSums<'a> {
    sum: &'a mut [f64],
    dot: &'a mut [f64],
}

impl ChannelGradientSums<'_> {
    /// Takes the gradient `gs` of `act(batch_norm(xs))` through the activation, and in: some rows, whose batch norm is
    /// the affine function. What else is to become of it goes to `sink`. `of` is `(xs, affine, act)`.
    pub(crate) fn add<E: Element, S: Sink>(
        &mut self,
        level: Level,
        of: (&[E], Affine, Activation),
        gs: &mut [f32],
        sink: S,
    ) {
        through_activation(level, of, gs, [self.sum, self.dot], sink);
    }
}

impl GradientSums {
    pub(crate) fn new(c: usize) -> Self {
        Self { sum: vec![0.; c], dot: vec![0.; c] }
    }

    /// Those of all channels.
    pub(crate) fn all(&mut self) -> ChannelGradientSums<'_> {
        let Self { sum, dot } = self;
        ChannelGradientSums { sum, dot }
    }

    /// Those of each block of channels.
    pub(crate) fn blocks(&mut self, blocks: &Blocks) -> impl Iterator<Item = ChannelGradientSums<'_>> {
        let [sum, dot] = [&mut self.sum, &mut self.dot].map(|values| pieces(values, blocks.iter().map(|b| b.len())));
        sum.zip(dot).map(|(sum, dot)| ChannelGradientSums { sum, dot })
    }

    /// What all parts together, of `rows` rows, say. The mean that they know is a float32, which `lost` so much of the
    /// exact one: small beside the mean, but not always beside the deviation.
    pub(crate) fn merge(parts: &[Self], rows: usize, scale: &[f32], var: &[f32], lost: &[f32], eps: f64) -> Backward {
        // With x̂ = (x - mean) / std:  gx = scale · (g - mean(g) - x̂ · mean(g · x̂))
        //                                = scale · g + slope · (x - mean) + offset
        let [mut slope, mut offset, mut offset_at_mean, mut weight, mut bias] =
            [(); 5].map(|()| Vec::with_capacity(scale.len()));
        let n = rows as f64;
        for (ch, ((scale, var), lost)) in scale.iter().zip(var).zip(lost).enumerate() {
            let lost = f64::from(*lost);
            let sum: f64 = parts.iter().map(|p| p.sum[ch]).sum();
            let dot = parts.iter().map(|p| p.dot[ch]).sum::<f64>() - lost * sum;
            let inverse_std = 1. / (f64::from(*var) + eps).sqrt();
            let exact_slope = -f64::from(*scale) * inverse_std * inverse_std * dot / n;
            let at_mean = -f64::from(*scale) * sum / n;
            slope.push(exact_slope as f32);
            offset.push((at_mean - exact_slope * lost) as f32);
            offset_at_mean.push(at_mean as f32);
            weight.push((dot * inverse_std) as f32);
            bias.push(sum as f32);
        }
        Backward { slope, offset, offset_at_mean, weight, bias }
    }
}

/// The gradient of the input as `scale · g + slope · (x - mean) + offset`, and those of the parameters.
pub(crate) struct Backward {
    pub(crate) slope: Vec<f32>,
    /// With the mean as float32.
    pub(crate) offset: Vec<f32>,
    /// With the exact mean.
    pub(crate) offset_at_mean: Vec<f32>,
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

/// A convolution's output with its statistics: what the backward needs of it.
pub(crate) struct Unit<E: Element = f32> {
    pub(crate) pre: Elements<E>,
    pub(crate) statistics: Statistics,
    pub(crate) scale: Vec<f32>,
    /// What is missing from the means.
    lost: Vec<f32>,
}

impl<E: Element> Unit<E> {
    pub(crate) fn new(pre: Elements<E>, moments: &[Moments], gamma: &[f32], eps: f64) -> Self {
        let (statistics, lost) = Moments::merge(moments);
        let scale = scale(gamma, &statistics.var, eps);
        Self { pre, statistics, scale, lost }
    }

    pub(crate) fn affine<'a>(&'a self, beta: &'a [f32]) -> Affine<'a> {
        Affine { mean: &self.statistics.mean, scale: &self.scale, bias: beta }
    }

    pub(crate) fn backward(&self, sums: &[GradientSums], eps: f64) -> Backward {
        let rows = self.pre.len() * E::WIDTH / self.scale.len();
        GradientSums::merge(sums, rows, &self.scale, &self.statistics.var, &self.lost, eps)
    }
}
