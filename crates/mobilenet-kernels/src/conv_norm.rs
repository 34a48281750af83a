//! A dense convolution, batch norm and activation as one operation: the networks' first and last convolutions.
//!
//! `y = act(bn(p))` with `p = conv(x)`; only `p` is kept. Windows are unfolded into rows, so that a convolution is a product of
//! matrices; the rows of a 1×1 are the pixels as they are.

use rayon::prelude::*;

use crate::activation::Activation;
use crate::batch_norm::{Affine, GradientSums, Moments, Statistics, Unit, scale};
use crate::bf16::Pair;
use crate::blocks::{Blocks, scatter};
use crate::buffer::{Buffer, Elements};
use crate::conv::ConvShape;
use crate::element::Element;
use crate::matmul::{FEW_ROWS, Matrix, matmul, matmul_weight, transposed};
use crate::origin::Origin;
use crate::parallel::{
    added_up, for_each_with, for_parts, images_per_part, leaves_threads_idle, map_parts, map_parts_mut,
};
use crate::profile::{Work, phase};
use crate::rows::{input_gradient, left, normalize, over_rows, right};
use crate::simd::Level;
use mobilenet_arch::Precision;

/// The sizes of the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvNormShape {
    /// Images.
    pub n: usize,
    /// The convolution.
    pub conv: ConvShape,
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

impl ConvNormShape {
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

    /// The mean of some windows' rows: of the middle pixels of all images, or of the middle row of the first one's windows.
    fn origin(&self, x: &[f32]) -> Origin {
        let (ConvShape { h, w, .. }, k) = (self.conv, self.conv.unfolded());
        if self.conv.is_pointwise() {
            let middle = (h / 2 * w + w / 2) * k;
            return Origin::of(k, x.chunks_exact(self.image_in()).map(|image| &image[middle..middle + k]));
        }
        let middle = self.conv.h_out() / 2;
        let mut rows = vec![0.; self.conv.w_out() * k];
        self.conv.unfold_rows(middle..middle + 1, &x[..self.image_in()], &mut rows);
        Origin::of(k, rows.chunks_exact(k))
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

/// Images are divided into as many parts as this however large the weight is, whose gradient every part sums up for itself.
const PARTS_OF_LARGE_WEIGHTS: usize = 16;

/// Rows of a part that make such a sum cost next to nothing, for each of the weight's columns.
const ROWS_PER_COLUMN: usize = 40;

/// Rows of a product that one thread computes at once, where the threads share it.
const SHARED_ROWS: usize = 48;

/// Pixels of a single image that are fewer than threads can share well.
const FEW_PIXELS: usize = 64;

/// Images of a part.
fn part_images(g: &ConvNormShape) -> usize {
    let cheap = (ROWS_PER_COLUMN * g.conv.unfolded()).div_ceil(g.conv.pixels_out());
    images_per_part(g.n).max(cheap.min(g.n.div_ceil(PARTS_OF_LARGE_WEIGHTS)))
}

/// [`matmul`], whose rows the threads share if there are few parts: they do not know of each other.
fn product<E: Element>(
    level: Level,
    is_shared: bool,
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
) {
    let rows = if is_shared { SHARED_ROWS } else { out.len() / n };
    let parts = out.chunks_mut((rows * n).max(1)).enumerate();
    for_each_with(is_shared, &mut (), parts, |(), (i, out)| {
        let a = a.rows(i * rows..i * rows + out.len() / n);
        matmul(level, a, b, n, accumulate, out);
    });
}

/// Images whose rows are multiplied at once.
fn images_at_once(g: &ConvNormShape) -> usize {
    (256 / g.conv.pixels_out()).max(1)
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &ConvNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    match g.is_bf16() {
        false => forward_with::<f32>(g, x, theta, y),
        true => forward_with::<Pair>(g, x, theta, y),
    }
}

fn forward_with<E: Element>(g: &ConvNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    let [weight, gamma, beta] = g.parameters(x, theta, y);
    let (level, c, k) = (Level::best(), g.conv.c_out, g.conv.unfolded());
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

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics: one mean and variance, as for other operations.
pub fn infer(g: &ConvNormShape, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    assert_eq!(running.len(), 1, "statistics of {g:?}");
    let (mean, var) = running[0];
    let [weight, gamma, beta] = g.parameters(x, theta, y);
    let scale = scale(gamma, var, g.eps);
    let affine = Affine { mean, scale: &scale, bias: beta };
    infer_with(g, x, weight, affine, y);
}

fn infer_with(g: &ConvNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (level, c, k) = (Level::best(), g.conv.c_out, g.conv.unfolded());
    let pixels = g.conv.pixels_out();
    if g.n * pixels <= FEW_ROWS || g.n == 1 && pixels <= FEW_PIXELS {
        return few_rows(g, x, weight, affine, y);
    }
    if g.n == 1 {
        return infer_image(g, x, &transposed(weight, c, k), affine, y);
    }
    let weight = transposed(weight, c, k);
    let is_shared = leaves_threads_idle(g.n.div_ceil(part_images(g)));
    for_parts(y, g.image_out(), part_images(g), |first, y| {
        let x = &x[first * g.image_in()..][..y.len() / g.image_out() * g.image_in()];
        let (mut scratch, mut pre) = (Buffer::default(), Buffer::default());
        let step = images_at_once(g);
        for (x, y) in x.chunks(step * g.image_in()).zip(y.chunks_mut(step * g.image_out())) {
            pre.resize(y.len());
            let rows = Matrix::new(g.rows(x, &mut scratch), y.len() / c, k);
            product(level, is_shared, rows, &weight, c, false, &mut pre);
            normalize(level, &pre[..], affine, g.activation, y);
        }
    });
}

/// A single image: the threads share its rows, which do not know of each other.
fn infer_image(g: &ConvNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (level, c, k, w_out) = (Level::best(), g.conv.c_out, g.conv.unfolded(), g.conv.w_out());
    let rows_at_once = g.conv.h_out().div_ceil(2 * rayon::current_num_threads());
    for_parts(y, w_out * c, rows_at_once, |first, y| {
        let rows = first..first + y.len() / (w_out * c);
        let mut scratch;
        let unfolded = if g.conv.is_pointwise() {
            &x[rows.start * w_out * k..rows.end * w_out * k]
        } else {
            scratch = Buffer::zeroed(rows.len() * w_out * k);
            g.conv.unfold_rows(rows, x, &mut scratch);
            &scratch[..]
        };
        let mut pre = Buffer::new(y.len());
        matmul(level, Matrix::new(unfolded, y.len() / c, k), weight, c, false, &mut pre);
        normalize(level, &pre[..], affine, g.activation, y);
    });
}

/// With so few rows the weight is what takes time to read: the threads share its channels.
fn few_rows(g: &ConvNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (level, c, k) = (Level::best(), g.conv.c_out, g.conv.unfolded());
    let mut scratch = Buffer::default();
    let rows = g.rows(x, &mut scratch);
    let blocks = Blocks::at_most(2 * rayon::current_num_threads().max(2), 8, c);
    let tiles = blocks.iter().collect::<Vec<_>>().into_par_iter().map(|channels| {
        let mut pre = Buffer::new(rows.len() / k * channels.len());
        let weight = &weight[channels.start * k..channels.end * k];
        matmul_weight(level, rows, weight, (channels.len(), k), 0..k, &mut pre);
        let mut tile = Buffer::new(pre.len());
        normalize(level, &pre[..], affine.of(channels.clone()), g.activation, &mut tile);
        (channels, tile)
    });
    for (channels, tile) in tiles.collect::<Vec<_>>() {
        scatter(&tile, y, c, channels);
    }
}

/// The gradients of the parameters, and that of the input where `gx` asks for it. Uses up `gy`.
pub fn backward(
    g: &ConvNormShape,
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
    g: &ConvNormShape,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;
    use crate::reference::{self, norm_backward, relative_error, wide};
    use crate::{batch_norm, conv};

    /// The operation is its three parts, one after the other.
    #[test]
    fn agrees_with_its_parts() {
        for (kernel, stride, n, size, c_in, c_out) in [
            (3, 1, 5, (6, 7), 3, 16),
            (3, 2, 2, (7, 6), 3, 9),
            (1, 1, 3, (4, 4), 40, 33),
            (1, 1, 1, (2, 3), 24, 40),
            (3, 2, 1, (21, 19), 3, 16),
        ] {
            let conv = ConvShape { h: size.0, w: size.1, c_in, c_out, kernel, stride, padding: kernel / 2 };
            for activation in [Activation::Relu6, Activation::HSwish, Activation::Identity] {
                let g = ConvNormShape { n, conv, activation, eps: 1e-3, precision: Precision::F32 };
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
                let parameters = batch_norm::NormParameters { mean, var, weight: &gamma, bias: &beta, eps: g.eps };
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

    /// The gradients' errors are those of the convolution's float32 output.
    #[test]
    fn a_mean_far_from_zero_costs_no_more_digits_than_the_convolution() {
        let conv = ConvShape { h: 9, w: 7, c_in: 24, c_out: 40, kernel: 1, stride: 1, padding: 0 };
        let g = ConvNormShape { n: 5, conv, activation: Activation::Identity, eps: 1e-3, precision: Precision::F32 };
        let rows = g.n * conv.pixels_out();
        for (ratio, bound) in [(0., 3e-6), (10., 2e-5), (100., 2e-4), (1000., 2e-3)] {
            let std = (1f32 / 3.).sqrt();
            let x: Vec<f32> = values(rows * conv.c_in, 1).iter().map(|v| ratio * std + v).collect();
            let (weight, gamma, beta) =
                (values(conv.c_out * conv.c_in, 2), values(conv.c_out, 3), values(conv.c_out, 4));
            let theta = [&weight[..], &gamma, &beta];
            let (mut y, mut gx) = (vec![f32::NAN; rows * conv.c_out], vec![f32::NAN; x.len()]);
            let saved = forward(&g, &x, &theta, &mut y);
            let gy = values(y.len(), 5);
            let gtheta = backward(&g, &x, &theta, &saved, &mut gy.clone(), Some(&mut gx));

            let (x, weight, gy) = (wide(&x), wide(&weight), wide(&gy));
            let pre =
                reference::product(&x, &reference::transposed(&weight, conv.c_out), [rows, conv.c_in, conv.c_out]);
            let gp = norm_backward(&pre, &gy, &wide(&gamma), g.eps);
            let gweight = reference::product(&reference::transposed(&gp, rows), &x, [conv.c_out, rows, conv.c_in]);
            let expected_gx = reference::product(&gp, &weight, [rows, conv.c_out, conv.c_in]);
            for (name, found, expected) in [("gx", &gx, expected_gx), ("weight", &gtheta[0], gweight)] {
                let error = relative_error(found, &expected);
                assert!(error < bound, "{name} is {error} off with the mean at {ratio} deviations");
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for (kernel, n, size, c_in, c_out) in [
            (1, 20, 7, 48, 160),
            (1, 1, 4, 48, 160),
            (1, 1, 7, 48, 160),
            (1, 1, 12, 16, 24),
            (3, 1, 13, 3, 16),
            (3, 70, 9, 3, 16),
        ] {
            let conv = ConvShape { h: size, w: size, c_in, c_out, kernel, stride: 1, padding: kernel / 2 };
            let g = ConvNormShape { n, conv, activation: Activation::HSwish, eps: 1e-3, precision: Precision::F32 };
            let (x, weight) = (values(n * g.image_in(), 1), values(c_out * conv.unfolded(), 2));
            let (gamma, beta, var) = (values(c_out, 3), values(c_out, 4), vec![0.5; c_out]);
            let theta = [&weight[..], &gamma, &beta];
            let outcome = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (mut y, mut inferred) = (vec![f32::NAN; n * g.image_out()], vec![f32::NAN; n * g.image_out()]);
                    let mut gx = vec![f32::NAN; x.len()];
                    let saved = forward(&g, &x, &theta, &mut y);
                    infer(&g, &x, &theta, &[(&beta, &var)], &mut inferred);
                    let gtheta = backward(&g, &x, &theta, &saved, &mut values(y.len(), 5), Some(&mut gx));
                    (y, inferred, gx, gtheta)
                })
            };
            let expected = outcome(1);
            for threads in [2, 3, 5, 8, 16, 32] {
                assert!(outcome(threads) == expected, "{threads} threads, {g:?}");
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
