//! The sizes of the operation, and what follows from them.

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::conv::ConvShape;
use crate::origin::Origin;
use crate::profile::Work;
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

impl ConvNormShape {
    /// How long each parameter is, in the order of `theta`: the weight (`[c_out, c_in, k, k]`), batch norm's weight and
    /// bias.
    pub fn parameter_lengths(&self) -> [usize; 3] {
        [self.conv.c_out * self.conv.unfolded(), self.conv.c_out, self.conv.c_out]
    }

    /// Whether training multiplies bf16: if it is asked for, and pairs of channels and of pixels divide every operand
    /// evenly. (The 27 values of the stem's windows are no pairs.)
    pub(super) fn is_bf16(&self) -> bool {
        let sizes = [self.conv.unfolded(), self.conv.c_out, self.conv.pixels_out()];
        self.precision == Precision::Bf16 && sizes.iter().all(|size| size.is_multiple_of(2))
    }

    pub(super) fn image_in(&self) -> usize {
        self.conv.h * self.conv.w * self.conv.c_in
    }

    pub(super) fn image_out(&self) -> usize {
        self.conv.pixels_out() * self.conv.c_out
    }

    pub(super) fn parameters<'a>(&self, x: &[f32], theta: &[&'a [f32]], y: &[f32]) -> [&'a [f32]; 3] {
        assert_eq!(x.len(), self.n * self.image_in(), "images of {self:?}");
        assert_eq!(y.len(), self.n * self.image_out(), "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        assert!(self.n > 0 && self.image_in() > 0, "pixels of {self:?}");
        std::array::from_fn(|i| theta[i])
    }

    /// The rows of some images.
    pub(super) fn rows<'a>(&self, x: &'a [f32], scratch: &'a mut Buffer) -> &'a [f32] {
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

    /// The mean of some windows' rows: of the middle pixels of all images, or of the middle row of the first one's
    /// windows.
    pub(super) fn origin(&self, x: &[f32]) -> Origin {
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

    /// The work of [`infer`](super::infer): one product; the input is read and the output written once.
    pub fn inference_work(&self) -> Work {
        self.work(1, [1, 1])
    }

    /// The work of so many products, and of reading or writing so many tensors of the input's and of the output's size.
    pub(super) fn work(&self, products: usize, tensors: [usize; 2]) -> Work {
        let flops = 2 * products * self.n * self.image_out() * self.conv.unfolded();
        let values = self.n * (tensors[0] * self.image_in() + tensors[1] * self.image_out());
        Work { flops: flops as u64, bytes: 4 * values as u64 }
    }
}
