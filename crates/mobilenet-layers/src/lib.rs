#![doc = include_str!("../README.md")]

mod activation;
mod batch_norm;
mod channels_last;
mod conv;
mod conv_bn_act;
mod depthwise;
mod dropout;
mod filter;
mod fused;
mod init;
mod linear;
mod linear_bottleneck;
mod parameters;
mod pool;
mod squeeze_excite;
mod stack;
#[cfg(test)]
mod testing;
mod window;

pub use activation::Activation;
pub use batch_norm::{BatchNorm, BatchNormConfig};
pub use conv::{Conv2d, Conv2dConfig};
pub use conv_bn_act::{ConvBnAct, ConvBnActConfig};
pub use depthwise::DepthwiseConv2d;
pub use dropout::{Dropout, DropoutRng};
pub use init::seeded_var_builder;
pub use linear::Linear;
pub use linear_bottleneck::LinearBottleneck;
pub use mobilenet_kernels::Precision;
pub use pool::global_avg_pool;
pub use squeeze_excite::SqueezeExcite;
pub use stack::{Layer, Stack};
pub use window::Window;

/// Rounds a scaled channel count to a multiple of 8, never below 8 and never more than 10 % below `v`.
///
/// The rule of the MobileNet reference code and torchvision's `_make_divisible(v, 8)`.
///
/// ```
/// use mobilenet_layers::make_divisible;
/// assert_eq!(make_divisible(32.0 * 0.75), 24);
/// assert_eq!(make_divisible(72.0 / 4.0), 24); // 16 would be more than 10 % below 18
/// ```
pub fn make_divisible(v: f64) -> usize {
    let rounded = ((v + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * v { rounded + 8 } else { rounded }
}
