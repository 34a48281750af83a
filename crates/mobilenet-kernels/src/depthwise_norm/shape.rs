//! The sizes of the operation, and what follows from them.

use std::ops::Range;

use crate::activation::Activation;
use crate::blocks::Blocks;
use crate::depthwise::DepthwiseShape;
use crate::element::Element;
use crate::profile::Work;
use mobilenet_arch::Precision;

/// Values of a tile, an image's block of channels: 192 KiB, of which a few fit into a core's L2.
const VALUES_PER_TILE: usize = 48 << 10;

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

/// The three parameters.
pub(super) struct Parameters<'a> {
    /// `[c, k, k]`
    pub(super) weight: &'a [f32],
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
}

impl DepthwiseNormShape {
    /// How long each parameter is, in the order of `theta`: the weight (`[c, 1, k, k]`), batch norm's weight and bias.
    pub fn parameter_lengths(&self) -> [usize; 3] {
        [self.depthwise.c * self.taps(), self.depthwise.c, self.depthwise.c]
    }

    /// The work of [`infer`](super::infer): one convolution; the input is read and the output written once.
    pub fn inference_work(&self) -> Work {
        self.work(1, 1, 1)
    }

    /// The work of so many convolutions, and of reading or writing so many tensors of the input's and of the output's
    /// size.
    pub(super) fn work(&self, convolutions: usize, inputs: usize, outputs: usize) -> Work {
        let (image_in, image_out) = (self.depthwise.image_in(), self.depthwise.image_out());
        let flops = 2 * convolutions * self.n * image_out * self.taps();
        Work { flops: flops as u64, bytes: (4 * self.n * (inputs * image_in + outputs * image_out)) as u64 }
    }

    /// Whether training keeps bf16: if it is asked for, and the rows of an output image divide into pairs of pixels.
    pub(super) fn is_bf16(&self) -> bool {
        self.precision == Precision::Bf16 && self.depthwise.w_out().is_multiple_of(2)
    }

    pub(super) fn taps(&self) -> usize {
        self.depthwise.kernel * self.depthwise.kernel
    }

    pub(super) fn pixels_in(&self) -> usize {
        self.depthwise.h * self.depthwise.w
    }

    pub(super) fn pixels_out(&self) -> usize {
        self.depthwise.h_out() * self.depthwise.w_out()
    }

    pub(super) fn blocks(&self) -> Blocks {
        Blocks::about(VALUES_PER_TILE / self.pixels_in().max(self.pixels_out()), self.depthwise.c)
    }

    pub(super) fn parameters<'a>(&self, x: &[f32], theta: &[&'a [f32]], y: &[f32]) -> Parameters<'a> {
        assert!(self.n > 0 && self.depthwise.image_in() > 0, "pixels of {self:?}");
        assert_eq!(x.len(), self.n * self.depthwise.image_in(), "images of {self:?}");
        assert_eq!(y.len(), self.n * self.depthwise.image_out(), "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        Parameters { weight: theta[0], gamma: theta[1], beta: theta[2] }
    }

    pub(super) fn input<'a>(&self, x: &'a [f32], i: usize) -> &'a [f32] {
        &x[i * self.depthwise.image_in()..][..self.depthwise.image_in()]
    }

    /// Where a block of channels lies in an output image of `E` that is laid out block after block.
    pub(super) fn tile<E: Element>(&self, channels: &Range<usize>) -> Range<usize> {
        let pixels = self.pixels_out();
        // Pairs are of neighboring pixels, of which there is an even number.
        pixels * channels.start / E::WIDTH..pixels * channels.end / E::WIDTH
    }
}
