//! Depthwise convolutions: each channel with a window of its own.
//!
//! ```text
//! y[oy, ox, c] = Σ_ky Σ_kx w[ky, kx, c] · x[oy·stride + ky·dilation - padding, ox·stride + kx·dilation - padding, c]
//! ```
//!
//! Images are `[h, w, c]`, windows `[k, k, c]`. The kernels read images with a frame of zeros around them (`Frame`), so that no
//! loop asks where the border is. A block of channels is walked over the whole image, its window in registers, several
//! columns at a time; 3×3 and 5×5 at strides 1 and 2 are unrolled, everything else takes the same loops one by one.

use std::ops::Range;

use crate::buffer::Buffer;
use crate::parallel::{add_up_into, for_parts, images_per_part, map_parts};
use crate::simd::{Arithmetic, Level, for_each_level, load, load_unchecked, prefetch, store};

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

/// One image inside a frame of zeros.
#[derive(Default)]
pub(crate) struct Frame {
    values: Buffer,
    h: usize,
    /// Values of an image's row.
    row: usize,
    /// Values from one row to the next.
    stride: usize,
    /// Where the image begins.
    first: usize,
}

impl Frame {
    /// Makes it fit input images.
    pub(crate) fn fit_input(&mut self, g: &Geometry) {
        let reach = g.dilation * (g.kernel - 1) + 1;
        let end = |len: usize| ((g.len_out(len) - 1) * g.stride + reach).saturating_sub(len + g.padding);
        self.fit(g.h, g.w, g.c, g.padding, end(g.h).max(end(g.w)));
    }

    /// Makes it fit the gradients of output images: the frame is as wide as the window reaches, in steps of the stride.
    pub(crate) fn fit_output(&mut self, g: &Geometry) {
        let reach = if g.is_unrolled() { g.kernel / 2 + 1 } else { 0 };
        self.fit(g.h_out(), g.w_out(), g.c, reach, reach);
    }

    fn fit(&mut self, h: usize, w: usize, c: usize, before: usize, after: usize) {
        let (row, stride) = (w * c, (before + w + after) * c);
        let first = before * (stride + c);
        let len = (before + h + after) * stride;
        if (self.h, self.row, self.stride, self.first, self.values.len()) != (h, row, stride, first, len) {
            *self = Self { values: Buffer::zeroed(len), h, row, stride, first };
        }
    }

    /// The image's rows, to be written.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let row = self.row;
        self.values[self.first..].chunks_mut(self.stride).take(self.h).map(move |r| &mut r[..row])
    }

    /// Takes an image.
    fn copy_from(&mut self, image: &[f32]) {
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

fn backward_input_at(level: Level, g: &Geometry, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
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

fn backward_weight_at(level: Level, g: &Geometry, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
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

/// Calls `$f::<A, L, K, S>($args…, first channel)` for every block of `L` channels: the level's lanes, then 8, then 1; `K`
/// and `S` are the window and the stride where they are unrolled, else 0.
macro_rules! for_channel_blocks {
    ($g:expr, $f:ident::<$A:ident, $L:ident>($($arg:expr),*)) => {{
        let mut at = 0;
        while at + $L <= $g.c {
            for_window!($g, $f::<$A, $L>($($arg,)* at));
            at += $L;
        }
        while at + 8 <= $g.c {
            for_window!($g, $f::<$A, 8>($($arg,)* at));
            at += 8;
        }
        while at < $g.c {
            for_window!($g, $f::<$A, 1>($($arg,)* at));
            at += 1;
        }
    }};
}

macro_rules! for_window {
    ($g:expr, $f:ident::<$A:ident, $L:tt>($($arg:expr),* $(,)?)) => {
        match ($g.is_unrolled(), $g.kernel, $g.stride) {
            (true, 3, 1) => $f::<$A, $L, 3, 1>($($arg),*),
            (true, 3, 2) => $f::<$A, $L, 3, 2>($($arg),*),
            (true, 5, 1) => $f::<$A, $L, 5, 1>($($arg),*),
            (true, 5, 2) => $f::<$A, $L, 5, 2>($($arg),*),
            _ => $f::<$A, $L, 0, 0>($($arg),*),
        }
    };
}

for_each_level! {
    /// One image; `x` has the geometry's input frame.
    pub(crate) fn image_forward(g: &Geometry, x: &Frame, w: &[f32], y: &mut [f32]) = image_forward_body[LANES]
}

#[inline(always)]
fn image_forward_body<A: Arithmetic, const L: usize>(g: &Geometry, x: &Frame, w: &[f32], y: &mut [f32]) {
    for_channel_blocks!(g, block_forward::<A, L>(g, x, w, y));
}

#[inline(always)]
fn block_forward<A: Arithmetic, const L: usize, const K: usize, const S: usize>(
    g: &Geometry,
    x: &Frame,
    w: &[f32],
    y: &mut [f32],
    at: usize,
) {
    let (w_out, c) = (g.w_out(), g.c);
    for (oy, y) in y.chunks_exact_mut(w_out * c).enumerate() {
        let rows = &x.values[oy * g.stride * x.stride + at..];
        let mut ox = 0;
        if K > 0 {
            while ox + 8 <= w_out {
                pixels_forward::<A, L, K, S, 8>(rows, x.stride, c, &w[at..], ox, w_out, &mut y[at..]);
                ox += 8;
            }
            while ox + 4 <= w_out {
                pixels_forward::<A, L, K, S, 4>(rows, x.stride, c, &w[at..], ox, w_out, &mut y[at..]);
                ox += 4;
            }
            while ox < w_out {
                pixels_forward::<A, L, K, S, 1>(rows, x.stride, c, &w[at..], ox, w_out, &mut y[at..]);
                ox += 1;
            }
        }
        while ox < w_out {
            let mut sum = [0.; L];
            for (ky, kx) in taps(g.kernel) {
                let x = load::<L>(rows, ky * g.dilation * x.stride + (ox * g.stride + kx * g.dilation) * c);
                add_product::<A, L>(&mut sum, x, load(w, (ky * g.kernel + kx) * c + at));
            }
            store(y, ox * c + at, sum);
            ox += 1;
        }
    }
}

/// `B` neighboring columns of one row.
#[inline(always)]
fn pixels_forward<A: Arithmetic, const L: usize, const K: usize, const S: usize, const B: usize>(
    rows: &[f32],
    row_stride: usize,
    c: usize,
    w: &[f32],
    ox: usize,
    next_row: usize,
    y: &mut [f32],
) {
    let mut sums = [[0.; L]; B];
    for b in 0..B {
        prefetch(y, (next_row + ox + b) * c);
    }
    for ky in 0..K {
        let row = &rows[ky * row_stride + ox * S * c..][..((B - 1) * S + K - 1) * c + L];
        let weights: [[f32; L]; K] = std::array::from_fn(|kx| load(w, (ky * K + kx) * c));
        for (b, sum) in sums.iter_mut().enumerate() {
            for (kx, weight) in weights.iter().enumerate() {
                // SAFETY: b ≤ B - 1 and kx ≤ K - 1, and the row was cut to end with that block.
                let x = unsafe { load_unchecked(row, (b * S + kx) * c) };
                add_product::<A, L>(sum, x, *weight);
            }
        }
    }
    for (b, sum) in sums.into_iter().enumerate() {
        store(y, (ox + b) * c, sum);
    }
}

for_each_level! {
    /// One image; `gy` has the geometry's output frame.
    pub(crate) fn image_backward_input(g: &Geometry, gy: &Frame, w: &[f32], gx: &mut [f32]) = image_backward_input_body[LANES]
}

#[inline(always)]
fn image_backward_input_body<A: Arithmetic, const L: usize>(g: &Geometry, gy: &Frame, w: &[f32], gx: &mut [f32]) {
    for_channel_blocks!(g, block_backward_input::<A, L>(g, gy, w, gx));
}

#[inline(always)]
fn block_backward_input<A: Arithmetic, const L: usize, const K: usize, const S: usize>(
    g: &Geometry,
    gy: &Frame,
    w: &[f32],
    gx: &mut [f32],
    at: usize,
) {
    let c = g.c;
    for (iy, gx) in gx.chunks_exact_mut(g.w * c).enumerate() {
        if K == 0 {
            let rows = &gy.values[gy.first + at..];
            for ix in 0..g.w {
                let mut sum = [0.; L];
                for (ky, kx) in taps(g.kernel) {
                    let (Some(oy), Some(ox)) = (source(g, iy, ky, g.h_out()), source(g, ix, kx, g.w_out())) else {
                        continue;
                    };
                    add_product::<A, L>(
                        &mut sum,
                        load(rows, oy * gy.stride + ox * c),
                        load(w, (ky * g.kernel + kx) * c + at),
                    );
                }
                store(gx, ix * c + at, sum);
            }
            continue;
        }
        // Groups of S neighboring columns: each of them sees other taps of the window.
        let groups = g.w / S;
        let mut j = 0;
        while j + 4 <= groups {
            pixels_backward_input::<A, L, K, S, 4>(g, gy, iy, j, &w[at..], at, S, gx);
            j += 4;
        }
        while j < groups {
            pixels_backward_input::<A, L, K, S, 1>(g, gy, iy, j, &w[at..], at, S, gx);
            j += 1;
        }
        if !g.w.is_multiple_of(S) {
            pixels_backward_input::<A, L, K, S, 1>(g, gy, iy, j, &w[at..], at, g.w % S, gx);
        }
    }
}

/// The output position whose tap `k` sees the input at `i`, if there is one.
#[inline(always)]
fn source(g: &Geometry, i: usize, k: usize, len_out: usize) -> Option<usize> {
    let at = (i + g.padding).checked_sub(k * g.dilation)?;
    (at.is_multiple_of(g.stride) && at / g.stride < len_out).then_some(at / g.stride)
}

/// `B` groups of `S` neighboring columns of row `iy`, of which the first `keep` of each group are stored.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "an unrolled kernel's place")]
fn pixels_backward_input<A: Arithmetic, const L: usize, const K: usize, const S: usize, const B: usize>(
    g: &Geometry,
    gy: &Frame,
    iy: usize,
    j: usize,
    w: &[f32],
    at: usize,
    keep: usize,
    gx: &mut [f32],
) {
    let (c, p) = (g.c, K / 2);
    let mut sums = [[[0.; L]; S]; B];
    for ky in 0..K {
        if !(iy + p + S * K - ky).is_multiple_of(S) {
            continue;
        }
        // Row (iy + p - ky) / S of the output, which may lie in the frame; the frame is p + 1 wide, counted in from there.
        let row = (iy + p + S * (p + 1) - ky) / S;
        // The farthest offset is that of the last column and the first tap.
        let reach = (S - 1 + p + S * (p + 1)) / S;
        let row = &gy.values[row * gy.stride + j * c + at..][..(B - 1 + reach) * c + L];
        for f in 0..S {
            for kx in 0..K {
                if !(f + p + S * K - kx).is_multiple_of(S) {
                    continue;
                }
                let weight = load::<L>(w, (ky * K + kx) * c);
                let offset = (f + p + S * (p + 1) - kx) / S;
                for (b, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: b ≤ B - 1 and offset ≤ reach, since f ≤ S - 1 and kx ≥ 0; the row was cut to end with that block.
                    let gy = unsafe { load_unchecked(row, (b + offset) * c) };
                    add_product::<A, L>(&mut sums[f], gy, weight);
                }
            }
        }
    }
    for (b, sums) in sums.into_iter().enumerate() {
        for (f, sum) in sums.into_iter().enumerate().take(keep) {
            store(gx, ((j + b) * S + f) * c + at, sum);
        }
    }
}

for_each_level! {
    /// Adds one image's part; `x` has the geometry's input frame, `gy` its output frame.
    pub(crate) fn image_backward_weight(g: &Geometry, x: &Frame, gy: &Frame, gw: &mut [f32]) = image_backward_weight_body[LANES]
}

#[inline(always)]
fn image_backward_weight_body<A: Arithmetic, const L: usize>(g: &Geometry, x: &Frame, gy: &Frame, gw: &mut [f32]) {
    for_channel_blocks!(g, block_backward_weight::<A, L>(g, x, gy, gw));
}

#[inline(always)]
fn block_backward_weight<A: Arithmetic, const L: usize, const K: usize, const S: usize>(
    g: &Geometry,
    x: &Frame,
    gy: &Frame,
    gw: &mut [f32],
    at: usize,
) {
    let c = g.c;
    let (h_out, w_out) = (g.h_out(), g.w_out());
    if K == 0 {
        for (ky, kx) in taps(g.kernel) {
            let mut sum = load::<L>(gw, (ky * g.kernel + kx) * c + at);
            for oy in 0..h_out {
                for ox in 0..w_out {
                    let (iy, ix) = (oy * g.stride + ky * g.dilation, ox * g.stride + kx * g.dilation);
                    let x = load::<L>(&x.values, iy * x.stride + ix * c + at);
                    add_product::<A, L>(&mut sum, x, load(&gy.values, gy.first + oy * gy.stride + ox * c + at));
                }
            }
            store(gw, (ky * g.kernel + kx) * c + at, sum);
        }
        return;
    }
    let mut sums: [[[f32; L]; K]; K] =
        std::array::from_fn(|ky| std::array::from_fn(|kx| load(gw, (ky * K + kx) * c + at)));
    for oy in 0..h_out {
        let rows: [&[f32]; K] =
            std::array::from_fn(|ky| &x.values[(oy * S + ky) * x.stride + at..][..((w_out - 1) * S + K - 1) * c + L]);
        let gy = &gy.values[gy.first + oy * gy.stride + at..];
        for ox in 0..w_out {
            let gy = load::<L>(gy, ox * c);
            for (sums, row) in sums.iter_mut().zip(rows) {
                for (kx, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: ox ≤ w_out - 1 and kx ≤ K - 1, and the rows were cut to end with that block.
                    let x = unsafe { load_unchecked(row, (ox * S + kx) * c) };
                    add_product::<A, L>(sum, x, gy);
                }
            }
        }
    }
    for (ky, sums) in sums.into_iter().enumerate() {
        for (kx, sum) in sums.into_iter().enumerate() {
            store(gw, (ky * K + kx) * c + at, sum);
        }
    }
}

/// The window's taps, row by row.
#[inline(always)]
fn taps(kernel: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel * kernel).map(move |k| (k / kernel, k % kernel))
}

#[inline(always)]
fn add_product<A: Arithmetic, const L: usize>(sum: &mut [f32; L], x: [f32; L], w: [f32; L]) {
    for l in 0..L {
        sum[l] = A::mul_add(x[l], w[l], sum[l]);
    }
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
