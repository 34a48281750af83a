#![doc = include_str!("../README.md")]

mod error;
mod model;
pub mod weights;

pub use error::{Error, TensorProblem};
pub use mobilenet_arch::{
    Arch, BlockSummary, Description, LayerKind, LayerSummary, ModelConfig, Preset, Summary, plan, summary,
};
pub use model::MobileNet;
