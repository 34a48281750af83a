//! The sizes of the blocks of MobileNetV2 and MobileNetV3.

use crate::{Activation, BatchNormConfig};

/// The sizes of MobileNetV2's block, the inverted residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvertedResidualConfig {
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Step of the depthwise convolution.
    pub stride: usize,
    /// How many times wider than the input the block is inside; 1 leaves the expansion out.
    pub expand_ratio: usize,
    /// Batch norm's numbers.
    pub norm: BatchNormConfig,
}

impl InvertedResidualConfig {
    /// Channels inside the block.
    pub fn expanded(&self) -> usize {
        self.c_in.saturating_mul(self.expand_ratio)
    }

    /// Whether the input is added to the output: the shapes agree.
    pub fn has_residual(&self) -> bool {
        self.stride == 1 && self.c_in == self.c_out
    }
}

/// The sizes of MobileNetV3's block, the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BottleneckConfig {
    /// Height and width of the depthwise window: odd; 3 or 5 in the networks.
    pub kernel: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels inside the block; equal to `c_in`, it leaves the expansion out.
    pub expanded: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Hidden width of the squeeze-and-excite; `None` leaves it out.
    pub squeeze: Option<usize>,
    /// ReLU or h-swish, after the expansion and after the depthwise convolution.
    pub activation: Activation,
    /// Step of the depthwise convolution.
    pub stride: usize,
    /// Distance of the depthwise window's taps.
    pub dilation: usize,
    /// Batch norm's numbers.
    pub norm: BatchNormConfig,
}

impl BottleneckConfig {
    /// Whether the input is added to the output: the shapes agree.
    pub fn has_residual(&self) -> bool {
        self.stride == 1 && self.c_in == self.c_out
    }
}
