//! Depthwise convolutions: each channel with a window of its own.
//!
//! ```text
//! y[oy, ox, c] = Σ_ky Σ_kx w[ky, kx, c] · x[oy·stride + ky·dilation - padding, ox·stride + kx·dilation - padding, c]
//! ```
//!
//! Images are `[n, h, w, c]`, windows `[k, k, c]`. A block of channels is held in registers while a row of the image is
//! walked; what a window has outside the image is left out row by row and column by column.

use crate::parallel::{add_up_into, for_parts, map_parts};
use crate::simd::{Arithmetic, Level, for_each_level};

/// The sizes of a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
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

impl Geometry {
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

    fn image_in(&self) -> usize {
        self.h * self.w * self.c
    }

    fn image_out(&self) -> usize {
        self.h_out() * self.w_out() * self.c
    }

    /// The input position that tap `k` of the window at `o` sees, if it lies inside an image of length `len`.
    #[inline(always)]
    fn tap(&self, o: usize, k: usize, len: usize) -> Option<usize> {
        let at = (o * self.stride + k * self.dilation).checked_sub(self.padding)?;
        (at < len).then_some(at)
    }

    /// The window positions `o` whose tap `k` lies inside an image of length `len`.
    #[inline(always)]
    fn outputs(&self, k: usize, len: usize) -> std::ops::Range<usize> {
        let offset = k * self.dilation;
        let first = self.padding.saturating_sub(offset).div_ceil(self.stride);
        let end = (len + self.padding).saturating_sub(offset).div_ceil(self.stride).min(self.len_out(len));
        first.min(end)..end
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
pub fn forward(g: &Geometry, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
    forward_at(Level::best(), g, xs, weight, ys);
}

/// The gradient of the images.
pub fn backward_input(g: &Geometry, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
    backward_input_at(Level::best(), g, gys, weight, gxs);
}

/// The gradient of the windows.
pub fn backward_weight(g: &Geometry, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
    backward_weight_at(Level::best(), g, xs, gys, gweight);
}

fn forward_at(level: Level, g: &Geometry, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
    g.assert_fits(xs, weight, ys);
    for_parts(ys, g.image_out(), 1, |i, ys| {
        image_forward(level, g, &xs[i * g.image_in()..(i + 1) * g.image_in()], weight, ys);
    });
}

fn backward_input_at(level: Level, g: &Geometry, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
    g.assert_fits(gxs, weight, gys);
    for_parts(gxs, g.image_in(), 1, |i, gxs| {
        image_backward_input(level, g, &gys[i * g.image_out()..(i + 1) * g.image_out()], weight, gxs);
    });
}

fn backward_weight_at(level: Level, g: &Geometry, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
    let n = g.assert_fits(xs, gweight, gys);
    let parts = map_parts(n, n.div_ceil(16).max(1), |images| {
        let mut part = vec![0.; gweight.len()];
        for i in images {
            let (x, gy) = (i * g.image_in()..(i + 1) * g.image_in(), i * g.image_out()..(i + 1) * g.image_out());
            image_backward_weight(level, g, &xs[x], &gys[gy], &mut part);
        }
        part
    });
    add_up_into(&parts, gweight);
}

/// Calls `$f::<A, L, K>(…, first channel)` for every block of `L` channels: 32, 16, 8, then one by one.
macro_rules! for_channel_blocks {
    ($g:expr, $f:ident::<$A:ident>($($arg:expr),*)) => {{
        let mut at = 0;
        while at + 16 <= $g.c {
            for_kernel!($g, $f::<$A, 16>($($arg,)* at));
            at += 16;
        }
        while at + 8 <= $g.c {
            for_kernel!($g, $f::<$A, 8>($($arg,)* at));
            at += 8;
        }
        while at < $g.c {
            for_kernel!($g, $f::<$A, 1>($($arg,)* at));
            at += 1;
        }
    }};
}

/// Calls `$f` with the window's size as a constant where it is 3 or 5, and as `0` ("ask the geometry") elsewhere.
macro_rules! for_kernel {
    ($g:expr, $f:ident::<$A:ident, $l:literal>($($arg:expr),* $(,)?)) => {
        match $g.kernel {
            3 => $f::<$A, $l, 3>($($arg),*),
            5 => $f::<$A, $l, 5>($($arg),*),
            _ => $f::<$A, $l, 0>($($arg),*),
        }
    };
}

for_each_level! {
    fn image_forward(g: &Geometry, x: &[f32], w: &[f32], y: &mut [f32]) = image_forward_body
}

#[inline(always)]
fn image_forward_body<A: Arithmetic>(g: &Geometry, x: &[f32], w: &[f32], y: &mut [f32]) {
    y.fill(0.);
    let (w_out, c) = (g.w_out(), g.c);
    for oy in 0..g.h_out() {
        let y = &mut y[oy * w_out * c..(oy + 1) * w_out * c];
        for_channel_blocks!(g, row_forward::<A>(g, oy, x, w, y));
    }
}

/// One row of the output, `L` channels from `at`.
#[inline(always)]
fn row_forward<A: Arithmetic, const L: usize, const K: usize>(
    g: &Geometry,
    oy: usize,
    x: &[f32],
    w: &[f32],
    y: &mut [f32],
    at: usize,
) {
    let k = if K == 0 { g.kernel } else { K };
    for ky in 0..k {
        let Some(iy) = g.tap(oy, ky, g.h) else { continue };
        let row = &x[iy * g.w * g.c..(iy + 1) * g.w * g.c];
        for kx in 0..k {
            let weight = load::<L>(w, (ky * k + kx) * g.c + at);
            for ox in g.outputs(kx, g.w) {
                let ix = ox * g.stride + kx * g.dilation - g.padding;
                let x = load::<L>(row, ix * g.c + at);
                let mut sum = load::<L>(y, ox * g.c + at);
                for l in 0..L {
                    sum[l] = A::mul_add(x[l], weight[l], sum[l]);
                }
                store(y, ox * g.c + at, sum);
            }
        }
    }
}

for_each_level! {
    fn image_backward_input(g: &Geometry, gy: &[f32], w: &[f32], gx: &mut [f32]) = image_backward_input_body
}

#[inline(always)]
fn image_backward_input_body<A: Arithmetic>(g: &Geometry, gy: &[f32], w: &[f32], gx: &mut [f32]) {
    gx.fill(0.);
    for oy in 0..g.h_out() {
        for_channel_blocks!(g, row_backward_input::<A>(g, oy, gy, w, gx));
    }
}

/// Adds what one row of the output sends back.
#[inline(always)]
fn row_backward_input<A: Arithmetic, const L: usize, const K: usize>(
    g: &Geometry,
    oy: usize,
    gy: &[f32],
    w: &[f32],
    gx: &mut [f32],
    at: usize,
) {
    let k = if K == 0 { g.kernel } else { K };
    let w_out = g.w_out();
    let gy = &gy[oy * w_out * g.c..(oy + 1) * w_out * g.c];
    for ky in 0..k {
        let Some(iy) = g.tap(oy, ky, g.h) else { continue };
        let row = &mut gx[iy * g.w * g.c..(iy + 1) * g.w * g.c];
        for kx in 0..k {
            let weight = load::<L>(w, (ky * k + kx) * g.c + at);
            for ox in g.outputs(kx, g.w) {
                let ix = ox * g.stride + kx * g.dilation - g.padding;
                let gy = load::<L>(gy, ox * g.c + at);
                let mut sum = load::<L>(row, ix * g.c + at);
                for l in 0..L {
                    sum[l] = A::mul_add(gy[l], weight[l], sum[l]);
                }
                store(row, ix * g.c + at, sum);
            }
        }
    }
}

for_each_level! {
    fn image_backward_weight(g: &Geometry, x: &[f32], gy: &[f32], gw: &mut [f32]) = image_backward_weight_body
}

#[inline(always)]
fn image_backward_weight_body<A: Arithmetic>(g: &Geometry, x: &[f32], gy: &[f32], gw: &mut [f32]) {
    for oy in 0..g.h_out() {
        for_channel_blocks!(g, row_backward_weight::<A>(g, oy, x, gy, gw));
    }
}

/// Adds what one row of the output says of the windows of `L` channels from `at`.
#[inline(always)]
fn row_backward_weight<A: Arithmetic, const L: usize, const K: usize>(
    g: &Geometry,
    oy: usize,
    x: &[f32],
    gy: &[f32],
    gw: &mut [f32],
    at: usize,
) {
    let k = if K == 0 { g.kernel } else { K };
    let w_out = g.w_out();
    let gy = &gy[oy * w_out * g.c..(oy + 1) * w_out * g.c];
    for ky in 0..k {
        let Some(iy) = g.tap(oy, ky, g.h) else { continue };
        let row = &x[iy * g.w * g.c..(iy + 1) * g.w * g.c];
        for kx in 0..k {
            let mut sum = load::<L>(gw, (ky * k + kx) * g.c + at);
            for ox in g.outputs(kx, g.w) {
                let ix = ox * g.stride + kx * g.dilation - g.padding;
                let (x, gy) = (load::<L>(row, ix * g.c + at), load::<L>(gy, ox * g.c + at));
                for l in 0..L {
                    sum[l] = A::mul_add(x[l], gy[l], sum[l]);
                }
            }
            store(gw, (ky * k + kx) * g.c + at, sum);
        }
    }
}

#[inline(always)]
fn load<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    let mut block = [0.; L];
    block.copy_from_slice(&values[at..at + L]);
    block
}

#[inline(always)]
fn store<const L: usize>(values: &mut [f32], at: usize, block: [f32; L]) {
    values[at..at + L].copy_from_slice(&block);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    /// The three results by the definition, in float64.
    fn reference(g: &Geometry, x: &[f32], w: &[f32], gy: &[f32]) -> [Vec<f64>; 3] {
        let n = x.len() / g.image_in();
        let (mut y, mut gx, mut gw) = (vec![0f64; gy.len()], vec![0f64; x.len()], vec![0f64; w.len()]);
        for i in 0..n {
            for oy in 0..g.h_out() {
                for ox in 0..g.w_out() {
                    for ky in 0..g.kernel {
                        for kx in 0..g.kernel {
                            let iy = (oy * g.stride + ky * g.dilation) as isize - g.padding as isize;
                            let ix = (ox * g.stride + kx * g.dilation) as isize - g.padding as isize;
                            if iy < 0 || ix < 0 || iy >= g.h as isize || ix >= g.w as isize {
                                continue;
                            }
                            for c in 0..g.c {
                                let at_x = ((i * g.h + iy as usize) * g.w + ix as usize) * g.c + c;
                                let at_y = ((i * g.h_out() + oy) * g.w_out() + ox) * g.c + c;
                                let at_w = (ky * g.kernel + kx) * g.c + c;
                                let (x, w, gy) = (f64::from(x[at_x]), f64::from(w[at_w]), f64::from(gy[at_y]));
                                y[at_y] += x * w;
                                gx[at_x] += gy * w;
                                gw[at_w] += gy * x;
                            }
                        }
                    }
                }
            }
        }
        [y, gx, gw]
    }

    fn check(g: Geometry, n: usize) {
        let x = values(n * g.image_in(), 1);
        let w = values(g.kernel * g.kernel * g.c, 2);
        let gy = values(n * g.image_out(), 3);
        let expected = reference(&g, &x, &w, &gy);
        for level in Level::available() {
            let mut got = [vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()], vec![f32::NAN; w.len()]];
            forward_at(level, &g, &x, &w, &mut got[0]);
            backward_input_at(level, &g, &gy, &w, &mut got[1]);
            backward_weight_at(level, &g, &x, &gy, &mut got[2]);
            for ((name, got), expected) in ["y", "gx", "gw"].iter().zip(&got).zip(&expected) {
                for (a, e) in got.iter().zip(expected) {
                    assert!((f64::from(*a) - e).abs() < 1e-4 * (1. + e.abs()), "{name} of {g:?}, {level}: {a} {e}");
                }
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
                                check(Geometry { h, w, c: 9, kernel, stride, dilation, padding }, 2);
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
                check(Geometry { h: 6, w: 6, c, kernel, stride: 1, dilation: 1, padding: kernel / 2 }, 1);
            }
        }
    }
}
