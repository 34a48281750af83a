//! Depthwise convolutions: each channel with a window of its own.
//!
//! ```text
//! y[oy, ox, c] = Σ_ky Σ_kx w[ky, kx, c] · x[oy·stride + ky·dilation - padding, ox·stride + kx·dilation - padding, c]
//! ```
//!
//! Images are `[h, w, c]`, windows `[k, k, c]`. The kernels read images with a frame of zeros around them (`Frame`), so
//! that no loop asks where the border is. A block of channels is walked over the whole image, its window in registers,
//! several columns at a time; 3×3 and 5×5 at strides 1 and 2 are unrolled, everything else takes the same loops one by
//! one.

mod frame;
mod image;

use crate::parallel::{add_up_into, for_parts, images_per_part, map_parts};
use crate::simd::Level;
pub(crate) use frame::Frame;
pub(crate) use image::{image_backward_input, image_backward_weight, image_forward};

/// The sizes of a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthwiseShape {
    /// Height of the image.
    pub h: usize,
    /// Width of the image.
    pub w: usize,
    /// Channels.
    pub c: usize,
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Distance of the window's taps.
    pub dilation: usize,
    /// Zeros around the image.
    pub padding: usize,
}

impl DepthwiseShape {
    /// Height of the output.
    pub fn h_out(&self) -> usize {
        self.len_out(self.h)
    }

    /// Width of the output.
    pub fn w_out(&self) -> usize {
        self.len_out(self.w)
    }

    fn len_out(&self, len: usize) -> usize {
        (len + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) / self.stride + 1
    }

    /// Values of an input image.
    pub fn image_in(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Values of an output image.
    pub fn image_out(&self) -> usize {
        self.h_out() * self.w_out() * self.c
    }

    /// Whether the unrolled kernels serve it: the windows of the networks, padded to keep the image's size.
    fn is_unrolled(&self) -> bool {
        matches!(self.kernel, 3 | 5) && self.stride <= 2 && self.dilation == 1 && self.padding == self.kernel / 2
    }

    /// The same over another number of channels.
    pub(crate) fn with_channels(&self, c: usize) -> Self {
        Self { c, ..*self }
    }

    fn assert_fits(&self, xs: &[f32], weight: &[f32], ys: &[f32]) -> usize {
        assert_eq!(weight.len(), self.kernel * self.kernel * self.c, "windows of {self:?}");
        let n = xs.len() / self.image_in();
        assert_eq!(xs.len(), n * self.image_in(), "images of {self:?}");
        assert_eq!(ys.len(), n * self.image_out(), "outputs of {self:?}");
        n
    }
}

/// `[n, h, w, c] -> [n, h', w', c]`
pub fn forward(g: &DepthwiseShape, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
    forward_at(Level::best(), g, xs, weight, ys);
}

/// The gradient of the images.
pub fn backward_input(g: &DepthwiseShape, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
    backward_input_at(Level::best(), g, gys, weight, gxs);
}

/// The gradient of the windows.
pub fn backward_weight(g: &DepthwiseShape, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
    backward_weight_at(Level::best(), g, xs, gys, gweight);
}

fn forward_at(level: Level, g: &DepthwiseShape, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
    let n = g.assert_fits(xs, weight, ys);
    let images = images_per_part(n);
    for_parts(ys, g.image_out(), images, |first, ys| {
        let mut frame = Frame::default();
        frame.fit_input(g);
        for (x, y) in xs[first * g.image_in()..].chunks_exact(g.image_in()).zip(ys.chunks_exact_mut(g.image_out())) {
            frame.copy_from(x);
            image_forward(level, g, &frame, weight, y);
        }
    });
}

fn backward_input_at(level: Level, g: &DepthwiseShape, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
    let n = g.assert_fits(gxs, weight, gys);
    let images = images_per_part(n);
    for_parts(gxs, g.image_in(), images, |first, gxs| {
        let mut frame = Frame::default();
        frame.fit_output(g);
        for (gy, gx) in gys[first * g.image_out()..].chunks_exact(g.image_out()).zip(gxs.chunks_exact_mut(g.image_in()))
        {
            frame.copy_from(gy);
            image_backward_input(level, g, &frame, weight, gx);
        }
    });
}

fn backward_weight_at(level: Level, g: &DepthwiseShape, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
    let n = g.assert_fits(xs, gweight, gys);
    let parts = map_parts(n, images_per_part(n), |images| {
        let mut part = vec![0.; gweight.len()];
        let (mut x_frame, mut gy_frame) = (Frame::default(), Frame::default());
        x_frame.fit_input(g);
        gy_frame.fit_output(g);
        for i in images {
            x_frame.copy_from(&xs[i * g.image_in()..(i + 1) * g.image_in()]);
            gy_frame.copy_from(&gys[i * g.image_out()..(i + 1) * g.image_out()]);
            image_backward_weight(level, g, &x_frame, &gy_frame, &mut part);
        }
        part
    });
    add_up_into(&parts, gweight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;
    use crate::reference::{for_each_tap, wide};

    /// The three results by the definition, in float64.
    fn reference(g: &DepthwiseShape, x: &[f32], w: &[f32], gy: &[f32]) -> [Vec<f64>; 3] {
        let n = x.len() / g.image_in();
        let (x, w, gy) = (wide(x), wide(w), wide(gy));
        let (mut y, mut gx, mut gw) = (vec![0.; gy.len()], vec![0.; x.len()], vec![0.; w.len()]);
        for_each_tap(n, g, |from, to, channel, tap| {
            let at = tap * g.c + channel;
            y[to] += x[from] * w[at];
            gx[from] += gy[to] * w[at];
            gw[at] += gy[to] * x[from];
        });
        [y, gx, gw]
    }

    fn assert_close(got: &[Vec<f32>; 3], expected: &[Vec<f64>; 3], g: &DepthwiseShape, level: Level) {
        for ((name, got), expected) in ["y", "gx", "gw"].iter().zip(got).zip(expected) {
            for (a, e) in got.iter().zip(expected) {
                assert!((f64::from(*a) - e).abs() < 1e-4 * (1. + e.abs()), "{name} of {g:?}, {level}: {a} {e}");
            }
        }
    }

    fn check(g: DepthwiseShape, n: usize) {
        let x = values(n * g.image_in(), 1);
        let w = values(g.kernel * g.kernel * g.c, 2);
        let gy = values(n * g.image_out(), 3);
        let expected = reference(&g, &x, &w, &gy);
        for level in Level::available() {
            let mut got = [vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]];
            forward_at(level, &g, &x, &w, &mut got[0]);
            backward_input_at(level, &g, &gy, &w, &mut got[1]);
            backward_weight_at(level, &g, &x, &gy, &mut got[2]);
            assert_close(&got, &expected, &g, level);
        }
    }

    /// One image on the calling thread, in frames that begin and end where their allocations do: a read beyond them is
    /// one that Miri sees.
    fn check_image(g: DepthwiseShape) {
        let (x, w, gy) = (values(g.image_in(), 1), values(g.kernel * g.kernel * g.c, 2), values(g.image_out(), 3));
        let expected = reference(&g, &x, &w, &gy);
        let (mut x_frame, mut gy_frame) = (Frame::default(), Frame::default());
        x_frame.fit_input(&g);
        x_frame.copy_from(&x);
        gy_frame.fit_output(&g);
        gy_frame.copy_from(&gy);
        for level in Level::available() {
            let mut got = [vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()], vec![0.; w.len()]];
            image_forward(level, &g, &x_frame, &w, &mut got[0]);
            image_backward_input(level, &g, &gy_frame, &w, &mut got[1]);
            image_backward_weight(level, &g, &x_frame, &gy_frame, &mut got[2]);
            assert_close(&got, &expected, &g, level);
        }
    }

    #[test]
    fn an_image_agrees_with_the_definition() {
        let (sizes, c) = if cfg!(miri) { (&[(5, 7)][..], 5) } else { (&[(1, 1), (5, 7), (8, 12)][..], 17) };
        for &(h, w) in sizes {
            for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (2, 1)] {
                check_image(DepthwiseShape { h, w, c, kernel, stride, dilation: 1, padding: kernel / 2 });
            }
        }
    }

    #[test]
    fn agrees_with_the_definition_for_every_window_and_border() {
        for kernel in [1, 2, 3, 4, 5, 7] {
            for stride in [1, 2, 3] {
                for dilation in [1, 2] {
                    for padding in [0, 1, 2, 4] {
                        for (h, w) in [(1, 1), (4, 4), (7, 5)] {
                            let window = dilation * (kernel - 1) + 1;
                            if window <= h.min(w) + 2 * padding {
                                check(DepthwiseShape { h, w, c: 9, kernel, stride, dilation, padding }, 2);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn agrees_with_the_definition_for_every_count_of_channels() {
        for c in (1..=40).chain([72, 120]) {
            for kernel in [3, 5] {
                check(DepthwiseShape { h: 6, w: 6, c, kernel, stride: 1, dilation: 1, padding: kernel / 2 }, 1);
            }
        }
    }
}
