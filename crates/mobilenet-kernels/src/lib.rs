#![doc = include_str!("../README.md")]

pub mod activation;
mod affine;
pub mod batch_norm;
mod bf16;
mod blocks;
mod buffer;
pub mod conv;
pub mod conv_norm;
pub mod depthwise;
pub mod depthwise_norm;
mod element;
pub mod inverted_residual;
pub mod matmul;
mod origin;
mod parallel;
pub mod pointwise;
pub mod pool;
pub mod profile;
#[cfg(test)]
mod reference;
mod rows;
mod simd;
pub mod stream;

pub use activation::Activation;
pub use buffer::Buffer;
pub use mobilenet_arch::Precision;
pub use simd::{Level, LevelError};
