//! Depthwise convolutions of bytes in a frame, a panel of channels at a time.

use super::super::aligned::Aligned;
use super::super::convolve::MOST_PIXELS;
use super::super::depthwise::WindowShape;
use super::super::panels::{Tiles, panels};
use super::super::shards::Shards;
use super::finish::{Line, finish};
use super::output::{Affine, Output, Scales, is_signed, scale_and_bias, start};
use super::panels::lanes_and_step;
use super::{windows_of_numbers, windows_of_quads};
use crate::simd::{ByteIsa, Level, for_each_byte_level};

/// The windows and bias of a depthwise convolution of bytes, in panels of channels.
///
/// Where the instruction set multiplies quads, a window's rows lie one below the other: for each of its columns there are
/// words of four rows. They have room for more rows than a window has: so there are words for each row at which it may begin
/// in them. Elsewhere the weights are float32 numbers, tap by tap, and so are the bytes: their sums are whole.
#[derive(Debug)]
pub struct ByteWindows {
    pub(super) level: Level,
    channels: usize,
    /// Words of a window at all the rows where it may begin, or numbers.
    len: usize,
    panels: Vec<(usize, usize)>,
    words: Aligned<u32>,
    numbers: Aligned,
    scale: Aligned,
    bias: Aligned,
    starts: Aligned<i32>,
    /// The input's.
    pub(super) zero_point: u8,
}

/// Height and width of a window of bytes, at most: so that sums of so many taps are exact in float32.
pub const MAX_BYTE_WINDOW: usize = 22;
const _: () = assert!(MAX_BYTE_WINDOW.pow(2) * 255 * 128 <= 1 << 24);

impl ByteWindows {
    /// Packs `weight`, `[channels, kernel, kernel]`, with a scale and a bias for each channel, for an input of what `input`
    /// says.
    ///
    /// # Panics
    /// The slices have other lengths, there is no channel, or a window is larger than [`MAX_BYTE_WINDOW`].
    pub fn new(level: Level, weight: &[i8], kernel: usize, scales: &[f32], bias: &[f32], input: Affine) -> Self {
        let (channels, taps) = (bias.len(), kernel * kernel);
        assert!(channels > 0, "a convolution without channels");
        assert!(weight.len() == channels * taps && scales.len() == channels, "windows of {channels} channels");
        assert!(kernel <= MAX_BYTE_WINDOW, "windows of {kernel}");
        let (lanes, step) = lanes_and_step(level);
        let has_quads = step == 4;
        let (groups, words_len) = (kernel.div_ceil(4), kernel * kernel.div_ceil(4));
        let len = if has_quads { words_len * (spare_rows(kernel) + 1) } else { taps };
        let panels = panels(channels, lanes, 2);
        let width = panels.last().map_or(0, |(first, width)| first + width);
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
        let tap = |channel: usize, ky: usize, kx: usize| weight[(channel * kernel + ky) * kernel + kx];
        let quad = |channel, i: usize| {
            let (begin, i) = (i / words_len, i % words_len);
            u32::from_le_bytes([0, 1, 2, 3].map(|row| match (i % groups * 4 + row).checked_sub(begin) {
                Some(ky) if ky < kernel => tap(channel, ky, i / groups).cast_unsigned(),
                _ => 0,
            }))
        };
        let number = |channel, i: usize| f32::from(tap(channel, i / kernel, i % kernel));
        let (mut words, mut numbers) = (Aligned::zeroed(0), Aligned::zeroed(0));
        match has_quads {
            true => words = packed(&panels, len, channels, quad),
            false => numbers = packed(&panels, len, channels, number),
        }
        let zero_point = input.zero_point;
        Self { level, channels, len, panels, words, numbers, scale, bias: padded_bias, starts, zero_point }
    }

    /// Whether windows move over bytes, and not over their float32 numbers.
    pub(super) fn has_quads(&self) -> bool {
        self.numbers.values().is_empty()
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
            + size_of_val(self.numbers.values())
            + size_of_val(self.scale.values())
            + size_of_val(self.bias.values())
            + size_of_val(self.starts.values())
    }

    pub(super) fn panel(&self, i: usize) -> ByteWindowPanel<'_> {
        let (first, width) = self.panels[i];
        let range = first * self.len..(first + width) * self.len;
        ByteWindowPanel {
            first,
            width,
            channels: width.min(self.channels - first),
            words: self.words.values().get(range.clone()).unwrap_or_default(),
            numbers: self.numbers.values().get(range).unwrap_or_default(),
            scales: Scales {
                scale: &self.scale.values()[first..first + width],
                bias: &self.bias.values()[first..first + width],
                starts: self.starts.values().get(first..first + width).unwrap_or_default(),
            },
        }
    }
}

/// Rows for which there is room in the words of a window beside its own.
#[inline(always)]
pub(super) fn spare_rows(kernel: usize) -> usize {
    kernel.div_ceil(4) * 4 - kernel
}

/// `[len, width]` for each panel, of what channels have.
fn packed<T: Copy + Default>(
    panels: &[(usize, usize)],
    len: usize,
    channels: usize,
    value: impl Fn(usize, usize) -> T,
) -> Aligned<T> {
    let mut all = Aligned::zeroed(panels.iter().map(|(_, width)| width * len).sum());
    for &(first, width) in panels {
        let panel = &mut all.values_mut()[first * len..(first + width) * len];
        for (i, row) in panel.chunks_exact_mut(width).enumerate() {
            row.iter_mut().zip(first..channels).for_each(|(to, channel)| *to = value(channel, i));
        }
    }
    all
}

/// Some channels of a depthwise convolution.
#[derive(Clone, Copy)]
pub(super) struct ByteWindowPanel<'a> {
    pub(super) first: usize,
    /// Channels that are computed, and of the frame.
    pub(super) width: usize,
    /// Channels that there are.
    pub(super) channels: usize,
    /// One of them is empty.
    pub(super) words: &'a [u32],
    pub(super) numbers: &'a [f32],
    pub(super) scales: Scales<'a>,
}

/// A frame of some rows of the image, and where rows of the result go.
#[derive(Clone, Copy)]
pub(super) struct ByteFrame<'a> {
    /// `[rows, framed width, panel width]`: one of them, the other is empty.
    pub(super) bytes: &'a [u8],
    pub(super) numbers: &'a [f32],
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
pub(super) fn columns_len(shape: WindowShape, windows: &ByteWindows) -> usize {
    let (lanes, _) = lanes_and_step(windows.level);
    if windows.has_quads() { shape.framed_width() * shape.kernel.div_ceil(4) * lanes } else { 0 }
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
    let by = |stride| WindowShape { stride, ..one };
    match (shape.kernel, shape.stride, shape.dilation) {
        (3, 1, 1) => rows::<I, L, 3>(isa, by(1), frame, panel, output, columns, sums, to),
        (3, 2, 1) => rows::<I, L, 3>(isa, by(2), frame, panel, output, columns, sums, to),
        (5, 1, 1) => rows::<I, L, 5>(isa, by(1), frame, panel, output, columns, sums, to),
        (5, 2, 1) => rows::<I, L, 5>(isa, by(2), frame, panel, output, columns, sums, to),
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
    let (w_out, framed_row) = (shape.w_out(), shape.framed_width() * panel.width);
    let sums_wanted = !sums.is_empty();
    let lanes = || (0..panel.channels.min(panel.width)).step_by(L);
    let tiles = Tiles::new(w_out, MOST_PIXELS);
    let mut totals = [[0u32; L]; 2];
    let kernel = if K == 0 { shape.kernel } else { K };
    // Rows of the result whose windows are in the same words.
    let most = match shape.dilation {
        1 if const { I::STEP == 4 } => spare_rows(kernel) / shape.stride + 1,
        _ => 1,
    };
    let mut first_row = 0;
    while first_row < frame.rows_out {
        let together = most.min(frame.rows_out - first_row);
        for (lane, total) in lanes().zip(&mut totals) {
            let channels = (panel.channels - lane).min(L);
            if const { I::STEP == 4 } {
                let top = &frame.bytes[first_row * shape.stride * framed_row..];
                let rows = (together - 1) * shape.stride + kernel;
                windows_of_quads::lay_out::<I, L, K>(isa, shape, top, rows, panel.width, lane, columns);
            }
            for row in 0..together {
                let y = first_row + row;
                let first = frame.first + y * w_out * frame.pixel + panel.first + lane;
                let line = Line { lane, channels, first, pixel: frame.pixel };
                let total = sums_wanted.then_some(&mut *total);
                pixels::<I, L, K>(
                    isa,
                    shape,
                    frame,
                    panel,
                    output,
                    columns,
                    y,
                    row * shape.stride,
                    line,
                    tiles,
                    total,
                    to,
                );
            }
        }
        first_row += together;
    }
    if sums_wanted {
        for (lane, total) in lanes().zip(&totals) {
            let channels = (panel.channels - lane).min(L);
            sums[lane..][..channels].copy_from_slice(&total[..channels]);
        }
    }
}

/// A row of the result, the one at `y`, of a register of channels; its windows begin at row `begin` of the words in `columns`.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn pixels<I: ByteIsa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    frame: ByteFrame,
    panel: ByteWindowPanel,
    output: &Output,
    columns: &[u32],
    y: usize,
    begin: usize,
    line: Line,
    mut tiles: Tiles,
    mut total: Option<&mut [u32; L]>,
    to: Shards<u8>,
) {
    let (w_out, top) = (shape.w_out(), y * shape.stride * shape.framed_width() * panel.width);
    let mut x = 0;
    let mut found = [[0f32; L]; MOST_PIXELS];
    while x < w_out {
        let pixels = tiles.take();
        macro_rules! tile {
            ($($T:literal)*) => {
                match (pixels, const { I::STEP }) {
                    $(
                        ($T, 4) => {
                            windows_of_quads::tile::<I, L, K, $T>(
                                isa, shape, columns, begin, line.lane, panel, x, &mut found,
                            );
                        }
                        ($T, _) => {
                            let rows = &frame.numbers[top..];
                            windows_of_numbers::tile::<I, L, K, $T>(isa, shape, rows, line.lane, panel, x, &mut found);
                        }
                    )*
                    _ => {}
                }
            };
        }
        tile!(1 2 3 4 5 6 7 8);
        finish(isa, &found[..pixels], panel, output, total.as_deref_mut(), line, x, to);
        x += pixels;
    }
}
