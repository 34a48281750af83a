//! Depthwise convolutions of images as they are or in a frame, a panel of channels at a time.

use super::Epilogue;
use super::depthwise::{WindowPanel, WindowShape};
use super::multiply::unrolled;
use super::panels::{MOST_REGISTERS, Tiles};
use super::shards::Shards;
use crate::simd::{Isa, for_each_level, load, load_unchecked, store};

/// Rows of an image that windows move over, as they are or within a frame, and where rows of the result go.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// `[h, w, channels]`
    pub(super) values: &'a [f32],
    /// Rows of them, pixels of a row, and values from one pixel to the next.
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) step: usize,
    /// The first channel of the panel.
    pub(super) channel: usize,
    /// Rows and pixels around these values, which are zeros.
    pub(super) padding: usize,
    /// The first row of the result's first window, counted from the first of these zeros.
    pub(super) top: usize,
    /// Rows of the result.
    pub(super) rows_out: usize,
    /// Where the first of them goes.
    pub(super) first: usize,
    /// Values from one pixel of the result to the next.
    pub(super) pixel: usize,
}

impl Rows<'_> {
    /// Of windows that move by `stride`, the first place and the one after the last that take no zeros from around `len`
    /// values; `reach` is from a window's first tap to its last.
    fn inside(&self, len: usize, stride: usize, reach: usize) -> (usize, usize) {
        let first = self.padding.div_ceil(stride);
        let end = (len + self.padding).checked_sub(reach + 1).map_or(0, |last| last / stride + 1);
        (first, end)
    }

    /// The first tap and the one after the last that lie within `len` values, of a window at `at`.
    fn taps(&self, at: usize, len: usize, kernel: usize, dilation: usize) -> (usize, usize) {
        let first = self.padding.saturating_sub(at).div_ceil(dilation).min(kernel);
        let end = (len + self.padding).saturating_sub(at).div_ceil(dilation).min(kernel);
        (first, end.max(first))
    }
}

for_each_level! {
    /// Writes `epilogue(Σ_taps rows · window + bias)` for a panel of channels, and sets `sums` to each channel's sum over
    /// these pixels, if there are any.
    pub(super) fn convolve(
        shape: WindowShape,
        rows: Rows,
        panel: WindowPanel,
        epilogue: &Epilogue,
        sums: &mut [f32],
        to: Shards<f32>,
    ) = convolve_body[LANES]
}

#[inline(always)]
fn convolve_body<I: Isa, const L: usize>(
    isa: I,
    shape: WindowShape,
    rows: Rows,
    panel: WindowPanel,
    epilogue: &Epilogue,
    sums: &mut [f32],
    to: Shards<f32>,
) {
    let one = WindowShape { dilation: 1, ..shape };
    let at = |stride| WindowShape { stride, ..one };
    match (shape.kernel, shape.stride, shape.dilation) {
        (3, 1, 1) => panel_rows::<I, L, 3>(isa, at(1), rows, panel, epilogue, sums, to),
        (3, 2, 1) => panel_rows::<I, L, 3>(isa, at(2), rows, panel, epilogue, sums, to),
        (5, 1, 1) => panel_rows::<I, L, 5>(isa, at(1), rows, panel, epilogue, sums, to),
        (5, 2, 1) => panel_rows::<I, L, 5>(isa, at(2), rows, panel, epilogue, sums, to),
        _ => panel_rows::<I, L, 0>(isa, shape, rows, panel, epilogue, sums, to),
    }
}

/// `K` is the window's size, or 0 where it is not known beforehand.
#[inline(always)]
fn panel_rows<I: Isa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    rows: Rows,
    panel: WindowPanel,
    epilogue: &Epilogue,
    sums: &mut [f32],
    to: Shards<f32>,
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let WindowShape { stride, dilation, .. } = shape;
    let w_out = shape.w_out();
    assert!(panel.weight.len() == kernel * kernel * panel.width && panel.bias.len() == panel.width);
    let (left, right) = rows.inside(rows.w, stride, (kernel - 1) * dilation);
    let right = right.min(w_out);
    let left = left.min(right);
    let inner = Tiles::new(right - left, MOST_PIXELS);
    let sums_wanted = !sums.is_empty();
    let lanes = || (0..panel.channels.min(panel.width)).step_by(L);
    let mut totals = [[0f32; L]; MOST_REGISTERS];
    // Row after row, so that what the windows of neighboring rows share stays in the nearest cache.
    for y in 0..rows.rows_out {
        let top = rows.top + y * stride;
        let taps = rows.taps(top, rows.h, kernel, dilation);
        let row = rows.w * rows.step;
        for (lane, total) in lanes().zip(&mut totals) {
            let channels = (panel.channels - lane).min(L);
            let end = match epilogue {
                &Epilogue::Clamp { low, high } if channels == L => End::Clamp { low, high },
                Epilogue::HSwish if channels == L => End::HSwish,
                _ => End::Kept,
            };
            let line = Line {
                values: rows.values,
                row,
                step: rows.step,
                // Taps that lie before the first value are left out, so that what is added to this makes it a place.
                start: top.wrapping_sub(rows.padding).wrapping_mul(row).wrapping_add(rows.channel + lane),
                kernel,
                taps,
                lane,
                first: rows.first + y * w_out * rows.pixel + panel.first + lane,
                pixel: rows.pixel,
            };
            let mut kept = [[0f32; L]; MOST_PIXELS];
            let (mut x, mut tiles) = (0, inner);
            while x < w_out {
                let counted = sums_wanted.then_some(&mut *total);
                let is_edge = x < left || x >= right;
                let pixels = if is_edge {
                    let columns = rows.taps(x * stride, rows.w, kernel, dilation);
                    let at = (x * stride).wrapping_sub(rows.padding);
                    tile::<I, L, K, 1>(isa, shape, line, panel, columns, at, x, end, counted, &mut kept, to);
                    1
                } else {
                    let pixels = tiles.take();
                    let at = x * stride - rows.padding;
                    macro_rules! tile {
                        ($($T:literal)*) => {
                            match pixels {
                                $($T => tile::<I, L, K, $T>(
                                    isa, shape, line, panel, (0, kernel), at, x, end, counted, &mut kept, to,
                                ),)*
                                _ => {}
                            }
                        };
                    }
                    tile!(1 2 3 4 5 6 7 8);
                    pixels
                };
                if let End::Kept = end {
                    finish(isa, &mut kept[..pixels], epilogue, channels, total, line, x, to);
                }
                x += pixels;
            }
        }
    }
    if sums_wanted {
        for (lane, total) in lanes().zip(&totals) {
            let channels = (panel.channels - lane).min(L);
            sums[lane..][..channels].copy_from_slice(&total[..channels]);
        }
    }
}

/// What is done with a tile's sums.
#[derive(Clone, Copy)]
enum End {
    /// They are kept between limits and written.
    Clamp { low: f32, high: f32 },
    /// They are activated and written.
    HSwish,
    /// They are left to [`finish`].
    Kept,
}

/// A register of channels of a row of the result, and the rows that it is made of.
#[derive(Clone, Copy)]
struct Line<'a> {
    values: &'a [f32],
    /// Values from one row to the next, and from one pixel.
    row: usize,
    step: usize,
    /// The window's first row's first pixel: of this place it is known modulo 2^64 alone.
    start: usize,
    kernel: usize,
    /// The first tap and the one after the last, of the rows.
    taps: (usize, usize),
    /// The first of these channels in the panel.
    lane: usize,
    /// Where the first pixel goes, and values to the next.
    first: usize,
    pixel: usize,
}

/// Activates and writes neighboring pixels of the result, where the tile itself does not.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn finish<I: Isa, const L: usize>(
    isa: I,
    kept: &mut [[f32; L]],
    epilogue: &Epilogue,
    channels: usize,
    total: &mut [f32; L],
    line: Line,
    x: usize,
    to: Shards<f32>,
) {
    for (t, values) in kept.iter_mut().enumerate() {
        *values = epilogue.apply(isa, *values);
        *total = isa.add(*total, *values);
        // SAFETY: these channels of these pixels are this task's alone.
        let to = unsafe { to.values(line.first + (x + t) * line.pixel, channels) };
        to.copy_from_slice(&values[..channels]);
    }
}

/// Pixels of a tile, at most.
pub(super) const MOST_PIXELS: usize = 8;

/// `T` neighboring pixels of the result, the first at `x`, whose window begins at pixel `at` of a row; `columns` are the
/// first tap and the one after the last, of a row.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn tile<I: Isa, const L: usize, const K: usize, const T: usize>(
    isa: I,
    shape: WindowShape,
    line: Line,
    panel: WindowPanel,
    columns: (usize, usize),
    at: usize,
    x: usize,
    end: End,
    total: Option<&mut [f32; L]>,
    kept: &mut [[f32; L]; MOST_PIXELS],
    to: Shards<f32>,
) {
    let Line { values, row, step, taps, lane, .. } = line;
    let kernel = if K == 0 { line.kernel } else { K };
    let bias: [f32; L] = load(panel.bias, lane);
    let mut sums = [[0f32; L]; T];
    unrolled!(T, t => sums[t] = bias);
    let start = line.start.wrapping_add(at.wrapping_mul(step));
    let place =
        |ky: usize, kx: usize| start.wrapping_add(ky * shape.dilation * row).wrapping_add(kx * shape.dilation * step);
    if taps.0 < taps.1 && columns.0 < columns.1 {
        let last = place(taps.1 - 1, columns.1 - 1).wrapping_add((T - 1) * shape.stride * step);
        let first = place(taps.0, columns.0);
        assert!(first <= last && last.checked_add(L).is_some_and(|end| end <= values.len()));
        assert!((kernel * kernel - 1) * panel.width + lane + L <= panel.weight.len());
        assert!(taps.1 <= kernel && columns.1 <= kernel);
    }
    for ky in taps.0..taps.1 {
        for kx in columns.0..columns.1 {
            // SAFETY: the last tap's end was asserted to be within.
            let weight: [f32; L] = unsafe { load_unchecked(panel.weight, (ky * kernel + kx) * panel.width + lane) };
            let first = place(ky, kx);
            unrolled!(T, t => {
                // SAFETY: between the first pixel's first tap and the last one's last, which were asserted to be within.
                let value: [f32; L] = unsafe { load_unchecked(values, first + t * shape.stride * step) };
                isa.add_products(&mut sums[t], value, weight)
            });
        }
    }
    macro_rules! written {
        ($values:ident => $activated:expr) => {{
            unrolled!(T, t => {
                let $values = sums[t];
                sums[t] = $activated;
                // SAFETY: these channels of these pixels are this task's alone.
                let to = unsafe { to.values(line.first + (x + t) * line.pixel, L) };
                store(to, 0, sums[t])
            });
            if let Some(total) = total {
                let mut sum = *total;
                unrolled!(T, t => sum = isa.add(sum, sums[t]));
                *total = sum;
            }
        }};
    }
    match end {
        End::Clamp { low, high } => written!(values => isa.at_most(high, isa.at_least(low, values))),
        End::HSwish => written!(values => Epilogue::HSwish.apply(isa, values)),
        End::Kept => kept[..T].copy_from_slice(&sums),
    }
}
