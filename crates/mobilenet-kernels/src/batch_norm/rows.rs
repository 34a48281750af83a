//! The passes over rows of channels, each written once for every instruction set.
//!
//! Rows are walked in strips: down a register's worth of channels, whose mean, scale and sums stay in registers, then down the
//! next, while the strip is in the L1. The loads ask for the next strip in time.

use super::Affine;
use crate::activation::Function;
use crate::simd::{Arithmetic, for_each_level, for_lanes, load, prefetch, store};

/// How many rows are summed in float32: more of them would cost digits of the statistics.
const RUN: usize = 64;

/// How many rows are walked over before the next block of channels: few enough that they are still in the L1 then.
const STRIP: usize = 16;

for_each_level! {
    /// `sum[c] += Σ (x - origin)` and `square[c] += Σ (x - origin)²`
    pub(super) fn moments(xs: &[f32], origin: &[f32], sum: &mut [f64], square: &mut [f64]) = moments_body[LANES]
}

#[inline(always)]
fn moments_body<A: Arithmetic, const L: usize>(xs: &[f32], origin: &[f32], sum: &mut [f64], square: &mut [f64]) {
    let c = origin.len();
    for xs in xs.chunks(RUN * c) {
        for_lanes!(c, moments_lanes::<A; L>(xs, origin, sum, square));
    }
}

#[inline(always)]
fn moments_lanes<A: Arithmetic, const L: usize>(
    xs: &[f32],
    origin: &[f32],
    sum: &mut [f64],
    square: &mut [f64],
    at: usize,
) {
    let c = origin.len();
    let origin: [f32; L] = load(origin, at);
    let (mut even, mut odd) = ([[0.; L]; 2], [[0.; L]; 2]);
    let mut pairs = xs.chunks_exact(2 * c);
    for pair in &mut pairs {
        add_moments::<A, L>(load(pair, at), origin, &mut even);
        add_moments::<A, L>(load(pair, c + at), origin, &mut odd);
    }
    if let Some(row) = pairs.remainder().chunks_exact(c).next() {
        add_moments::<A, L>(load(row, at), origin, &mut even);
    }
    accumulate(&mut sum[at..at + L], even[0], odd[0]);
    accumulate(&mut square[at..at + L], even[1], odd[1]);
}

/// One row's part of the sums of `x - origin` and of its square. Even and odd rows have sums of their own: one addition need
/// not wait for the other.
#[inline(always)]
fn add_moments<A: Arithmetic, const L: usize>(x: [f32; L], origin: [f32; L], sums: &mut [[f32; L]; 2]) {
    for l in 0..L {
        let d = x[l] - origin[l];
        sums[0][l] += d;
        sums[1][l] = A::mul_add(d, d, sums[1][l]);
    }
}

#[inline(always)]
fn accumulate<const L: usize>(total: &mut [f64], even: [f32; L], odd: [f32; L]) {
    for (l, total) in total.iter_mut().enumerate() {
        *total += f64::from(even[l] + odd[l]);
    }
}

for_each_level! {
    /// `ys = act((xs - mean) · scale + bias)` over rows.
    pub(crate) fn normalize<F: Function>(xs: &[f32], affine: Affine, ys: &mut [f32]) = normalize_body[LANES]
}

#[inline(always)]
fn normalize_body<A: Arithmetic, const L: usize, F: Function>(xs: &[f32], affine: Affine, ys: &mut [f32]) {
    let c = affine.scale.len();
    for (xs, ys) in xs.chunks(STRIP * c).zip(ys.chunks_mut(STRIP * c)) {
        for_lanes!(c, normalize_lanes::<A, F; L>(xs, affine, ys));
    }
}

#[inline(always)]
fn normalize_lanes<A: Arithmetic, F: Function, const L: usize>(xs: &[f32], affine: Affine, ys: &mut [f32], at: usize) {
    let c = affine.scale.len();
    let [mean, scale, bias] = affine.load::<L>(at);
    for (x, y) in xs.chunks_exact(c).zip(ys.chunks_exact_mut(c)) {
        prefetch(x, STRIP * c + at);
        let mut block: [f32; L] = load(x, at);
        for l in 0..L {
            block[l] = F::value(A::mul_add(block[l] - mean[l], scale[l], bias[l]));
        }
        store(y, at, block);
    }
}

for_each_level! {
    /// Turns the gradient `gs` of the activation into that of its input, `g = g · act'`, with the sums `sum[c] += Σ g` and
    /// `dot[c] += Σ g · (x - mean)`.
    pub(super) fn through_activation<F: Function>(
        xs: &[f32], affine: Affine, gs: &mut [f32], sum: &mut [f64], dot: &mut [f64],
    ) = through_activation_body[LANES]
}

#[inline(always)]
fn through_activation_body<A: Arithmetic, const L: usize, F: Function>(
    xs: &[f32],
    affine: Affine,
    gs: &mut [f32],
    sum: &mut [f64],
    dot: &mut [f64],
) {
    let c = affine.scale.len();
    for (xs, gs) in xs.chunks(RUN * c).zip(gs.chunks_mut(RUN * c)) {
        for_lanes!(c, through_activation_lanes::<A, F; L>(xs, affine, gs, sum, dot));
    }
}

#[inline(always)]
fn through_activation_lanes<A: Arithmetic, F: Function, const L: usize>(
    xs: &[f32],
    affine: Affine,
    gs: &mut [f32],
    sum: &mut [f64],
    dot: &mut [f64],
    at: usize,
) {
    let c = affine.scale.len();
    let affine = affine.load::<L>(at);
    let (mut even, mut odd) = ([[0.; L]; 2], [[0.; L]; 2]);
    let (mut x_pairs, mut g_pairs) = (xs.chunks_exact(2 * c), gs.chunks_exact_mut(2 * c));
    for (x, g) in (&mut x_pairs).zip(&mut g_pairs) {
        row_through_activation::<A, F, L>(load(x, at), affine, &mut g[at..at + L], &mut even);
        row_through_activation::<A, F, L>(load(x, c + at), affine, &mut g[c + at..c + at + L], &mut odd);
    }
    if let (Some(x), Some(g)) =
        (x_pairs.remainder().chunks_exact(c).next(), g_pairs.into_remainder().chunks_exact_mut(c).next())
    {
        row_through_activation::<A, F, L>(load(x, at), affine, &mut g[at..at + L], &mut even);
    }
    accumulate(&mut sum[at..at + L], even[0], odd[0]);
    accumulate(&mut dot[at..at + L], even[1], odd[1]);
}

#[inline(always)]
fn row_through_activation<A: Arithmetic, F: Function, const L: usize>(
    x: [f32; L],
    [mean, scale, bias]: [[f32; L]; 3],
    g: &mut [f32],
    sums: &mut [[f32; L]; 2],
) {
    let mut block: [f32; L] = load(g, 0);
    for l in 0..L {
        let d = x[l] - mean[l];
        block[l] *= F::derivative(A::mul_add(d, scale[l], bias[l]));
        sums[0][l] += block[l];
        sums[1][l] = A::mul_add(block[l], d, sums[1][l]);
    }
    store(g, 0, block);
}

for_each_level! {
    /// `gx = scale · g + slope · (x - mean) + offset`, `g` being the gradient of the batch norm's output.
    pub(crate) fn input_gradient(
        xs: &[f32], gs: &[f32], affine: Affine, slope: &[f32], offset: &[f32], gxs: &mut [f32],
    ) = input_gradient_body[LANES]
}

#[inline(always)]
fn input_gradient_body<A: Arithmetic, const L: usize>(
    xs: &[f32],
    gs: &[f32],
    affine: Affine,
    slope: &[f32],
    offset: &[f32],
    gxs: &mut [f32],
) {
    let c = affine.scale.len();
    for ((xs, gs), gxs) in xs.chunks(STRIP * c).zip(gs.chunks(STRIP * c)).zip(gxs.chunks_mut(STRIP * c)) {
        for_lanes!(c, input_gradient_lanes::<A; L>(xs, gs, affine, slope, offset, gxs));
    }
}

#[inline(always)]
fn input_gradient_lanes<A: Arithmetic, const L: usize>(
    xs: &[f32],
    gs: &[f32],
    affine: Affine,
    slope: &[f32],
    offset: &[f32],
    gxs: &mut [f32],
    at: usize,
) {
    let c = affine.scale.len();
    let [mean, scale, _] = affine.load::<L>(at);
    let (slope, offset): ([f32; L], [f32; L]) = (load(slope, at), load(offset, at));
    for ((x, g), gx) in xs.chunks_exact(c).zip(gs.chunks_exact(c)).zip(gxs.chunks_exact_mut(c)) {
        prefetch(x, STRIP * c + at);
        prefetch(g, STRIP * c + at);
        let (x, mut block): ([f32; L], [f32; L]) = (load(x, at), load(g, at));
        for l in 0..L {
            block[l] = A::mul_add(block[l], scale[l], A::mul_add(x[l] - mean[l], slope[l], offset[l]));
        }
        store(gx, at, block);
    }
}
