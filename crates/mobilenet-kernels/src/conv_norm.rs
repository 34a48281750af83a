//! A dense convolution, batch norm and activation as one operation: the networks' first and last convolutions.
//!
//! `y = act(bn(p))` with `p = conv(x)`; only `p` is kept. Windows are unfolded into rows, so that a convolution is a product of
//! matrices; the rows of a 1×1 are the pixels as they are.

use rayon::prelude::*;

use crate::activation::Activation;
use crate::batch_norm::{Affine, GradientSums, Moments, Statistics, Unit, scale};
use crate::bf16::Pair;
use crate::buffer::{Buffer, Elements};
use crate::conv;
use crate::element::Element;
use crate::matmul::{FEW_ROWS, Matrix, matmul, matmul_weight, transposed};
use crate::parallel::{added_up, for_parts, images_per_part, map_parts, map_parts_mut};
use crate::precision::Precision;
use crate::profile::{Work, phase};
use crate::rows::{input_gradient, left, normalize, over_rows, right};
use crate::simd::Level;

/// The sizes of the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// The convolution.
    pub conv: conv::Geometry,
    /// Applied last.
    pub activation: Activation,
    /// Added to the variances.
    pub eps: f64,
    /// Of the products, in training.
    pub precision: Precision,
}

/// What a forward leaves for its backward.
pub struct Saved(Unit);

impl Saved {
    /// The batch's statistics.
    pub fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }
}

impl Geometry {
    /// How long each parameter is, in the order of `theta`: the weight (`[c_out, c_in, k, k]`), batch norm's weight and bias.
    pub fn parameter_lengths(&self) -> [usize; 3] {
        [self.conv.c_out * self.conv.unfolded(), self.conv.c_out, self.conv.c_out]
    }

    /// Whether training multiplies bf16: if it is asked for, and pairs of channels and of pixels divide every operand evenly.
    /// (The 27 values of the stem's windows are no pairs.)
    fn is_bf16(&self) -> bool {
        let sizes = [self.conv.unfolded(), self.conv.c_out, self.conv.pixels_out()];
        self.precision == Precision::Bf16 && sizes.iter().all(|size| size.is_multiple_of(2))
    }

    fn image_in(&self) -> usize {
        self.conv.h * self.conv.w * self.conv.c_in
    }

    fn image_out(&self) -> usize {
        self.conv.pixels_out() * self.conv.c_out
    }

    fn parameters<'a>(&self, x: &[f32], theta: &[&'a [f32]], y: &[f32]) -> [&'a [f32]; 3] {
        assert_eq!(x.len(), self.n * self.image_in(), "images of {self:?}");
        assert_eq!(y.len(), self.n * self.image_out(), "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        assert!(self.n > 0 && self.image_in() > 0, "pixels of {self:?}");
        std::array::from_fn(|i| theta[i])
    }

    /// The rows of some images.
    fn rows<'a>(&self, x: &'a [f32], scratch: &'a mut Buffer) -> &'a [f32] {
        if self.conv.is_pointwise() {
            return x;
        }
        let (image, len) = (self.image_in(), self.conv.pixels_out() * self.conv.unfolded());
        if scratch.len() != x.len() / image * len {
            *scratch = Buffer::zeroed(x.len() / image * len); // the borders stay so
        }
        for (x, rows) in x.chunks_exact(image).zip(scratch.chunks_exact_mut(len)) {
            self.conv.unfold(x, rows);
        }
        scratch
    }

    /// The work of [`infer`]: one product; the input is read and the output written once.
    pub fn inference_work(&self) -> Work {
        self.work(1, [1, 1])
    }

    /// The work of so many products, and of reading or writing so many tensors of the input's and of the output's size.
    fn work(&self, products: usize, tensors: [usize; 2]) -> Work {
        let flops = 2 * products * self.n * self.image_out() * self.conv.unfolded();
        let values = self.n * (tensors[0] * self.image_in() + tensors[1] * self.image_out());
        Work { flops: flops as u64, bytes: 4 * values as u64 }
    }
}

/// Images whose rows are multiplied at once.
fn images_at_once(g: &Geometry) -> usize {
    (256 / g.conv.pixels_out()).max(1)
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    match g.is_bf16() {
        false => forward_with::<f32>(g, x, theta, y),
        true => forward_with::<Pair>(g, x, theta, y),
    }
}

fn forward_with<E: Element>(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    let [weight, gamma, beta] = g.parameters(x, theta, y);
    let (level, c, k) = (Level::best(), g.conv.c_out, g.conv.unfolded());
    let weight = right::<E>(level, &transposed(weight, c, k), c);
    let mut pre = Buffer::new(y.len());
    let moments = phase("forward convolution", g.work(1, [1, 1]), || {
        map_parts_mut(&mut pre, g.image_out(), images_per_part(g.n), |first, pre| {
            let x = &x[first * g.image_in()..][..pre.len() / g.image_out() * g.image_in()];
            let (mut moments, mut scratch, mut packed) = (Moments::new(c), Buffer::default(), Elements::default());
            let step = images_at_once(g);
            for (x, pre) in x.chunks(step * g.image_in()).zip(pre.chunks_mut(step * g.image_out())) {
                let rows = left(level, g.rows(x, &mut scratch), k, &mut packed);
                matmul(level, rows, &weight, c, false, pre);
                moments.add(level, pre, 0..c);
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

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics: one mean and variance, as for other operations.
pub fn infer(g: &Geometry, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    assert_eq!(running.len(), 1, "statistics of {g:?}");
    let (mean, var) = running[0];
    let [weight, gamma, beta] = g.parameters(x, theta, y);
    let scale = scale(gamma, var, g.eps);
    let affine = Affine { mean, scale: &scale, bias: beta };
    infer_with(g, x, weight, affine, y);
}

fn infer_with(g: &Geometry, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (level, c, k) = (Level::best(), g.conv.c_out, g.conv.unfolded());
    if g.n * g.conv.pixels_out() <= FEW_ROWS {
        return few_rows(g, x, weight, affine, y);
    }
    let weight = transposed(weight, c, k);
    for_parts(y, g.image_out(), images_per_part(g.n), |first, y| {
        let x = &x[first * g.image_in()..][..y.len() / g.image_out() * g.image_in()];
        let (mut scratch, mut pre) = (Buffer::default(), Buffer::default());
        let step = images_at_once(g);
        for (x, y) in x.chunks(step * g.image_in()).zip(y.chunks_mut(step * g.image_out())) {
            pre.resize(y.len());
            let rows = Matrix::new(g.rows(x, &mut scratch), y.len() / c, k);
            matmul(level, rows, &weight, c, false, &mut pre);
            normalize(level, &pre[..], affine, g.activation, y);
        }
    });
}

/// With so few rows the weight is what takes time to read: the threads share its channels.
fn few_rows(g: &Geometry, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (level, c, k) = (Level::best(), g.conv.c_out, g.conv.unfolded());
    let mut scratch = Buffer::default();
    let rows = g.rows(x, &mut scratch);
    let width = c.div_ceil(4).next_multiple_of(8);
    let blocks = (0..c).step_by(width).map(|start| start..(start + width).min(c)).collect::<Vec<_>>();
    let tiles = blocks.into_par_iter().map(|channels| {
        let mut pre = Buffer::new(rows.len() / k * channels.len());
        let weight = &weight[channels.start * k..channels.end * k];
        matmul_weight(level, rows, weight, (channels.len(), k), 0..k, &mut pre);
        let mut tile = Buffer::new(pre.len());
        normalize(level, &pre[..], affine.of(channels.clone()), g.activation, &mut tile);
        (channels, tile)
    });
    for (channels, tile) in tiles.collect::<Vec<_>>() {
        for (from, to) in tile.chunks_exact(channels.len()).zip(y.chunks_exact_mut(c)) {
            to[channels.clone()].copy_from_slice(from);
        }
    }
}

/// The gradients of the parameters, and that of the input where `gx` asks for it. Uses up `gy`.
pub fn backward(
    g: &Geometry,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &mut [f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    match g.is_bf16() {
        false => backward_with::<f32>(g, x, theta, saved, gy, gx),
        true => backward_with::<Pair>(g, x, theta, saved, gy, gx),
    }
}

fn backward_with<E: Element>(
    g: &Geometry,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &mut [f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    let [weight, _, beta] = g.parameters(x, theta, gy);
    let (level, c, k, unit) = (Level::best(), g.conv.c_out, g.conv.unfolded(), &saved.0);
    let affine = unit.affine(beta);
    let sums = phase("backward activation", g.work(0, [0, 3]), || {
        map_parts_mut(gy, c, 1024, |row, gy| {
            let mut sums = GradientSums::new(c);
            let pre = &unit.pre[row * c..row * c + gy.len()];
            sums.add(level, (pre, affine, g.activation), gy, 0..c, ());
            sums
        })
    });
    let norm = unit.backward(&sums, g.eps);

    let weight = right::<E>(level, weight, k);
    let inputs = usize::from(gx.is_some());
    let images = images_per_part(g.n);
    let gweights = phase("backward convolution", g.work(1 + inputs, [1 + inputs, 2]), || {
        let part = |first: usize, images: usize, mut gx: Option<&mut [f32]>| {
            let mut gweight = Buffer::zeroed(c * k);
            let (mut scratch, mut gp, mut grows) = (Buffer::default(), Buffer::default(), Buffer::default());
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
                matmul(level, gp_rows.t(), over_rows(level, rows, k, &mut packed), k, true, &mut gweight);
                let Some(gx) = gx.as_deref_mut() else { continue };
                let gx = &mut gx[(i - first) * g.image_in()..][..count * g.image_in()];
                let gp = left(level, &gp, c, &mut gp_left);
                if g.conv.is_pointwise() {
                    matmul(level, gp, &weight, k, false, gx);
                } else {
                    grows.resize(rows.len());
                    matmul(level, gp, &weight, k, false, &mut grows);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_norm;
    use crate::parallel::tests::values;

    /// The operation is its three parts, one after the other.
    #[test]
    fn agrees_with_its_parts() {
        for (kernel, stride, n, size, c_in, c_out) in
            [(3, 1, 5, (6, 7), 3, 16), (3, 2, 2, (7, 6), 3, 9), (1, 1, 3, (4, 4), 40, 33), (1, 1, 1, (2, 3), 24, 40)]
        {
            let conv = conv::Geometry { h: size.0, w: size.1, c_in, c_out, kernel, stride, padding: kernel / 2 };
            for activation in [Activation::Relu6, Activation::HSwish, Activation::Identity] {
                let g = Geometry { n, conv, activation, eps: 1e-3, precision: Precision::F32 };
                let (x, weight) = (values(n * g.image_in(), 1), values(c_out * conv.unfolded(), 2));
                let (gamma, beta) = (values(c_out, 3), values(c_out, 4));
                let theta = [&weight[..], &gamma, &beta];
                let mut y = vec![f32::NAN; n * g.image_out()];
                let saved = forward(&g, &x, &theta, &mut y);
                let mut gy = values(y.len(), 5);

                let mut pre = vec![0.; y.len()];
                conv::forward(&conv, &x, &weight, &mut pre);
                let statistics = batch_norm::statistics(&pre, c_out);
                let affine =
                    Affine { mean: &statistics.mean, scale: &scale(&gamma, &statistics.var, g.eps), bias: &beta };
                let mut expected = vec![0.; y.len()];
                batch_norm::forward(&pre, affine, activation, &mut expected);
                assert_close(&y, &expected, "y");
                let given = [(&statistics.mean[..], &statistics.var[..])];
                infer(&g, &x, &theta, &given, &mut y);
                assert_close(&y, &expected, "inferred");

                let Statistics { mean, var } = &statistics;
                let parameters = batch_norm::Parameters { mean, var, weight: &gamma, bias: &beta, eps: g.eps };
                let norm = batch_norm::backward(&pre, &gy, parameters, activation, true);
                let (mut gweight, mut gx) = (vec![0.; weight.len()], vec![0.; x.len()]);
                conv::backward_weight(&conv, &x, &norm.xs, &mut gweight);
                conv::backward_input(&conv, &norm.xs, &weight, &mut gx);
                let mut got_gx = vec![f32::NAN; x.len()];
                let without = backward(&g, &x, &theta, &saved, &mut gy.clone(), None);
                let got = backward(&g, &x, &theta, &saved, &mut gy, Some(&mut got_gx));
                assert_eq!(without, got);
                assert_close(&got_gx, &gx, "gx");
                for (got, expected) in got.iter().zip([&gweight, &norm.weight, &norm.bias]) {
                    assert_close(got, expected, "parameters");
                }
            }
        }
    }

    fn assert_close(got: &[f32], expected: &[f32], what: &str) {
        let largest = expected.iter().fold(1f32, |m, e| m.max(e.abs()));
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-5 * largest, "{what}: {g} {e}");
        }
    }
}
