//! The kernels, an image at a time: forward, the gradient of the image, the gradient of the windows.
//!
//! Arrays are filled by loops: a closure given to `array::from_fn` may be compiled by itself, for the baseline's registers
//! instead of the level's.

use super::{DepthwiseShape, Frame};
use crate::simd::{Isa, for_each_level, load, load_unchecked, prefetch, store};

/// Calls `$f::<I, L, K, S>($args…, first channel)` for every block of `L` channels: the level's lanes, then 8, then 1;
/// `K` and `S` are the window and the stride where they are unrolled, else 0.
macro_rules! for_channel_blocks {
    ($g:expr, $f:ident::<$I:ident, $L:ident>($($arg:expr),*)) => {{
        let mut at = 0;
        while at + $L <= $g.c {
            for_window!($g, $f::<$I, $L>($($arg,)* at));
            at += $L;
        }
        while $L > 8 && at + 8 <= $g.c {
            for_window!($g, $f::<$I, 8>($($arg,)* at));
            at += 8;
        }
        while at < $g.c {
            for_window!($g, $f::<$I, 1>($($arg,)* at));
            at += 1;
        }
    }};
}

macro_rules! for_window {
    ($g:expr, $f:ident::<$I:ident, $L:tt>($($arg:expr),* $(,)?)) => {
        match ($g.is_unrolled(), $g.kernel, $g.stride) {
            (true, 3, 1) => $f::<$I, $L, 3, 1>($($arg),*),
            (true, 3, 2) => $f::<$I, $L, 3, 2>($($arg),*),
            (true, 5, 1) => $f::<$I, $L, 5, 1>($($arg),*),
            (true, 5, 2) => $f::<$I, $L, 5, 2>($($arg),*),
            _ => $f::<$I, $L, 0, 0>($($arg),*),
        }
    };
}

for_each_level! {
    /// One image; `x` has the geometry's input frame.
    pub(crate) fn image_forward(g: &DepthwiseShape, x: &Frame, w: &[f32], y: &mut [f32]) = image_forward_body[LANES]
}

#[inline(always)]
fn image_forward_body<I: Isa, const L: usize>(isa: I, g: &DepthwiseShape, x: &Frame, w: &[f32], y: &mut [f32]) {
    for_channel_blocks!(g, block_forward::<I, L>(isa, g, x, w, y));
}

#[inline(always)]
fn block_forward<I: Isa, const L: usize, const K: usize, const S: usize>(
    isa: I,
    g: &DepthwiseShape,
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
                pixels_forward::<I, L, K, S, 8>(isa, rows, [x.stride, c], &w[at..], ox, w_out, &mut y[at..]);
                ox += 8;
            }
            while ox + 4 <= w_out {
                pixels_forward::<I, L, K, S, 4>(isa, rows, [x.stride, c], &w[at..], ox, w_out, &mut y[at..]);
                ox += 4;
            }
            while ox < w_out {
                pixels_forward::<I, L, K, S, 1>(isa, rows, [x.stride, c], &w[at..], ox, w_out, &mut y[at..]);
                ox += 1;
            }
        }
        while ox < w_out {
            let mut sum = [0.; L];
            for (ky, kx) in taps(g.kernel) {
                let x = load::<_, L>(rows, ky * g.dilation * x.stride + (ox * g.stride + kx * g.dilation) * c);
                isa.add_products(&mut sum, x, load(w, (ky * g.kernel + kx) * c + at));
            }
            store(y, ox * c + at, sum);
            ox += 1;
        }
    }
}

/// `B` neighboring columns of one row. From one row to the next it is `row_stride` values, from one pixel to the next
/// `c`.
#[inline(always)]
fn pixels_forward<I: Isa, const L: usize, const K: usize, const S: usize, const B: usize>(
    isa: I,
    rows: &[f32],
    [row_stride, c]: [usize; 2],
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
        let mut weights = [[0.; L]; K];
        for (kx, weight) in weights.iter_mut().enumerate() {
            *weight = load(w, (ky * K + kx) * c);
        }
        for (b, sum) in sums.iter_mut().enumerate() {
            for (kx, weight) in weights.iter().enumerate() {
                // SAFETY: b ≤ B - 1 and kx ≤ K - 1, and the row was cut to end with that block.
                let x = unsafe { load_unchecked(row, (b * S + kx) * c) };
                isa.add_products(sum, x, *weight);
            }
        }
    }
    for (b, sum) in sums.into_iter().enumerate() {
        store(y, (ox + b) * c, sum);
    }
}

for_each_level! {
    /// One image; `gy` has the geometry's output frame.
    pub(crate) fn image_backward_input(g: &DepthwiseShape, gy: &Frame, w: &[f32], gx: &mut [f32]) = image_backward_input_body[LANES]
}

#[inline(always)]
fn image_backward_input_body<I: Isa, const L: usize>(
    isa: I,
    g: &DepthwiseShape,
    gy: &Frame,
    w: &[f32],
    gx: &mut [f32],
) {
    for_channel_blocks!(g, block_backward_input::<I, L>(isa, g, gy, w, gx));
}

#[inline(always)]
fn block_backward_input<I: Isa, const L: usize, const K: usize, const S: usize>(
    isa: I,
    g: &DepthwiseShape,
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
                    isa.add_products(
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
            pixels_backward_input::<I, L, K, S, 4>(isa, g, gy, iy, j, &w[at..], at, S, gx);
            j += 4;
        }
        while j < groups {
            pixels_backward_input::<I, L, K, S, 1>(isa, g, gy, iy, j, &w[at..], at, S, gx);
            j += 1;
        }
        if !g.w.is_multiple_of(S) {
            pixels_backward_input::<I, L, K, S, 1>(isa, g, gy, iy, j, &w[at..], at, g.w % S, gx);
        }
    }
}

/// The output position whose tap `k` sees the input at `i`, if there is one.
#[inline(always)]
fn source(g: &DepthwiseShape, i: usize, k: usize, len_out: usize) -> Option<usize> {
    let at = (i + g.padding).checked_sub(k * g.dilation)?;
    (at.is_multiple_of(g.stride) && at / g.stride < len_out).then_some(at / g.stride)
}

/// `B` groups of `S` neighboring columns of row `iy`, of which the first `keep` of each group are stored.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "an unrolled kernel's place")]
fn pixels_backward_input<I: Isa, const L: usize, const K: usize, const S: usize, const B: usize>(
    isa: I,
    g: &DepthwiseShape,
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
        // Row (iy + p - ky) / S of the output, which may lie in the frame; the frame is p + 1 wide, counted in from
        // there.
        let row = (iy + p + S * (p + 1) - ky) / S;
        // The farthest offset is that of the last column and the first tap.
        let reach = (S - 1 + p + S * (p + 1)) / S;
        let row = &gy.values[row * gy.stride + j * c + at..][..(B - 1 + reach) * c + L];
        for f in 0..S {
            for kx in 0..K {
                if !(f + p + S * K - kx).is_multiple_of(S) {
                    continue;
                }
                let weight = load::<_, L>(w, (ky * K + kx) * c);
                let offset = (f + p + S * (p + 1) - kx) / S;
                for (b, sums) in sums.iter_mut().enumerate() {
                    // SAFETY: b ≤ B - 1 and offset ≤ reach, since f ≤ S - 1 and kx ≥ 0; the row was cut to end with
                    // that block.
                    let gy = unsafe { load_unchecked(row, (b + offset) * c) };
                    isa.add_products(&mut sums[f], gy, weight);
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
    pub(crate) fn image_backward_weight(g: &DepthwiseShape, x: &Frame, gy: &Frame, gw: &mut [f32]) = image_backward_weight_body[LANES]
}

#[inline(always)]
fn image_backward_weight_body<I: Isa, const L: usize>(
    isa: I,
    g: &DepthwiseShape,
    x: &Frame,
    gy: &Frame,
    gw: &mut [f32],
) {
    for_channel_blocks!(g, block_backward_weight::<I, L>(isa, g, x, gy, gw));
}

#[inline(always)]
fn block_backward_weight<I: Isa, const L: usize, const K: usize, const S: usize>(
    isa: I,
    g: &DepthwiseShape,
    x: &Frame,
    gy: &Frame,
    gw: &mut [f32],
    at: usize,
) {
    let c = g.c;
    let (h_out, w_out) = (g.h_out(), g.w_out());
    if K == 0 {
        for (ky, kx) in taps(g.kernel) {
            let mut sum = load::<_, L>(gw, (ky * g.kernel + kx) * c + at);
            for oy in 0..h_out {
                for ox in 0..w_out {
                    let (iy, ix) = (oy * g.stride + ky * g.dilation, ox * g.stride + kx * g.dilation);
                    let x = load::<_, L>(&x.values, iy * x.stride + ix * c + at);
                    isa.add_products(&mut sum, x, load(&gy.values, gy.first + oy * gy.stride + ox * c + at));
                }
            }
            store(gw, (ky * g.kernel + kx) * c + at, sum);
        }
        return;
    }
    let mut sums = [[[0.; L]; K]; K];
    for (ky, sums) in sums.iter_mut().enumerate() {
        for (kx, sum) in sums.iter_mut().enumerate() {
            *sum = load(gw, (ky * K + kx) * c + at);
        }
    }
    for oy in 0..h_out {
        let mut rows: [&[f32]; K] = [&[]; K];
        for (ky, row) in rows.iter_mut().enumerate() {
            *row = &x.values[(oy * S + ky) * x.stride + at..][..((w_out - 1) * S + K - 1) * c + L];
        }
        let gy = &gy.values[gy.first + oy * gy.stride + at..];
        for ox in 0..w_out {
            let gy = load::<_, L>(gy, ox * c);
            for (sums, row) in sums.iter_mut().zip(rows) {
                for (kx, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: ox ≤ w_out - 1 and kx ≤ K - 1, and the rows were cut to end with that block.
                    let x = unsafe { load_unchecked(row, (ox * S + kx) * c) };
                    isa.add_products(sum, x, gy);
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
