//! A sliding window: its geometry, and the images its taps see.

use candle_core::{Result, Tensor};

/// The geometry of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Distance of the window's taps.
    pub dilation: usize,
    /// Zeros around the image.
    pub padding: usize,
}

impl Window {
    /// The padding that keeps the size of the image at stride 1: `dilation * (kernel - 1) / 2`.
    pub fn same(kernel: usize, stride: usize, dilation: usize) -> Self {
        Self { kernel, stride, dilation, padding: dilation.saturating_mul(kernel.saturating_sub(1)) / 2 }
    }

    /// The length of the output along one axis of length `len`; 0 if the window does not fit, or never steps.
    pub fn output_len(&self, len: usize) -> usize {
        let reach = self.dilation.saturating_mul(self.kernel.saturating_sub(1)).saturating_add(1);
        let padded = len.saturating_add(self.padding.saturating_mul(2));
        padded.checked_sub(reach).and_then(|room| room.checked_div(self.stride)).map_or(0, |steps| steps + 1)
    }

    /// What each tap sees, row by row of the window: `[n, c, h, w] -> k² · [n, c, h', w']`, in Candle's own ops.
    pub(crate) fn taps(&self, xs: &Tensor) -> Result<Vec<Tensor>> {
        let &Self { kernel, stride, dilation, padding } = self;
        let (n, c, h, w) = xs.dims4()?;
        let (h_out, w_out) = (self.output_len(h), self.output_len(w));
        // Rows and columns enough for every tap to see a whole number of strides.
        let pad_end =
            |len: usize, len_out: usize| ((kernel - 1) * dilation + len_out * stride).saturating_sub(len + padding);
        let xs = xs.pad_with_zeros(2, padding, pad_end(h, h_out))?.pad_with_zeros(3, padding, pad_end(w, w_out))?;
        let mut taps = Vec::with_capacity(kernel * kernel);
        for row in 0..kernel {
            for col in 0..kernel {
                let tap = xs
                    .narrow(2, row * dilation, h_out * stride)?
                    .narrow(3, col * dilation, w_out * stride)?
                    .contiguous()?
                    .reshape((n, c, h_out, stride, w_out, stride))?
                    .narrow(3, 0, 1)?
                    .narrow(5, 0, 1)?
                    .contiguous()?
                    .reshape((n, c, h_out, w_out))?;
                taps.push(tap);
            }
        }
        Ok(taps)
    }
}
