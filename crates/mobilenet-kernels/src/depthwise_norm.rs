//! A depthwise convolution, batch norm and activation as one operation: half a layer of MobileNetV1.
//!
//! `y = act(bn(d))` with `d = depthwise(x)`; only `d` is kept. Every channel is on its own, so that an image is worked on block by
//! block of channels, each small enough for a core's cache, and `d` is laid out that way: image after image, in each block
//! after block. Images are divided into parts, worked on in parallel; a single image's blocks are divided in inference.
//!
//! In bf16 what is kept, of the forward and between the two passes of the backward, is bf16; the convolution stays float32.

use std::ops::Range;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::batch_norm::{Affine, GradientSums, Moments, Statistics, Unit, scale};
use crate::bf16::Pair;
use crate::blocks::{Blocks, gather, scatter};
use crate::buffer::{Buffer, Elements};
use crate::depthwise::{DepthwiseShape, Frame, image_backward_input, image_backward_weight, image_forward};
use crate::element::Element;
use crate::matmul::transposed;
use crate::parallel::{added_up, for_parts, images_per_part, map_parts, map_parts_mut};
use crate::profile::{Work, phase};
use crate::rows::{Gradients, Target, input_gradient_to, normalize_to};
use crate::simd::{Level, streamed};
use mobilenet_arch::Precision;

/// Values of a tile, an image's block of channels: 192 KiB, of which a few fit into a core's L2.
const VALUES_PER_TILE: usize = 48 << 10;

/// Channels of a block of a single image, at least: a cache line of each pixel.
const LEAST_CHANNELS: usize = 16;

/// Rows of an output that one thread normalizes at once, of a single image.
const ROWS: usize = 64;

/// The sizes of the operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DepthwiseNormShape {
    /// Images.
    pub n: usize,
    /// The convolution.
    pub depthwise: DepthwiseShape,
    /// Applied last.
    pub activation: Activation,
    /// Added to the variances.
    pub eps: f64,
    /// Of what training keeps.
    pub precision: Precision,
}

/// What a forward leaves for its backward.
pub struct Saved(Kept);

enum Kept {
    F32(Unit<f32>),
    Bf16(Unit<Pair>),
}

impl Saved {
    /// The batch's statistics.
    pub fn statistics(&self) -> &Statistics {
        match &self.0 {
            Kept::F32(unit) => &unit.statistics,
            Kept::Bf16(unit) => &unit.statistics,
        }
    }
}

/// The three parameters.
struct Parameters<'a> {
    /// `[c, k, k]`
    weight: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
}

impl DepthwiseNormShape {
    /// How long each parameter is, in the order of `theta`: the weight (`[c, 1, k, k]`), batch norm's weight and bias.
    pub fn parameter_lengths(&self) -> [usize; 3] {
        [self.depthwise.c * self.taps(), self.depthwise.c, self.depthwise.c]
    }

    /// The work of [`infer`]: one convolution; the input is read and the output written once.
    pub fn inference_work(&self) -> Work {
        self.work(1, 1, 1)
    }

    /// The work of so many convolutions, and of reading or writing so many tensors of the input's and of the output's size.
    fn work(&self, convolutions: usize, inputs: usize, outputs: usize) -> Work {
        let (image_in, image_out) = (self.depthwise.image_in(), self.depthwise.image_out());
        let flops = 2 * convolutions * self.n * image_out * self.taps();
        Work { flops: flops as u64, bytes: (4 * self.n * (inputs * image_in + outputs * image_out)) as u64 }
    }

    /// Whether training keeps bf16: if it is asked for, and the rows of an output image divide into pairs of pixels.
    fn is_bf16(&self) -> bool {
        self.precision == Precision::Bf16 && self.depthwise.w_out().is_multiple_of(2)
    }

    fn taps(&self) -> usize {
        self.depthwise.kernel * self.depthwise.kernel
    }

    fn pixels_in(&self) -> usize {
        self.depthwise.h * self.depthwise.w
    }

    fn pixels_out(&self) -> usize {
        self.depthwise.h_out() * self.depthwise.w_out()
    }

    fn blocks(&self) -> Blocks {
        Blocks::about(VALUES_PER_TILE / self.pixels_in().max(self.pixels_out()), self.depthwise.c)
    }

    fn parameters<'a>(&self, x: &[f32], theta: &[&'a [f32]], y: &[f32]) -> Parameters<'a> {
        assert!(self.n > 0 && self.depthwise.image_in() > 0, "pixels of {self:?}");
        assert_eq!(x.len(), self.n * self.depthwise.image_in(), "images of {self:?}");
        assert_eq!(y.len(), self.n * self.depthwise.image_out(), "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        Parameters { weight: theta[0], gamma: theta[1], beta: theta[2] }
    }

    fn input<'a>(&self, x: &'a [f32], i: usize) -> &'a [f32] {
        &x[i * self.depthwise.image_in()..][..self.depthwise.image_in()]
    }

    /// Where a block of channels lies in an output image of `E` that is laid out block after block.
    fn tile<E: Element>(&self, channels: &Range<usize>) -> Range<usize> {
        let pixels = self.pixels_out();
        // Pairs are of neighboring pixels, of which there is an even number.
        pixels * channels.start / E::WIDTH..pixels * channels.end / E::WIDTH
    }
}

/// Convolves blocks of channels of one image after another.
struct Convolution<'a> {
    level: Level,
    g: &'a DepthwiseNormShape,
    /// The windows, block after block, `[taps, block]` each.
    windows: &'a [f32],
    frame: Frame,
}

impl<'a> Convolution<'a> {
    fn new(level: Level, g: &'a DepthwiseNormShape, windows: &'a [f32]) -> Self {
        Self { level, g, windows, frame: Frame::default() }
    }

    /// Takes a block of channels of the image `x`.
    fn take(&mut self, x: &[f32], channels: &Range<usize>) {
        let c = self.g.depthwise.c;
        self.frame.fit_input(&self.g.depthwise.with_channels(channels.len()));
        self.frame.copy_channels(x, c, channels.clone());
    }

    /// `d`, a block of channels of it.
    fn forward(&mut self, x: &[f32], channels: &Range<usize>, d: &mut [f32]) {
        self.take(x, channels);
        let taps = self.g.taps();
        let windows = &self.windows[channels.start * taps..channels.end * taps];
        image_forward(self.level, &self.g.depthwise.with_channels(channels.len()), &self.frame, windows, d);
    }
}

/// The windows of each block of channels, `[taps, block]`, one after the other.
fn windows_of(weight: &[f32], taps: usize, blocks: &Blocks) -> Vec<f32> {
    let block =
        |channels: Range<usize>| transposed(&weight[channels.start * taps..channels.end * taps], channels.len(), taps);
    blocks.iter().flat_map(block).collect()
}

/// `[n, h, w, c] -> [n, h', w', c]`, with the batch's statistics.
pub fn forward(g: &DepthwiseNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    Saved(match g.is_bf16() {
        false => Kept::F32(forward_with(g, x, theta, y)),
        true => Kept::Bf16(forward_with(g, x, theta, y)),
    })
}

fn forward_with<E: Element>(g: &DepthwiseNormShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Unit<E> {
    let Parameters { weight, gamma, beta } = g.parameters(x, theta, y);
    let (level, c, image, blocks) = (Level::best(), g.depthwise.c, g.depthwise.image_out(), g.blocks());
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

/// `[n, h, w, c] -> [n, h', w', c]` with given statistics: one mean and variance, as for other operations.
pub fn infer(g: &DepthwiseNormShape, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    assert_eq!(running.len(), 1, "statistics of {g:?}");
    let (mean, var) = running[0];
    let Parameters { weight, gamma, beta } = g.parameters(x, theta, y);
    let scale = scale(gamma, var, g.eps);
    let affine = Affine { mean, scale: &scale, bias: beta };
    if g.n == 1 {
        return infer_image(g, x, weight, affine, y);
    }
    let (level, c, image, blocks) = (Level::best(), g.depthwise.c, g.depthwise.image_out(), g.blocks());
    let windows = windows_of(weight, g.taps(), &blocks);
    for_parts(y, image, images_per_part(g.n), |first, y| {
        let mut convolution = Convolution::new(level, g, &windows);
        let mut tile = Buffer::new(g.pixels_out() * blocks.width());
        for (i, y) in y.chunks_exact_mut(image).enumerate() {
            for channels in blocks.iter() {
                let tile = &mut tile[..g.pixels_out() * channels.len()];
                convolution.forward(g.input(x, first + i), &channels, tile);
                let affine = affine.of(channels.clone());
                normalize_to(level, &tile[..], affine, g.activation, Target::block(y, c, &channels));
            }
        }
    });
}

/// A single image: the threads share its channels, then its rows. No value is a sum over either, so that the number of blocks may
/// be a matter of the number of threads.
fn infer_image(g: &DepthwiseNormShape, x: &[f32], weight: &[f32], affine: Affine, y: &mut [f32]) {
    let (level, c, pixels) = (Level::best(), g.depthwise.c, g.pixels_out());
    let blocks = Blocks::at_most(2 * rayon::current_num_threads(), LEAST_CHANNELS, c);
    let windows = windows_of(weight, g.taps(), &blocks);
    let tile = |channels: Range<usize>| {
        let mut tile = Buffer::new(pixels * channels.len());
        Convolution::new(level, g, &windows).forward(x, &channels, &mut tile);
        (channels, tile)
    };
    let tiles: Vec<_> = blocks.iter().collect::<Vec<_>>().into_par_iter().map(tile).collect();
    for_parts(y, c, ROWS, |row, y| {
        for (channels, tile) in &tiles {
            let rows = row * channels.len()..(row + y.len() / c) * channels.len();
            let affine = affine.of(channels.clone());
            normalize_to(level, &tile[rows], affine, g.activation, Target::block(y, c, channels));
        }
    });
}

/// The gradients of the parameters, and that of the input where `gx` asks for it.
pub fn backward(
    g: &DepthwiseNormShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &[f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    let Parameters { weight, beta, .. } = g.parameters(x, theta, gy);
    match &saved.0 {
        Kept::F32(unit) => Backward { level: Level::best(), g, x, weight, beta, unit, blocks: g.blocks() }.run(gy, gx),
        Kept::Bf16(unit) => Backward { level: Level::best(), g, x, weight, beta, unit, blocks: g.blocks() }.run(gy, gx),
    }
}

struct Backward<'a, E: Element> {
    level: Level,
    g: &'a DepthwiseNormShape,
    x: &'a [f32],
    weight: &'a [f32],
    beta: &'a [f32],
    unit: &'a Unit<E>,
    blocks: Blocks,
}

impl<E: Element> Backward<'_, E> {
    fn run(&self, gy: &[f32], gx: Option<&mut [f32]>) -> [Vec<f32>; 3] {
        let g = self.g;
        let mut gd = Elements::<E>::new(gy.len() / E::WIDTH);
        let sums = phase("backward activation", g.work(0, 0, 3), || self.activation(gy, &mut gd));
        let norm = self.unit.backward(&sums, g.eps);
        let slopes = [&norm.slope[..], &norm.offset];
        let windows = windows_of(self.weight, g.taps(), &self.blocks);
        let inputs = usize::from(gx.is_some());
        let parts = phase("backward depthwise", g.work(1 + inputs, 1 + inputs, 2), || match gx {
            Some(gx) => {
                assert_eq!(gx.len(), self.x.len(), "gradients of the images of {g:?}");
                map_parts_mut(gx, g.depthwise.image_in(), images_per_part(g.n), |first, gx| {
                    let images = first..first + gx.len() / g.depthwise.image_in();
                    self.part(images, &gd, slopes, &windows, Some(gx))
                })
            }
            None => map_parts(g.n, images_per_part(g.n), |images| self.part(images, &gd, slopes, &windows, None)),
        });
        [self.weight_gradient(&parts), norm.weight, norm.bias]
    }

    /// `gd`, the gradient of `bn(d)`, block after block, and its sums.
    fn activation(&self, gy: &[f32], gd: &mut [E]) -> Vec<GradientSums> {
        let Self { g, unit, .. } = self;
        let (c, image) = (g.depthwise.c, g.depthwise.image_out());
        map_parts_mut(gd, image / E::WIDTH, images_per_part(g.n), |first, gd| {
            let mut sums = GradientSums::new(c);
            let mut tile = Buffer::new(g.pixels_out() * self.blocks.width());
            for (i, gd) in gd.chunks_exact_mut(image / E::WIDTH).enumerate() {
                let i = first + i;
                let pre = &unit.pre[i * image / E::WIDTH..(i + 1) * image / E::WIDTH];
                for (channels, mut sums) in self.blocks.iter().zip(sums.blocks(&self.blocks)) {
                    let tile = &mut tile[..g.pixels_out() * channels.len()];
                    gather(&gy[i * image..(i + 1) * image], tile, c, channels.clone());
                    let at = g.tile::<E>(&channels);
                    let of = (&pre[at.clone()], unit.affine(self.beta).of(channels), g.activation);
                    streamed(&mut gd[at], |gd| sums.add(self.level, of, tile, Gradients(gd)));
                }
            }
            sums
        })
    }

    /// Back through the batch norm and the convolution: some images' part of the windows' gradient, block after block, and their
    /// `gx`.
    fn part(
        &self,
        images: Range<usize>,
        gd: &[E],
        slopes: [&[f32]; 2],
        windows: &[f32],
        mut gx: Option<&mut [f32]>,
    ) -> Vec<f32> {
        let Self { level, g, unit, .. } = *self;
        let (c, taps, image) = (g.depthwise.c, g.taps(), g.depthwise.image_out() / E::WIDTH);
        let mut gwindows = vec![0.; taps * c];
        let mut input = Convolution::new(level, g, windows);
        let mut gradient = Frame::default();
        let mut tile = Buffer::new(g.pixels_in() * self.blocks.width());
        for (at, i) in images.enumerate() {
            let (pre, gd) = (&unit.pre[i * image..(i + 1) * image], &gd[i * image..(i + 1) * image]);
            for channels in self.blocks.iter() {
                let geometry = g.depthwise.with_channels(channels.len());
                let of = g.tile::<E>(&channels);
                let affine = unit.affine(self.beta).of(channels.clone());
                let slopes = slopes.map(|values| &values[channels.clone()]);
                gradient.fit_output(&geometry);
                input_gradient_to(level, &pre[of.clone()], &gd[of], affine, slopes, gradient.target());
                input.take(g.input(self.x, i), &channels);
                let of = channels.start * taps..channels.end * taps;
                image_backward_weight(level, &geometry, &input.frame, &gradient, &mut gwindows[of.clone()]);
                let Some(gx) = gx.as_deref_mut() else { continue };
                let tile = &mut tile[..g.pixels_in() * channels.len()];
                image_backward_input(level, &geometry, &gradient, &windows[of], tile);
                scatter(tile, &mut gx[at * g.depthwise.image_in()..][..g.depthwise.image_in()], c, channels);
            }
        }
        gwindows
    }

    /// The sum of the parts' gradients of the windows, laid out as the weight.
    fn weight_gradient(&self, parts: &[Vec<f32>]) -> Vec<f32> {
        let (taps, gwindows) = (self.g.taps(), added_up(parts));
        let block = |channels: Range<usize>| {
            transposed(&gwindows[channels.start * taps..channels.end * taps], taps, channels.len())
        };
        self.blocks.iter().flat_map(block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;
    use crate::{batch_norm, depthwise};

    fn shapes() -> impl Iterator<Item = DepthwiseNormShape> {
        let sizes = [
            // Kernel, stride, dilation, images, image, channels.
            (3, 1, 1, 5, (6, 7), 16),
            (3, 2, 1, 2, (7, 5), 9),
            (5, 1, 1, 1, (9, 8), 40),
            (5, 2, 1, 33, (5, 6), 24),
            (3, 1, 2, 3, (7, 8), 33),
            (5, 2, 2, 1, (11, 10), 7),
            // Several blocks of channels, in training too.
            (3, 1, 1, 2, (40, 37), 50),
            (3, 2, 1, 1, (61, 64), 64),
        ];
        sizes.into_iter().flat_map(|(kernel, stride, dilation, n, (h, w), c)| {
            let padding = dilation * (kernel / 2);
            let depthwise = DepthwiseShape { h, w, c, kernel, stride, dilation, padding };
            let shape =
                move |activation| DepthwiseNormShape { n, depthwise, activation, eps: 1e-3, precision: Precision::F32 };
            Activation::ALL.into_iter().map(shape)
        })
    }

    struct Arguments {
        x: Vec<f32>,
        theta: [Vec<f32>; 3],
        gy: Vec<f32>,
    }

    impl Arguments {
        fn new(g: &DepthwiseNormShape) -> Self {
            let mut seed = 1;
            let theta = g.parameter_lengths().map(|len| {
                seed += 1;
                values(len, seed)
            });
            Self { x: values(g.n * g.depthwise.image_in(), 1), theta, gy: values(g.n * g.depthwise.image_out(), 5) }
        }

        fn theta(&self) -> [&[f32]; 3] {
            [&self.theta[0], &self.theta[1], &self.theta[2]]
        }
    }

    /// Output, gradient of the input, gradients of the parameters, mean and variance.
    fn outcome(g: &DepthwiseNormShape, arguments: &Arguments) -> Vec<Vec<f32>> {
        let Arguments { x, gy, .. } = arguments;
        let theta = arguments.theta();
        let (mut y, mut gx) = (vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()]);
        let saved = forward(g, x, &theta, &mut y);
        let without = backward(g, x, &theta, &saved, gy, None);
        let gtheta = backward(g, x, &theta, &saved, gy, Some(&mut gx));
        assert_eq!(without, gtheta);
        let Statistics { mean, var } = saved.statistics().clone();
        [y, gx].into_iter().chain(gtheta).chain([mean, var]).collect()
    }

    fn assert_close(got: &[f32], expected: &[f32], what: &str) {
        assert_eq!(got.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(1f32, |m, e| m.max(e.abs()));
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 2e-5 * largest, "{what}: {g} {e}");
        }
    }

    /// The operation is its parts, one after the other.
    #[test]
    fn agrees_with_its_parts() {
        for g in shapes() {
            let arguments = Arguments::new(&g);
            let Arguments { x, theta: [weight, gamma, beta], gy } = &arguments;
            let (depthwise, c, taps) = (g.depthwise, g.depthwise.c, g.taps());
            let windows = transposed(weight, c, taps);
            let mut pre = vec![0.; gy.len()];
            depthwise::forward(&depthwise, x, &windows, &mut pre);
            let statistics = batch_norm::statistics(&pre, c);
            let Statistics { mean, var } = &statistics;
            let mut y = vec![0.; gy.len()];
            let affine = Affine { mean, scale: &scale(gamma, var, g.eps), bias: beta };
            batch_norm::forward(&pre, affine, g.activation, &mut y);
            let parameters = batch_norm::NormParameters { mean, var, weight: gamma, bias: beta, eps: g.eps };
            let norm = batch_norm::backward(&pre, gy, parameters, g.activation, true);
            let (mut gwindows, mut gx) = (vec![0.; weight.len()], vec![0.; x.len()]);
            depthwise::backward_weight(&depthwise, x, &norm.xs, &mut gwindows);
            depthwise::backward_input(&depthwise, &norm.xs, &windows, &mut gx);
            let gweight = transposed(&gwindows, taps, c);

            let found = outcome(&g, &arguments);
            let names = ["y", "gx", "weight", "gamma", "beta", "mean", "var"];
            let expected = [&y, &gx, &gweight, &norm.weight, &norm.bias, mean, var];
            for ((name, found), expected) in names.iter().zip(&found).zip(expected) {
                assert_close(found, expected, &format!("{name} of {g:?}"));
            }
            let mut inferred = vec![f32::NAN; y.len()];
            infer(&g, x, &arguments.theta(), &[(mean, var)], &mut inferred);
            assert_close(&inferred, &y, &format!("inference of {g:?}"));
        }
    }

    #[test]
    fn threads_change_no_bit() {
        for g in shapes().filter(|g| g.activation == Activation::HSwish) {
            let arguments = Arguments::new(&g);
            let (mean, var) = (values(g.depthwise.c, 7), vec![0.5; g.depthwise.c]);
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let mut y = vec![f32::NAN; arguments.gy.len()];
                    infer(&g, &arguments.x, &arguments.theta(), &[(&mean, &var)], &mut y);
                    (y, outcome(&g, &arguments))
                })
            };
            let expected = run(1);
            for threads in [2, 3, 5, 8] {
                assert!(run(threads) == expected, "{threads} threads, {g:?}");
            }
        }
    }

    /// Without kinks (few values come near those of h-swish) bf16 is float32 but for its rounding; images whose rows are of an
    /// odd number of pixels stay float32.
    #[test]
    fn bf16_is_float32_but_for_its_rounding() {
        for g in shapes().filter(|g| g.activation == Activation::HSwish) {
            let arguments = Arguments::new(&g);
            let bf16 = DepthwiseNormShape { precision: Precision::Bf16, ..g };
            let (exact, rounded) = (outcome(&g, &arguments), outcome(&bf16, &arguments));
            assert_eq!(bf16.is_bf16(), exact != rounded, "{g:?}");
            for (i, (exact, rounded)) in exact.iter().zip(&rounded).enumerate() {
                let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
                let difference = square(&mut exact.iter().zip(rounded).map(|(a, b)| a - b));
                let share = (difference / square(&mut exact.iter().copied())).sqrt();
                assert!(share < 0.03, "{i}: {share} off, {g:?}");
            }
        }
    }
}
