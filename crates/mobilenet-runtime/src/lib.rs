#![doc = include_str!("../README.md")]

mod arena;
mod bytes;
mod check;
mod error;
mod file;
mod groups;
mod model;
mod network;
mod observer;
mod plan;
mod precision;
mod preprocess;
mod session;
mod tensors;

pub use error::{Error, Result};
pub use file::{FORMAT, FORMAT_VERSION};
pub use mobilenet_kernels::{Level, LevelError};
pub use model::Model;
pub use network::{
    Activation, Description, Input, Network, Operation, OperationKind, Origin, Quantization, Shape, Tensor, Values,
};
pub use precision::Precision;
pub use session::{Class, Session};
