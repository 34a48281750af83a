#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "training"), allow(dead_code, unused_imports, unused_macros))]

pub mod activation;
#[cfg(feature = "training")]
mod affine;
#[cfg(feature = "training")]
pub mod batch_norm;
mod bf16;
#[cfg(feature = "training")]
mod blocks;
#[cfg(feature = "training")]
mod buffer;
#[cfg(feature = "training")]
pub mod conv;
#[cfg(feature = "training")]
pub mod conv_norm;
#[cfg(feature = "training")]
pub mod depthwise;
#[cfg(feature = "training")]
pub mod depthwise_norm;
mod element;
pub mod folded;
#[cfg(feature = "training")]
pub mod inverted_residual;
#[cfg(feature = "training")]
pub mod matmul;
#[cfg(feature = "training")]
mod origin;
mod parallel;
#[cfg(feature = "training")]
pub mod pointwise;
pub mod pool;
pub mod profile;
#[cfg(test)]
#[cfg(feature = "training")]
mod reference;
#[cfg(feature = "training")]
mod rows;
mod simd;
#[cfg(feature = "training")]
pub mod stream;

pub use activation::Activation;
pub use bf16::{bf16_to_f32, f32_to_bf16};
#[cfg(feature = "training")]
pub use buffer::Buffer;
pub use mobilenet_arch::Precision;
pub use simd::{Level, LevelError};
