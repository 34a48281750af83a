#![doc = include_str!("../README.md")]

pub mod activation;
pub mod batch_norm;
pub mod conv;
pub mod depthwise;
mod matmul;
mod parallel;
pub mod pointwise;
pub mod pool;
mod simd;

pub use activation::Activation;
pub use simd::Level;
