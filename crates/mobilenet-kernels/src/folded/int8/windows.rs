//! Depthwise convolutions of bytes in a frame, a panel of channels at a time.
//!
//! Rows of a window lie one below the other: their bytes are laid side by side in words, four rows (or two) of one channel, so
//! that a step of a sum takes several taps. A word serves every window that its column is part of.

use super::super::Epilogue;
use super::super::aligned::Aligned;
use super::super::convolve::MOST_PIXELS;
use super::super::depthwise::WindowShape;
use super::super::multiply::unrolled;
use super::super::panels::panels;
use super::super::shards::Shards;
use super::output::{Affine, Output, Scales, is_signed, scale_and_bias, start};
use super::panels::{lanes_and_step, word};
use crate::simd::{ByteIsa, Level, for_each_byte_level, load, load_unchecked, store};

/// The windows and bias of a depthwise convolution of bytes, in panels of channels.
#[derive(Debug)]
pub struct ByteWindows {
    pub(super) level: Level,
    channels: usize,
    /// Words of a window: for each column its rows, in as many words as they need.
    words_per_window: usize,
    panels: Vec<(usize, usize)>,
    words: Aligned<u32>,
    scale: Aligned,
    bias: Aligned,
    starts: Aligned<i32>,
    /// The input's.
    pub(super) zero_point: u8,
}

impl ByteWindows {
    /// Packs `weight`, `[channels, kernel, kernel]`, with a scale and a bias for each channel, for an input of what `input`
    /// says.
    ///
    /// # Panics
    /// The slices have other lengths, or there is no channel.
    pub fn new(level: Level, weight: &[i8], kernel: usize, scales: &[f32], bias: &[f32], input: Affine) -> Self {
        let (channels, taps) = (bias.len(), kernel * kernel);
        assert!(channels > 0, "a convolution without channels");
        assert!(weight.len() == channels * taps && scales.len() == channels, "windows of {channels} channels");
        let (lanes, step) = lanes_and_step(level);
        let groups = kernel.div_ceil(step);
        let words_per_window = kernel * groups;
        let panels = panels(channels, lanes);
        let width = panels.last().map_or(0, |(first, width)| first + width);
        let mut words = Aligned::zeroed(width * words_per_window);
        let [mut scale, mut padded_bias] = [(); 2].map(|()| Aligned::zeroed(width));
        let mut starts = Aligned::zeroed(if is_signed(level) { width } else { 0 });
        for channel in 0..channels {
            let window = weight[channel * taps..(channel + 1) * taps].iter().copied();
            if let Some(to) = starts.values_mut().get_mut(channel) {
                *to = start(window.clone());
            }
            let (factor, offset) = scale_and_bias(input, scales[channel], window, bias[channel]);
            (scale.values_mut()[channel], padded_bias.values_mut()[channel]) = (factor, offset);
        }
        for &(first, width) in &panels {
            let panel = &mut words.values_mut()[first * words_per_window..(first + width) * words_per_window];
            for (i, row) in panel.chunks_exact_mut(width).enumerate() {
                let (kx, group) = (i / groups, i % groups);
                for (to, channel) in row.iter_mut().zip(first..channels) {
                    let mut weights = [0; 4];
                    for (i, to) in weights.iter_mut().enumerate().take(step) {
                        let ky = group * step + i;
                        *to = if ky < kernel { weight[(channel * kernel + ky) * kernel + kx] } else { 0 };
                    }
                    *to = word(step, weights);
                }
            }
        }
        let zero_point = input.zero_point;
        Self { level, channels, words_per_window, panels, words, scale, bias: padded_bias, starts, zero_point }
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// How many panels there are.
    pub(super) fn len(&self) -> usize {
        self.panels.len()
    }

    /// Channels of the widest panel.
    pub(super) fn widest(&self) -> usize {
        self.panels.iter().map(|(_, width)| *width).max().unwrap_or(0)
    }

    /// Bytes of what was packed.
    pub fn bytes(&self) -> usize {
        size_of_val(self.words.values())
            + size_of_val(self.scale.values())
            + size_of_val(self.bias.values())
            + size_of_val(self.starts.values())
    }

    pub(super) fn panel(&self, i: usize) -> ByteWindowPanel<'_> {
        let (first, width) = self.panels[i];
        let words = self.words_per_window;
        ByteWindowPanel {
            first,
            width,
            channels: width.min(self.channels - first),
            words: &self.words.values()[first * words..(first + width) * words],
            scales: Scales {
                scale: &self.scale.values()[first..first + width],
                bias: &self.bias.values()[first..first + width],
                starts: self.starts.values().get(first..first + width).unwrap_or_default(),
            },
        }
    }
}

/// Some channels of a depthwise convolution.
#[derive(Clone, Copy)]
pub(super) struct ByteWindowPanel<'a> {
    pub(super) first: usize,
    /// Channels that are computed, and of the frame.
    pub(super) width: usize,
    /// Channels that there are.
    pub(super) channels: usize,
    words: &'a [u32],
    scales: Scales<'a>,
}

/// A frame of some rows of the image, and where rows of the result go.
#[derive(Clone, Copy)]
pub(super) struct ByteFrame<'a> {
    /// `[rows, framed width, panel width]`
    pub(super) values: &'a [u8],
    /// Rows of the result.
    pub(super) rows_out: usize,
    /// Where the first of them goes.
    pub(super) first: usize,
    /// Values from one pixel of the result to the next.
    pub(super) pixel: usize,
}

for_each_byte_level! {
    /// Writes `output(scale · Σ_taps frame · window + bias)` for a panel of channels, and sets `sums` to each channel's sum of
    /// bytes over these pixels, if there are any. `columns` is scratch: the words of a framed row.
    pub(super) fn convolve(
        shape: WindowShape,
        frame: ByteFrame,
        panel: ByteWindowPanel,
        output: &Output,
        columns: &mut [u32],
        sums: &mut [u32],
        to: Shards<u8>,
    ) = convolve_body
}

/// Words of scratch that [`convolve`] needs.
pub(super) fn columns_len(shape: WindowShape, level: Level) -> usize {
    let (lanes, step) = lanes_and_step(level);
    shape.framed_width() * shape.kernel.div_ceil(step) * lanes
}

#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn convolve_body<I: ByteIsa, const L: usize>(
    isa: I,
    shape: WindowShape,
    frame: ByteFrame,
    panel: ByteWindowPanel,
    output: &Output,
    columns: &mut [u32],
    sums: &mut [u32],
    to: Shards<u8>,
) {
    let one = WindowShape { dilation: 1, ..shape };
    let two = |stride| WindowShape { stride, ..one };
    match (shape.kernel, shape.stride, shape.dilation) {
        (3, 1, 1) => rows::<I, L, 3>(isa, two(1), frame, panel, output, columns, sums, to),
        (3, 2, 1) => rows::<I, L, 3>(isa, two(2), frame, panel, output, columns, sums, to),
        (5, 1, 1) => rows::<I, L, 5>(isa, two(1), frame, panel, output, columns, sums, to),
        (5, 2, 1) => rows::<I, L, 5>(isa, two(2), frame, panel, output, columns, sums, to),
        _ => rows::<I, L, 0>(isa, shape, frame, panel, output, columns, sums, to),
    }
}

/// `K` is the window's size, or 0 where it is not known beforehand.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn rows<I: ByteIsa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    frame: ByteFrame,
    panel: ByteWindowPanel,
    output: &Output,
    columns: &mut [u32],
    sums: &mut [u32],
    to: Shards<u8>,
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let groups = kernel.div_ceil(I::STEP);
    let (w_out, framed) = (shape.w_out(), shape.framed_width());
    let framed_row = framed * panel.width;
    assert!(panel.words.len() == kernel * groups * panel.width);
    assert!(frame.values.len() >= shape.rows_in(frame.rows_out) * framed_row);
    let columns = &mut columns[..framed * groups * L];
    let sums_wanted = !sums.is_empty();
    for lane in (0..panel.width).step_by(L) {
        let channels = panel.channels.saturating_sub(lane).min(L);
        if channels == 0 {
            break;
        }
        let mut total = [0u32; L];
        for y in 0..frame.rows_out {
            let top = &frame.values[y * shape.stride * framed_row..];
            for group in 0..groups {
                // Rows below the window have weights of 0: any row will do for them.
                let row = |i: usize| (group * I::STEP + i).min(kernel - 1) * shape.dilation * framed_row;
                let starts = [row(0), row(1), row(2), row(3)];
                let last = starts[3] + (framed - 1) * panel.width + lane + L;
                assert!(last <= top.len());
                for x in 0..framed {
                    let at = x * panel.width + lane;
                    // SAFETY: the last row's last pixel was asserted to be within.
                    let bytes: [[u8; L]; 4] = starts.map(|start| unsafe { load_unchecked(top, start + at) });
                    store(columns, (x * groups + group) * L, isa.words(bytes));
                }
            }
            let first = frame.first + y * w_out * frame.pixel + panel.first + lane;
            let line = Line { columns, kernel, lane, channels, first, pixel: frame.pixel };
            let mut x = 0;
            let mut found = [[0i32; L]; MOST_PIXELS];
            while x < w_out {
                let pixels = (w_out - x).div_ceil((w_out - x).div_ceil(MOST_PIXELS));
                macro_rules! tile {
                    ($($T:literal)*) => {
                        match pixels {
                            $($T => tile::<I, L, K, $T>(isa, shape, line, panel, x, &mut found),)*
                            _ => {}
                        }
                    };
                }
                tile!(1 2 3 4 5 6 7 8);
                finish(isa, &found[..pixels], panel, output, sums_wanted.then_some(&mut total), line, x, to);
                x += pixels;
            }
        }
        if sums_wanted {
            sums[lane..][..channels].copy_from_slice(&total[..channels]);
        }
    }
}

/// A register of channels of a row of the result, and the words that it is made of.
#[derive(Clone, Copy)]
struct Line<'a> {
    columns: &'a [u32],
    kernel: usize,
    /// The first of these channels in the panel.
    lane: usize,
    /// How many of them there are.
    channels: usize,
    /// Where the first pixel goes, and values to the next.
    first: usize,
    pixel: usize,
}

/// The sums of `T` neighboring pixels of the result.
#[inline(always)]
fn tile<I: ByteIsa, const L: usize, const K: usize, const T: usize>(
    isa: I,
    shape: WindowShape,
    line: Line,
    panel: ByteWindowPanel,
    x: usize,
    kept: &mut [[i32; L]; MOST_PIXELS],
) {
    let kernel = if K == 0 { line.kernel } else { K };
    let groups = kernel.div_ceil(I::STEP);
    let mut sums = match const { I::IS_SIGNED } {
        true => [load(panel.scales.starts, line.lane); T],
        false => [[0i32; L]; T],
    };
    let last = ((x + T - 1) * shape.stride + (kernel - 1) * shape.dilation) * groups + groups - 1;
    assert!((last + 1) * L <= line.columns.len());
    assert!((kernel * groups - 1) * panel.width + line.lane + L <= panel.words.len());
    for kx in 0..kernel {
        for group in 0..groups {
            // SAFETY: the last word's end was asserted to be within.
            let weight: [u32; L] =
                unsafe { load_unchecked(panel.words, (kx * groups + group) * panel.width + line.lane) };
            unrolled!(T, t => {
                let at = ((x + t) * shape.stride + kx * shape.dilation) * groups + group;
                // SAFETY: the last pixel's last word was asserted to be within.
                let value: [u32; L] = unsafe { load_unchecked(line.columns, at * L) };
                isa.dot(&mut sums[t], value, weight)
            });
        }
    }
    kept[..T].copy_from_slice(&sums);
}

/// Makes sums of neighboring pixels what they stand for, activates and writes them.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn finish<I: ByteIsa, const L: usize>(
    isa: I,
    sums: &[[i32; L]],
    panel: ByteWindowPanel,
    output: &Output,
    total: Option<&mut [u32; L]>,
    line: Line,
    x: usize,
    to: Shards<u8>,
) {
    // One loop for each kind, so that a loop does not ask which it is.
    match &output.epilogue {
        Epilogue::Clamp { low, high } => {
            let clamp = |values| isa.at_most(*high, isa.at_least(*low, values));
            write(isa, sums, panel, clamp, output.affine, total, line, x, to);
        }
        Epilogue::HSwish => {
            let h_swish = |values| Epilogue::HSwish.apply(isa, values);
            write(isa, sums, panel, h_swish, output.affine, total, line, x, to);
        }
        other => write(isa, sums, panel, |values| other.apply(isa, values), output.affine, total, line, x, to),
    }
}

/// [`finish`] with an activation.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn write<I: ByteIsa, const L: usize>(
    isa: I,
    sums: &[[i32; L]],
    panel: ByteWindowPanel,
    activation: impl Fn([f32; L]) -> [f32; L],
    affine: Affine,
    mut total: Option<&mut [u32; L]>,
    line: Line,
    x: usize,
    to: Shards<u8>,
) {
    let (scale, bias) = (load(panel.scales.scale, line.lane), load(panel.scales.bias, line.lane));
    for (t, sums) in sums.iter().enumerate() {
        let value = activation(isa.add(isa.mul(isa.floats(*sums), scale), bias));
        let bytes = affine.bytes(isa, value);
        // SAFETY: these channels of these pixels are this task's alone.
        let to = unsafe { to.values(line.first + (x + t) * line.pixel, line.channels) };
        if line.channels == L {
            store(to, 0, bytes);
        } else {
            to.copy_from_slice(&bytes[..line.channels]);
        }
        if let Some(total) = &mut total {
            for l in 0..L {
                total[l] += u32::from(bytes[l]);
            }
        }
    }
}
