//! What layers are made of: the numbers of batch norm, of a convolution with it, and how channels are rounded.

use crate::Activation;

/// The two numbers that differ between networks: MobileNetV2 uses 1e-5 and 0.1, MobileNetV3 1e-3 and 0.01.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// Added to the variance.
    pub eps: f64,
    /// The share of the batch's statistics in the new running statistics.
    pub momentum: f64,
}

impl BatchNormConfig {
    /// PyTorch's defaults.
    pub const TORCH: Self = Self { eps: 1e-5, momentum: 0.1 };
}

impl Default for BatchNormConfig {
    /// PyTorch's defaults.
    fn default() -> Self {
        Self::TORCH
    }
}

/// A convolution with batch norm and activation. The padding is `dilation * (kernel - 1) / 2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvBnActConfig {
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Distance of the window's taps; other than 1 only for a depthwise convolution.
    pub dilation: usize,
    /// One window per channel instead of a dense convolution.
    pub depthwise: bool,
    /// Batch norm's numbers.
    pub norm: BatchNormConfig,
    /// Applied last.
    pub activation: Activation,
}

impl ConvBnActConfig {
    /// A 1×1 convolution.
    pub fn pointwise(norm: BatchNormConfig, activation: Activation) -> Self {
        Self::dense(1, 1, norm, activation)
    }

    /// A k×k convolution over all channels.
    pub fn dense(kernel: usize, stride: usize, norm: BatchNormConfig, activation: Activation) -> Self {
        Self { kernel, stride, dilation: 1, depthwise: false, norm, activation }
    }

    /// A k×k convolution of each channel.
    pub fn depthwise(
        kernel: usize,
        stride: usize,
        dilation: usize,
        norm: BatchNormConfig,
        activation: Activation,
    ) -> Self {
        Self { kernel, stride, dilation, depthwise: true, norm, activation }
    }
}

/// Rounds a scaled channel count to a multiple of 8, never below 8 and never more than 10 % below `v`.
///
/// The rule of the MobileNet reference code and torchvision's `_make_divisible(v, 8)`.
///
/// ```
/// use mobilenet_arch::make_divisible;
/// assert_eq!(make_divisible(32.0 * 0.75), 24);
/// assert_eq!(make_divisible(72.0 / 4.0), 24); // 16 would be more than 10 % below 18
/// ```
pub fn make_divisible(v: f64) -> usize {
    let rounded = ((v + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * v { rounded + 8 } else { rounded }
}
