#![doc = include_str!("../README.md")]

pub mod activation;
mod allocator;
pub mod batch_norm;
mod buffer;
pub mod conv;
pub mod depthwise;
pub mod inverted_residual;
mod matmul;
mod parallel;
pub mod pointwise;
pub mod pool;
mod simd;

pub use activation::Activation;
pub use allocator::KeepLarge;
pub use simd::Level;
