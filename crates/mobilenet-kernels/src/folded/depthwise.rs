//! Depthwise convolutions of images in a frame, a panel of channels at a time.

use super::Epilogue;
use super::panels::{Aligned, lanes, panels, unrolled};
use super::shards::Shards;
use crate::simd::{Isa, Level, for_each_level, load, load_unchecked, store};

/// A depthwise convolution of images `[h, w, c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShape {
    /// Height of the image.
    pub h: usize,
    /// Width of the image.
    pub w: usize,
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Distance of the window's taps.
    pub dilation: usize,
}

impl WindowShape {
    /// Zeros around the image.
    pub fn padding(&self) -> usize {
        self.dilation * (self.kernel - 1) / 2
    }

    /// Height of the result.
    pub fn h_out(&self) -> usize {
        (self.h - 1) / self.stride + 1
    }

    /// Width of the result.
    pub fn w_out(&self) -> usize {
        (self.w - 1) / self.stride + 1
    }

    /// Rows of the image and its border that rows of the result are made of.
    pub(super) fn rows_in(&self, rows_out: usize) -> usize {
        (rows_out - 1) * self.stride + self.dilation * (self.kernel - 1) + 1
    }

    /// Pixels of a framed row.
    pub(super) fn framed_width(&self) -> usize {
        (self.w + 2 * self.padding()).max((self.w_out() - 1) * self.stride + self.dilation * (self.kernel - 1) + 1)
    }
}

/// The windows and bias of a depthwise convolution, in panels of channels, each panel tap by tap.
#[derive(Debug)]
pub struct Windows {
    pub(super) level: Level,
    channels: usize,
    taps: usize,
    panels: Vec<(usize, usize)>,
    weight: Aligned,
    bias: Aligned,
}

impl Windows {
    /// Packs `weight`, `[channels, kernel, kernel]`, with a bias for each channel.
    ///
    /// # Panics
    /// The slices have other lengths, or there is no channel.
    pub fn new(level: Level, weight: &[f32], kernel: usize, bias: &[f32]) -> Self {
        let (channels, taps) = (bias.len(), kernel * kernel);
        assert!(channels > 0, "a convolution without channels");
        assert_eq!(weight.len(), channels * taps, "windows of {taps} taps for {channels} channels");
        let panels = panels(channels, lanes(level));
        let width = panels.last().map_or(0, |(first, width)| first + width);
        let (mut packed, mut padded_bias) = (Aligned::zeroed(width * taps), Aligned::zeroed(width));
        padded_bias.values_mut()[..channels].copy_from_slice(bias);
        for &(first, width) in &panels {
            let panel = &mut packed.values_mut()[first * taps..(first + width) * taps];
            for (tap, row) in panel.chunks_exact_mut(width).enumerate() {
                for (to, channel) in row.iter_mut().zip(first..channels) {
                    *to = weight[channel * taps + tap];
                }
            }
        }
        Self { level, channels, taps, panels, weight: packed, bias: padded_bias }
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How many panels there are.
    pub(super) fn len(&self) -> usize {
        self.panels.len()
    }

    /// Bytes of what was packed.
    pub fn bytes(&self) -> usize {
        size_of_val(self.weight.values()) + size_of_val(self.bias.values())
    }

    /// Channels of the widest panel.
    pub(super) fn widest(&self) -> usize {
        self.panels.iter().map(|(_, width)| *width).max().unwrap_or(0)
    }

    pub(super) fn panel(&self, i: usize) -> WindowPanel<'_> {
        let (first, width) = self.panels[i];
        WindowPanel {
            first,
            width,
            channels: width.min(self.channels - first),
            weight: &self.weight.values()[first * self.taps..(first + width) * self.taps],
            bias: &self.bias.values()[first..first + width],
        }
    }
}

/// Some channels of a depthwise convolution.
#[derive(Clone, Copy)]
pub(super) struct WindowPanel<'a> {
    pub(super) first: usize,
    /// Channels that are computed, and of the frame.
    pub(super) width: usize,
    /// Channels that there are.
    pub(super) channels: usize,
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// A frame of some rows of the image, and where rows of the result go.
#[derive(Clone, Copy)]
pub(super) struct Framed<'a> {
    /// `[rows, framed width, panel width]`
    pub(super) values: &'a [f32],
    /// Rows of the result.
    pub(super) rows_out: usize,
    /// Where the first of them goes.
    pub(super) first: usize,
    /// Values from one pixel of the result to the next.
    pub(super) pixel: usize,
}

for_each_level! {
    /// Writes `epilogue(Σ_taps frame · window + bias)` for a panel of channels, and sets `sums` to each channel's sum over
    /// these pixels, if there are any.
    pub(super) fn convolve(
        shape: WindowShape,
        frame: Framed,
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
    frame: Framed,
    panel: WindowPanel,
    epilogue: &Epilogue,
    sums: &mut [f32],
    to: Shards<f32>,
) {
    match (shape.kernel, shape.stride) {
        (3, 1) => panel_rows::<I, L, 3>(isa, WindowShape { stride: 1, ..shape }, frame, panel, epilogue, sums, to),
        (3, 2) => panel_rows::<I, L, 3>(isa, WindowShape { stride: 2, ..shape }, frame, panel, epilogue, sums, to),
        (5, 1) => panel_rows::<I, L, 5>(isa, WindowShape { stride: 1, ..shape }, frame, panel, epilogue, sums, to),
        (5, 2) => panel_rows::<I, L, 5>(isa, WindowShape { stride: 2, ..shape }, frame, panel, epilogue, sums, to),
        _ => panel_rows::<I, L, 0>(isa, shape, frame, panel, epilogue, sums, to),
    }
}

/// `K` is the window's size, or 0 where it is not known beforehand.
#[inline(always)]
fn panel_rows<I: Isa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    frame: Framed,
    panel: WindowPanel,
    epilogue: &Epilogue,
    sums: &mut [f32],
    to: Shards<f32>,
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let (w_out, framed_row) = (shape.w_out(), shape.framed_width() * panel.width);
    assert!(panel.weight.len() == kernel * kernel * panel.width && panel.bias.len() == panel.width);
    assert!(frame.values.len() >= shape.rows_in(frame.rows_out) * framed_row);
    let sums_wanted = !sums.is_empty();
    for lane in (0..panel.width).step_by(L) {
        let channels = panel.channels.saturating_sub(lane).min(L);
        if channels == 0 {
            break;
        }
        let mut total = [0f32; L];
        for y in 0..frame.rows_out {
            let row = &frame.values[y * shape.stride * framed_row..];
            let line = Line {
                row,
                framed_row,
                kernel,
                lane,
                channels,
                first: frame.first + y * w_out * frame.pixel + panel.first + lane,
                pixel: frame.pixel,
            };
            let mut x = 0;
            let mut values = [[0f32; L]; MOST_PIXELS];
            while x < w_out {
                let pixels = match w_out - x {
                    MOST_PIXELS.. => tile::<I, L, K, MOST_PIXELS>(isa, shape, line, panel, x, &mut values),
                    4.. => tile::<I, L, K, 4>(isa, shape, line, panel, x, &mut values),
                    _ => tile::<I, L, K, 1>(isa, shape, line, panel, x, &mut values),
                };
                finish(isa, &mut values[..pixels], epilogue, sums_wanted.then_some(&mut total), line, x, to);
                x += pixels;
            }
        }
        if sums_wanted {
            sums[lane..][..channels].copy_from_slice(&total[..channels]);
        }
    }
}

/// A register of channels of a row of the result, and the framed rows that it is made of.
#[derive(Clone, Copy)]
struct Line<'a> {
    row: &'a [f32],
    /// Values from one framed row to the next.
    framed_row: usize,
    kernel: usize,
    /// The first of these channels in the panel.
    lane: usize,
    /// How many of them there are.
    channels: usize,
    /// Where the first pixel goes, and values to the next.
    first: usize,
    pixel: usize,
}

/// Activates and writes neighboring pixels of the result.
#[inline(always)]
fn finish<I: Isa, const L: usize>(
    isa: I,
    values: &mut [[f32; L]],
    epilogue: &Epilogue,
    total: Option<&mut [f32; L]>,
    line: Line,
    x: usize,
    to: Shards<f32>,
) {
    match epilogue {
        Epilogue::Clamp { low, high } => {
            for values in &mut *values {
                *values = isa.at_most(*high, isa.at_least(*low, *values));
            }
        }
        other => {
            for values in &mut *values {
                *values = other.apply(isa, *values);
            }
        }
    }
    for (t, values) in values.iter().enumerate() {
        // SAFETY: these channels of these pixels are this task's alone.
        let to = unsafe { to.values(line.first + (x + t) * line.pixel, line.channels) };
        if line.channels == L {
            store(to, 0, *values);
        } else {
            to.copy_from_slice(&values[..line.channels]);
        }
    }
    if let Some(total) = total {
        for values in values {
            *total = isa.add(*total, *values);
        }
    }
}

/// Pixels of a tile, at most.
pub(super) const MOST_PIXELS: usize = 8;

/// `T` neighboring pixels of the result, before the activation; returns how many.
#[inline(always)]
fn tile<I: Isa, const L: usize, const K: usize, const T: usize>(
    isa: I,
    shape: WindowShape,
    line: Line,
    panel: WindowPanel,
    x: usize,
    kept: &mut [[f32; L]; MOST_PIXELS],
) -> usize {
    let Line { row, framed_row, lane, .. } = line;
    let kernel = if K == 0 { line.kernel } else { K };
    let bias: [f32; L] = load(panel.bias, lane);
    let mut sums = [[0f32; L]; T];
    unrolled!(T, t => sums[t] = bias);
    let last = ((x + T - 1) * shape.stride + (kernel - 1) * shape.dilation) * panel.width + lane + L;
    assert!((kernel - 1) * shape.dilation * framed_row + last <= row.len());
    assert!((kernel * kernel - 1) * panel.width + lane + L <= panel.weight.len());
    for ky in 0..kernel {
        for kx in 0..kernel {
            // SAFETY: the last tap's end was asserted to be within.
            let weight: [f32; L] = unsafe { load_unchecked(panel.weight, (ky * kernel + kx) * panel.width + lane) };
            let first =
                ky * shape.dilation * framed_row + (x * shape.stride + kx * shape.dilation) * panel.width + lane;
            unrolled!(T, t => {
                // SAFETY: the last pixel's last tap was asserted to be within.
                let value: [f32; L] = unsafe { load_unchecked(row, first + t * shape.stride * panel.width) };
                isa.add_products(&mut sums[t], value, weight)
            });
        }
    }
    kept[..T].copy_from_slice(&sums);
    T
}
