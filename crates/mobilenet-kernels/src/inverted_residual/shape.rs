//! The sizes of a block, its parameters, and what its phases cost.

use crate::activation::Activation;
use crate::depthwise::DepthwiseShape;
use crate::profile::Work;
use mobilenet_arch::Precision;

/// The sizes of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BottleneckShape {
    /// Images.
    pub n: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Whether there is an expansion; without, `depthwise.c` is `c_in`.
    pub has_expand: bool,
    /// The depthwise convolution, over the expanded channels.
    pub depthwise: DepthwiseShape,
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
pub(super) struct ConvNorm<'a> {
    pub(super) weight: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
}

pub(super) struct SqueezeExcite<'a> {
    pub(super) weight1: &'a [f32],
    pub(super) bias1: &'a [f32],
    pub(super) weight2: &'a [f32],
    pub(super) bias2: &'a [f32],
}

pub(super) struct BlockParameters<'a> {
    pub(super) expand: Option<ConvNorm<'a>>,
    pub(super) depthwise: ConvNorm<'a>,
    pub(super) squeeze_excite: Option<SqueezeExcite<'a>>,
    pub(super) project: ConvNorm<'a>,
}

/// What a phase passes over, and how often: the multiplications of the block's convolutions, and the tensors between
/// them, which it reads or writes.
#[derive(Clone, Copy, Default)]
pub(super) struct Passes {
    pub(super) expansions: usize,
    pub(super) filters: usize,
    pub(super) projections: usize,
    pub(super) inputs: usize,
    pub(super) expanded_inputs: usize,
    pub(super) expanded_outputs: usize,
    pub(super) outputs: usize,
}

impl BottleneckShape {
    /// How long each parameter is, in the order of `theta`: weight, norm weight and norm bias of the
    /// expansion (if any) and of the depthwise convolution, the weights and biases of squeeze-and-excite (if any), and
    /// the projection's three. Weights are laid out as in PyTorch.
    pub fn parameter_lengths(&self) -> Vec<usize> {
        let c = self.depthwise.c;
        let mut lengths = Vec::new();
        if self.has_expand {
            lengths.extend([c * self.c_in, c, c]);
        }
        lengths.extend([c * self.taps(), c, c]);
        if let Some(s) = self.squeeze {
            lengths.extend([s * c, s, c * s, c]);
        }
        lengths.extend([self.c_out * c, self.c_out, self.c_out]);
        lengths
    }

    pub(super) fn split<'a>(&self, theta: &[&'a [f32]]) -> BlockParameters<'a> {
        let mut parts = theta.iter().copied();
        let mut next = || parts.next().unwrap_or(&[]);
        let unit = |next: &mut dyn FnMut() -> &'a [f32]| ConvNorm { weight: next(), gamma: next(), beta: next() };
        let expand = self.has_expand.then(|| unit(&mut next));
        let depthwise = unit(&mut next);
        let squeeze_excite =
            self.squeeze.map(|_| SqueezeExcite { weight1: next(), bias1: next(), weight2: next(), bias2: next() });
        BlockParameters { expand, depthwise, squeeze_excite, project: unit(&mut next) }
    }

    /// Pixels of an input image.
    pub(super) fn pixels_in(&self) -> usize {
        self.depthwise.h * self.depthwise.w
    }

    /// Pixels of an output image.
    pub(super) fn pixels_out(&self) -> usize {
        self.depthwise.h_out() * self.depthwise.w_out()
    }

    /// Taps of a window.
    pub(super) fn taps(&self) -> usize {
        self.depthwise.kernel * self.depthwise.kernel
    }

    /// Whether training keeps and multiplies bf16: if it is asked for, and pairs of channels and of neighboring pixels
    /// divide every tensor evenly. (Channels of these networks are multiples of 8; an image of 7×7 has odd rows.)
    pub(super) fn is_bf16(&self) -> bool {
        let sizes = [self.c_in, self.depthwise.c, self.c_out, self.depthwise.w, self.depthwise.w_out()];
        self.precision == Precision::Bf16 && sizes.iter().all(|size| size.is_multiple_of(2))
    }

    /// The work of [`infer`](super::infer): every convolution once; the input is read and the output written once, what
    /// is between them stays in the cache.
    pub fn inference_work(&self) -> Work {
        let expansions = usize::from(self.has_expand);
        self.work(Passes { expansions, filters: 1, projections: 1, inputs: 1, outputs: 1, ..Passes::default() })
    }

    pub(super) fn work(&self, passes: Passes) -> Work {
        let (rows_in, rows_out, c) = (self.n * self.pixels_in(), self.n * self.pixels_out(), self.depthwise.c);
        let multiplications = passes.expansions * rows_in * c * self.c_in
            + passes.filters * rows_out * c * self.taps()
            + passes.projections * rows_out * c * self.c_out;
        let narrow = passes.inputs * rows_in * self.c_in + passes.outputs * rows_out * self.c_out;
        let expanded = (passes.expanded_inputs * rows_in + passes.expanded_outputs * rows_out) * c;
        let bytes = 4 * narrow + if self.is_bf16() { 2 } else { 4 } * expanded;
        Work { flops: 2 * multiplications as u64, bytes: bytes as u64 }
    }

    pub(super) fn assert_fits(&self, x: &[f32], theta: &[&[f32]], y: &[f32]) {
        assert_eq!(x.len(), self.n * self.pixels_in() * self.c_in, "images of {self:?}");
        assert_eq!(y.len(), self.n * self.pixels_out() * self.c_out, "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        assert!(self.has_expand || self.depthwise.c == self.c_in, "channels of {self:?}");
        assert!(!self.has_residual || x.len() == y.len(), "residual of {self:?}");
        assert!(self.n > 0 && self.pixels_in() > 0, "pixels of {self:?}");
    }
}
