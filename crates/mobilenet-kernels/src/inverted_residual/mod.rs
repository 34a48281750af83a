//! A whole block: expand, batch norm, activation, depthwise, batch norm, activation, squeeze-and-excite, project, batch norm,
//! residual; in training, forward and backward, and in inference.
//!
//! What costs time here is memory: the expanded tensors are six times as large as the block's input. So of each
//! convolution only its output is kept, and what batch norm and activation make of it is computed again wherever it is
//! needed. Batch norm's statistics are sums over the whole batch, which splits the work into phases:
//!
//! ```text
//! forward    expand      x -> e                     depthwise   act(bn(e)) -> d
//!            project     act(bn(d)) · gate -> p     output      bn(p) + x
//! backward   project     gy, p, d -> gd (the gradient of bn(d)), weight
//!            depthwise   gd, d, e -> ge (the gradient of bn(e)), which is at once multiplied into gx and the weight
//!            input       the rest of bn(e)'s gradient, and gy -> gx
//! ```
//!
//! Of the expanded tensors, the forward writes and reads `e` and `d` once; the backward reads `d` twice and `e` once, and
//! writes and reads `gd`. The `backward` file says why `ge` never leaves the cache.
//!
//! A phase walks over tiles: a few images by a block of channels, small enough for a core's cache (`tiling`). The expanded
//! tensors are private to the block, so they are laid out tile after tile. Images are divided into parts, worked on in
//! parallel; each has partial sums of its own, added up in order.

mod backward;
mod forward;
mod gates;
mod infer;
mod tiling;

pub use backward::backward;
pub use forward::forward;
pub use infer::infer;

use crate::activation::Activation;
use crate::batch_norm::{Statistics, Unit};
use crate::bf16::Pair;
use crate::depthwise;
use crate::element::Element;
use crate::matmul::transposed;
use crate::precision::Precision;
use crate::profile::Work;
use crate::rows::pack_rows;
use crate::simd::Level;
use gates::Gates;
use tiling::Tiling;

/// The sizes of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Whether there is an expansion; without, `depthwise.c` is `c_in`.
    pub has_expand: bool,
    /// The depthwise convolution, over the expanded channels.
    pub depthwise: depthwise::Geometry,
    /// The hidden width of the squeeze-and-excite.
    pub squeeze: Option<usize>,
    /// After the expansion and after the depthwise convolution.
    pub activation: Activation,
    /// Whether the input is added to the output.
    pub has_residual: bool,
    /// Added to the variances.
    pub eps: f64,
    /// Of the expanded tensors and of the products, in training.
    pub precision: Precision,
}

/// A convolution's weight, and its batch norm's weight and bias.
struct ConvNorm<'a> {
    weight: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
}

struct SqueezeExcite<'a> {
    weight1: &'a [f32],
    bias1: &'a [f32],
    weight2: &'a [f32],
    bias2: &'a [f32],
}

struct Parameters<'a> {
    expand: Option<ConvNorm<'a>>,
    depthwise: ConvNorm<'a>,
    squeeze_excite: Option<SqueezeExcite<'a>>,
    project: ConvNorm<'a>,
}

impl Geometry {
    /// How long each parameter is, in the order of `theta`: weight, norm weight and norm bias of the
    /// expansion (if any) and of the depthwise convolution, the weights and biases of squeeze-and-excite (if any), and the
    /// projection's three. Weights are laid out as in PyTorch.
    pub fn parameter_lengths(&self) -> Vec<usize> {
        let (c, k) = (self.depthwise.c, self.depthwise.kernel);
        let mut lengths = Vec::new();
        if self.has_expand {
            lengths.extend([c * self.c_in, c, c]);
        }
        lengths.extend([c * k * k, c, c]);
        if let Some(s) = self.squeeze {
            lengths.extend([s * c, s, c * s, c]);
        }
        lengths.extend([self.c_out * c, self.c_out, self.c_out]);
        lengths
    }

    fn split<'a>(&self, theta: &[&'a [f32]]) -> Parameters<'a> {
        let mut parts = theta.iter().copied();
        let mut next = || parts.next().unwrap_or(&[]);
        let unit = |next: &mut dyn FnMut() -> &'a [f32]| ConvNorm { weight: next(), gamma: next(), beta: next() };
        let expand = self.has_expand.then(|| unit(&mut next));
        let depthwise = unit(&mut next);
        let squeeze_excite =
            self.squeeze.map(|_| SqueezeExcite { weight1: next(), bias1: next(), weight2: next(), bias2: next() });
        Parameters { expand, depthwise, squeeze_excite, project: unit(&mut next) }
    }

    /// Pixels of an input image.
    fn pixels_in(&self) -> usize {
        self.depthwise.h * self.depthwise.w
    }

    /// Pixels of an output image.
    fn pixels_out(&self) -> usize {
        self.depthwise.h_out() * self.depthwise.w_out()
    }

    /// Whether training keeps and multiplies bf16: if it is asked for, and pairs of channels and of neighboring pixels divide
    /// every tensor evenly. (Channels of these networks are multiples of 8; an image of 7×7 has odd rows.)
    fn is_bf16(&self) -> bool {
        let sizes = [self.c_in, self.depthwise.c, self.c_out, self.depthwise.w, self.depthwise.w_out()];
        self.precision == Precision::Bf16 && sizes.iter().all(|size| size.is_multiple_of(2))
    }

    /// The work of [`infer`]: every convolution once; the input is read and the output written once, what is between them
    /// stays in the cache.
    pub fn inference_work(&self) -> Work {
        self.work([usize::from(self.has_expand), 1], 1, [1, 0, 0, 1])
    }

    /// The work of a phase that passes `products` times over the expansion's or the projection's multiplications, `filters`
    /// times over the depthwise convolution's, and reads or writes so many tensors: of the input's size, of the expanded
    /// input's, of the expanded output's, of the output's.
    fn work(&self, products: [usize; 2], filters: usize, tensors: [usize; 4]) -> Work {
        let (rows_in, rows_out, c) = (self.n * self.pixels_in(), self.n * self.pixels_out(), self.depthwise.c);
        let taps = self.depthwise.kernel * self.depthwise.kernel;
        let products = products[0] * rows_in * c * self.c_in + products[1] * rows_out * c * self.c_out;
        let sizes = [rows_in * self.c_in, rows_in * c, rows_out * c, rows_out * self.c_out];
        let expanded = if self.is_bf16() { 2 } else { 4 };
        let bytes: usize = (0..4).map(|i| sizes[i] * tensors[i] * if i == 1 || i == 2 { expanded } else { 4 }).sum();
        Work { flops: 2 * (products + filters * rows_out * c * taps) as u64, bytes: bytes as u64 }
    }

    fn assert_fits(&self, x: &[f32], theta: &[&[f32]], y: &[f32]) {
        assert_eq!(x.len(), self.n * self.pixels_in() * self.c_in, "images of {self:?}");
        assert_eq!(y.len(), self.n * self.pixels_out() * self.c_out, "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        assert!(self.has_expand || self.depthwise.c == self.c_in, "channels of {self:?}");
        assert!(!self.has_residual || x.len() == y.len(), "residual of {self:?}");
        assert!(self.n > 0 && self.pixels_in() > 0, "pixels of {self:?}");
    }
}

/// What a forward leaves for its backward.
pub struct Saved(Kept);

enum Kept {
    F32(Units<f32>),
    Bf16(Units<Pair>),
}

/// The convolutions' outputs, of which the expanded ones consist of `E`.
struct Units<E: Element> {
    expand: Option<Unit<E>>,
    depthwise: Unit<E>,
    gates: Option<Gates>,
    project: Unit,
}

impl Saved {
    /// The batch's statistics: of the expansion (if any), the depthwise convolution, and the projection.
    pub fn statistics(&self) -> (Option<&Statistics>, &Statistics, &Statistics) {
        match &self.0 {
            Kept::F32(units) => units.statistics(),
            Kept::Bf16(units) => units.statistics(),
        }
    }
}

impl<E: Element> Units<E> {
    fn statistics(&self) -> (Option<&Statistics>, &Statistics, &Statistics) {
        (self.expand.as_ref().map(|e| &e.statistics), &self.depthwise.statistics, &self.project.statistics)
    }
}

/// The rows of `weight`, `[c, inner]`, transposed block by block: `[inner, block]` for each, one after the other.
fn transposed_blocks(weight: &[f32], inner: usize, tiling: &Tiling) -> Vec<f32> {
    let mut blocks = Vec::with_capacity(weight.len());
    for channels in tiling.blocks() {
        let rows = &weight[channels.start * inner..channels.end * inner];
        blocks.extend(transposed(rows, channels.len(), inner));
    }
    blocks
}

/// Blocks `[inner, block]`, one after the other, as the right sides of products over `inner`.
fn right_blocks<E: Element>(level: Level, blocks: &[f32], inner: usize, tiling: &Tiling) -> Vec<E> {
    let mut packed = vec![E::default(); blocks.len() / E::WIDTH];
    for channels in tiling.blocks() {
        let block = channels.start * inner..channels.end * inner;
        let to = &mut packed[block.start / E::WIDTH..block.end / E::WIDTH];
        pack_rows(level, &blocks[block], channels.len(), to);
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    const BASE: Geometry = Geometry {
        n: 5,
        c_in: 16,
        c_out: 16,
        has_expand: true,
        depthwise: depthwise::Geometry { h: 8, w: 6, c: 40, kernel: 3, stride: 1, dilation: 1, padding: 1 },
        squeeze: None,
        activation: Activation::HSwish,
        has_residual: false,
        eps: 1e-3,
        precision: Precision::F32,
    };

    /// Output, gradients and statistics.
    fn outcome(g: &Geometry) -> Vec<Vec<f32>> {
        let x = values(g.n * g.pixels_in() * g.c_in, 1);
        let theta: Vec<Vec<f32>> =
            g.parameter_lengths().into_iter().enumerate().map(|(i, len)| values(len, 2 + i as u64)).collect();
        let theta: Vec<&[f32]> = theta.iter().map(Vec::as_slice).collect();
        let mut y = vec![f32::NAN; g.n * g.pixels_out() * g.c_out];
        let saved = forward(g, &x, &theta, &mut y);
        let (gx, gtheta) = backward(g, &x, &theta, &saved, &values(y.len(), 99));
        let (expand, depthwise, project) = saved.statistics();
        let statistics = expand.into_iter().chain([depthwise, project]).flat_map(|s| [s.mean.clone(), s.var.clone()]);
        [y, gx.to_vec()].into_iter().chain(gtheta).chain(statistics.collect::<Vec<_>>()).collect()
    }

    fn root_mean_square(values: impl Iterator<Item = f32> + Clone) -> f64 {
        let n = values.clone().count() as f64;
        (values.map(|v| f64::from(v).powi(2)).sum::<f64>() / n).sqrt()
    }

    /// Without kinks (few values come near those of h-swish) bf16 is float32 but for its rounding.
    #[test]
    fn bf16_is_float32_but_for_its_rounding() {
        let depthwise = BASE.depthwise;
        for g in [
            BASE,
            Geometry { has_residual: true, n: 1, ..BASE },
            Geometry { squeeze: Some(8), c_out: 24, ..BASE },
            Geometry { squeeze: Some(8), has_residual: true, n: 33, ..BASE },
            Geometry { depthwise: depthwise::Geometry { kernel: 5, stride: 2, padding: 2, w: 8, ..depthwise }, ..BASE },
            Geometry { depthwise: depthwise::Geometry { dilation: 2, padding: 2, ..depthwise }, ..BASE },
            Geometry { has_expand: false, depthwise: depthwise::Geometry { c: 16, ..depthwise }, ..BASE },
            // Blocks of channels, and a number of them that is no multiple of a register.
            Geometry { depthwise: depthwise::Geometry { c: 202, h: 16, w: 16, ..depthwise }, ..BASE },
        ] {
            let bf16 = Geometry { precision: Precision::Bf16, ..g };
            assert!(bf16.is_bf16());
            for (i, (exact, rounded)) in outcome(&g).iter().zip(outcome(&bf16)).enumerate() {
                let difference = root_mean_square(exact.iter().zip(&rounded).map(|(a, b)| a - b));
                let share = difference / root_mean_square(exact.iter().copied());
                assert!(share < 0.03, "{i}: {share} off, {g:?}");
                assert!(i > 0 || difference > 0., "the output was not rounded, {g:?}");
            }
        }
    }

    /// Odd numbers of channels or of columns do not divide into pairs: such a block is float32 whatever is asked for.
    #[test]
    fn what_does_not_divide_into_pairs_stays_float32() {
        for depthwise in [
            depthwise::Geometry { c: 41, ..BASE.depthwise },
            depthwise::Geometry { w: 7, ..BASE.depthwise },
            depthwise::Geometry { stride: 2, ..BASE.depthwise },
        ] {
            let g = Geometry { depthwise, ..BASE };
            assert_eq!(outcome(&g), outcome(&Geometry { precision: Precision::Bf16, ..g }));
        }
    }
}
