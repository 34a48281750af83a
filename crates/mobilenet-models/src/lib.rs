#![doc = include_str!("../README.md")]

mod error;
mod imagenet;
mod model;
pub mod weights;

pub use error::{Error, TensorProblem};
pub use imagenet::{IMAGENET_CLASSES, imagenet_classes};
pub use mobilenet_arch::{
    Arch, BlockSummary, Description, LayerKind, LayerSummary, ModelConfig, Preset, Summary, graph, plan, summary,
};
// What building and training a model needs beside it.
pub use mobilenet_layers::{DropoutRng, Precision, seeded_var_builder};
pub use model::MobileNet;
