//! Depthwise convolutions: their shapes, and their windows, packed.

use super::aligned::Aligned;
use super::panels::{lanes, panels, registers};
use crate::simd::Level;

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
    /// Values of a register.
    pub(super) lanes: usize,
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
        let lanes = lanes(level);
        let panels = panels(channels, lanes, registers(level));
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
        Self { level, lanes, channels, taps, panels, weight: packed, bias: padded_bias }
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
