//! Dense k×k convolutions, by unfolding windows into rows ("im2col") and multiplying matrices.
//!
//! Used for the stem only (3 input channels), where the unfolded rows are small. `weight` is `[c_out, c_in, k, k]`, so
//! a row of the unfolded image is in the order `c_in, k, k`.

use std::ops::Range;

use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{add_up_into, for_parts, images_per_part, map_parts};
use crate::simd::Level;

/// The sizes of a dense convolution over `[n, h, w, c_in]` images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Height and width of the image.
    pub h: usize,
    /// Width of the image.
    pub w: usize,
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
}

impl ConvShape {
    /// Height of the output.
    pub fn h_out(&self) -> usize {
        (self.h + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// Width of the output.
    pub fn w_out(&self) -> usize {
        (self.w + 2 * self.padding - self.kernel) / self.stride + 1
    }

    pub(crate) fn unfolded(&self) -> usize {
        self.c_in * self.kernel * self.kernel
    }

    pub(crate) fn pixels_out(&self) -> usize {
        self.h_out() * self.w_out()
    }

    /// Calls `f(unfolded index, image index)` for every tap that lies inside the image, of every window of some rows of
    /// the output.
    fn for_each_tap(&self, rows: Range<usize>, mut f: impl FnMut(usize, usize)) {
        let &Self { h, w, c_in, kernel, stride, padding, .. } = self;
        let mut at = 0;
        for oy in rows {
            for ox in 0..self.w_out() {
                for c in 0..c_in {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let (y, x) =
                                ((oy * stride + ky).wrapping_sub(padding), (ox * stride + kx).wrapping_sub(padding));
                            if y < h && x < w {
                                f(at, (y * w + x) * c_in + c);
                            }
                            at += 1;
                        }
                    }
                }
            }
        }
    }

    /// The windows of one image, `[h_out · w_out, c_in · k · k]`, in `rows`, whose borders are 0 already.
    pub(crate) fn unfold(&self, xs: &[f32], rows: &mut [f32]) {
        self.unfold_rows(0..self.h_out(), xs, rows);
    }

    /// [`unfold`](Self::unfold) for some rows of the output.
    pub(crate) fn unfold_rows(&self, rows_out: Range<usize>, xs: &[f32], rows: &mut [f32]) {
        self.for_each_tap(rows_out, |at, pixel| rows[at] = xs[pixel]);
    }

    /// The opposite: adds each tap's gradient to that of its pixel.
    pub(crate) fn fold(&self, rows: &[f32], gxs: &mut [f32]) {
        self.for_each_tap(0..self.h_out(), |at, pixel| gxs[pixel] += rows[at]);
    }

    /// Whether the windows of an image are the image itself.
    pub(crate) fn is_pointwise(&self) -> bool {
        (self.kernel, self.stride, self.padding) == (1, 1, 0)
    }

    fn image<'a>(&self, xs: &'a [f32], i: usize) -> &'a [f32] {
        let len = self.h * self.w * self.c_in;
        &xs[i * len..(i + 1) * len]
    }

    fn assert_fits(&self, xs: &[f32], ys: &[f32]) -> usize {
        let n = xs.len() / (self.h * self.w * self.c_in);
        assert_eq!(xs.len(), n * self.h * self.w * self.c_in, "images of {self:?}");
        assert_eq!(ys.len(), n * self.pixels_out() * self.c_out, "outputs of {self:?}");
        n
    }
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]`
pub fn forward(g: &ConvShape, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
    forward_at(Level::best(), g, xs, weight, ys);
}

fn forward_at(level: Level, g: &ConvShape, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
    g.assert_fits(xs, ys);
    let weight = transposed(weight, g.c_out, g.unfolded());
    for_parts(ys, g.pixels_out() * g.c_out, 1, |i, ys| {
        let mut rows = vec![0.; g.pixels_out() * g.unfolded()];
        g.unfold(g.image(xs, i), &mut rows);
        matmul(level, Matrix::new(&rows, g.pixels_out(), g.unfolded()), &weight, g.c_out, false, ys);
    });
}

/// The gradient of the images.
pub fn backward_input(g: &ConvShape, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
    backward_input_at(Level::best(), g, gys, weight, gxs);
}

fn backward_input_at(level: Level, g: &ConvShape, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
    g.assert_fits(gxs, gys);
    let size_out = g.pixels_out() * g.c_out;
    for_parts(gxs, g.h * g.w * g.c_in, 1, |i, gxs| {
        let mut rows = vec![0.; g.pixels_out() * g.unfolded()];
        let gys = &gys[i * size_out..(i + 1) * size_out];
        matmul(level, Matrix::new(gys, g.pixels_out(), g.c_out), weight, g.unfolded(), false, &mut rows);
        gxs.fill(0.);
        g.fold(&rows, gxs);
    });
}

/// The gradient of the weight.
pub fn backward_weight(g: &ConvShape, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
    backward_weight_at(Level::best(), g, xs, gys, gweight);
}

fn backward_weight_at(level: Level, g: &ConvShape, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
    let n = g.assert_fits(xs, gys);
    assert_eq!(gweight.len(), g.c_out * g.unfolded(), "weights of {g:?}");
    let size_out = g.pixels_out() * g.c_out;
    let parts = map_parts(n, images_per_part(n), |images| {
        let mut sum = vec![0.; gweight.len()];
        let mut rows = vec![0.; g.pixels_out() * g.unfolded()];
        for i in images {
            g.unfold(g.image(xs, i), &mut rows);
            let gys = Matrix::new(&gys[i * size_out..(i + 1) * size_out], g.pixels_out(), g.c_out);
            matmul(level, gys.t(), &rows, g.unfolded(), true, &mut sum);
        }
        sum
    });
    add_up_into(&parts, gweight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition() {
        for (kernel, stride, padding) in [(3, 1, 1), (3, 2, 1), (5, 2, 2), (3, 1, 0), (1, 2, 0)] {
            let g = ConvShape { h: 7, w: 6, c_in: 3, c_out: 5, kernel, stride, padding };
            let n = 3;
            let x = values(n * g.h * g.w * g.c_in, 1);
            let w = values(g.c_out * g.unfolded(), 2);
            let gy = values(n * g.pixels_out() * g.c_out, 3);
            let (mut y, mut gx, mut gw) = (vec![0f64; gy.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
            for i in 0..n {
                for oy in 0..g.h_out() {
                    for ox in 0..g.w_out() {
                        for o in 0..g.c_out {
                            for c in 0..g.c_in {
                                for ky in 0..kernel {
                                    for kx in 0..kernel {
                                        let iy = (oy * stride + ky) as isize - padding as isize;
                                        let ix = (ox * stride + kx) as isize - padding as isize;
                                        if iy < 0 || ix < 0 || iy >= g.h as isize || ix >= g.w as isize {
                                            continue;
                                        }
                                        let at_x = ((i * g.h + iy as usize) * g.w + ix as usize) * g.c_in + c;
                                        let at_y = ((i * g.h_out() + oy) * g.w_out() + ox) * g.c_out + o;
                                        let at_w = ((o * g.c_in + c) * kernel + ky) * kernel + kx;
                                        y[at_y] += f64::from(x[at_x]) * f64::from(w[at_w]);
                                        gx[at_x] += f64::from(gy[at_y]) * f64::from(w[at_w]);
                                        gw[at_w] += f64::from(gy[at_y]) * f64::from(x[at_x]);
                                    }
                                }
                            }
                        }
                    }
                }
            }
            for level in Level::available() {
                let mut got = [vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]];
                forward_at(level, &g, &x, &w, &mut got[0]);
                backward_input_at(level, &g, &gy, &w, &mut got[1]);
                backward_weight_at(level, &g, &x, &gy, &mut got[2]);
                for ((name, got), expected) in ["y", "gx", "gw"].iter().zip(&got).zip([&y, &gx, &gw]) {
                    for (a, e) in got.iter().zip(expected) {
                        assert!((f64::from(*a) - e).abs() < 1e-4 * (1. + e.abs()), "{name} of {g:?}, {level}: {a} {e}");
                    }
                }
            }
        }
    }
}
