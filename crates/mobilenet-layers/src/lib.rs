#![doc = include_str!("../README.md")]

mod activation;
mod assemble;
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
mod pool;
mod squeeze_excite;
mod stack;
mod stages;
#[cfg(test)]
mod testing;
mod window;

pub use activation::Activate;
pub use batch_norm::BatchNorm;
pub use conv::{Conv2d, Conv2dConfig};
pub use conv_bn_act::ConvBnAct;
pub use depthwise::DepthwiseConv2d;
pub use dropout::{Dropout, DropoutRng};
pub use init::seeded_var_builder;
pub use linear::Linear;
pub use linear_bottleneck::LinearBottleneck;
pub use mobilenet_arch::{BatchNormConfig, ConvBnActConfig, make_divisible};
pub use mobilenet_kernels::{Activation, Precision};
pub use pool::global_avg_pool;
pub use squeeze_excite::SqueezeExcite;
pub use stack::{Layer, Operation, Stack};
pub use window::Window;
