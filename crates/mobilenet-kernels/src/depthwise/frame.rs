//! Images inside a frame of zeros, so that no kernel asks where the border is.

use std::ops::Range;

use super::DepthwiseShape;
use crate::buffer::Buffer;
use crate::rows::Target;

/// One image inside a frame of zeros.
#[derive(Default)]
pub(crate) struct Frame {
    pub(super) values: Buffer,
    h: usize,
    w: usize,
    /// Values of an image's row.
    row: usize,
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// Where the image begins.
    pub(super) first: usize,
}

impl Frame {
    /// Makes it fit input images.
    pub(crate) fn fit_input(&mut self, g: &DepthwiseShape) {
        let reach = g.dilation * (g.kernel - 1) + 1;
        let end = |len: usize| ((g.len_out(len) - 1) * g.stride + reach).saturating_sub(len + g.padding);
        self.fit(g.h, g.w, g.c, g.padding, end(g.h).max(end(g.w)));
    }

    /// Makes it fit the gradients of output images: the frame is as wide as the window reaches, in steps of the stride.
    pub(crate) fn fit_output(&mut self, g: &DepthwiseShape) {
        let reach = if g.is_unrolled() { g.kernel / 2 + 1 } else { 0 };
        self.fit(g.h_out(), g.w_out(), g.c, reach, reach);
    }

    fn fit(&mut self, h: usize, w: usize, c: usize, before: usize, after: usize) {
        let (row, stride) = (w * c, (before + w + after) * c);
        let first = before * (stride + c);
        let len = (before + h + after) * stride;
        if (self.h, self.w, self.row, self.stride, self.first, self.values.len()) != (h, w, row, stride, first, len) {
            *self = Self { values: Buffer::zeroed(len), h, w, row, stride, first };
        }
    }

    /// The image's pixels, to be written.
    pub(crate) fn target(&mut self) -> Target<'_> {
        let values = &mut self.values[self.first..];
        let (rows, together) = (self.h * self.w, self.w);
        Target { values, rows, together, gap: self.stride - self.row, stride: self.row / self.w }
    }

    /// The image's rows, to be written.
    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let row = self.row;
        self.values[self.first..].chunks_mut(self.stride).take(self.h).map(move |r| &mut r[..row])
    }

    /// Takes an image.
    pub(super) fn copy_from(&mut self, image: &[f32]) {
        let len = self.row;
        self.rows_mut().zip(image.chunks_exact(len)).for_each(|(to, from)| to.copy_from_slice(from));
    }

    /// Takes some channels of an image of `c` channels.
    pub(crate) fn copy_channels(&mut self, image: &[f32], c: usize, channels: Range<usize>) {
        let width = channels.len();
        let mut pixels = image.chunks_exact(c);
        for row in self.rows_mut() {
            for (to, from) in row.chunks_exact_mut(width).zip(&mut pixels) {
                to.copy_from_slice(&from[channels.clone()]);
            }
        }
    }
}
