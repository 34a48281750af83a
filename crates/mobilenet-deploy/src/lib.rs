#![doc = include_str!("../README.md")]

mod bf16;
mod error;
mod fold;
mod onnx;
mod quantize;
mod swap;
mod weights;

// What its functions take and give.
pub use mobilenet_arch as arch;
pub use mobilenet_runtime as runtime;

pub use bf16::to_bf16;
pub use error::{Error, Result};
pub use fold::fold;
pub use onnx::{OnnxProfile, to_onnx};
pub use quantize::{
    Calibration, LayerNoise, QuantizeOptions, Quantized, Tried, layer_noise, quantize, quantize_weight, requantize,
};
pub use swap::{MAX_PIECES, Swap, swap};
pub use weights::Weights;
