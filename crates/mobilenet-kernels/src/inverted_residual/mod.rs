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
use crate::depthwise;
use crate::matmul::transposed;
use crate::profile::Work;
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

    /// The work of a phase that passes `products` times over the expansion's or the projection's multiplications, `filters`
    /// times over the depthwise convolution's, and reads or writes so many tensors: of the input's size, of the expanded
    /// input's, of the expanded output's, of the output's.
    fn work(&self, products: [usize; 2], filters: usize, tensors: [usize; 4]) -> Work {
        let (rows_in, rows_out, c) = (self.n * self.pixels_in(), self.n * self.pixels_out(), self.depthwise.c);
        let taps = self.depthwise.kernel * self.depthwise.kernel;
        let products = products[0] * rows_in * c * self.c_in + products[1] * rows_out * c * self.c_out;
        let sizes = [rows_in * self.c_in, rows_in * c, rows_out * c, rows_out * self.c_out];
        let values: usize = sizes.iter().zip(tensors).map(|(size, n)| size * n).sum();
        Work { flops: 2 * (products + filters * rows_out * c * taps) as u64, bytes: 4 * values as u64 }
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
pub struct Saved {
    expand: Option<Unit>,
    depthwise: Unit,
    gates: Option<Gates>,
    project: Unit,
}

impl Saved {
    /// The batch's statistics: of the expansion (if any), the depthwise convolution, and the projection.
    pub fn statistics(&self) -> (Option<&Statistics>, &Statistics, &Statistics) {
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
