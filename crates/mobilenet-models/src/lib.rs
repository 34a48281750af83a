#![doc = include_str!("../README.md")]

mod config;
mod error;
mod model;
pub mod plan;
mod summary;
mod tables;
pub mod weights;

pub use config::{Arch, ModelConfig, Preset};
pub use error::{Error, TensorProblem};
pub use model::MobileNet;
pub use summary::{BlockSummary, LayerKind, LayerSummary, Summary, summary};
