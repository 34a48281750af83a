#![doc = include_str!("../README.md")]

mod error;
mod fold;
mod onnx;
mod weights;

pub use error::{Error, Result};
pub use fold::fold;
pub use onnx::{OnnxProfile, to_onnx};
pub use weights::Weights;
