#![doc = include_str!("../README.md")]

mod activation;
mod arch;
mod blocks;
mod config;
mod description;
mod error;
pub mod graph;
mod layers;
mod names;
mod network;
pub mod plan;
mod precision;
mod registry;
mod summary;
mod units;

pub use activation::Activation;
pub use blocks::{BottleneckConfig, InvertedResidualConfig};
pub use config::{ModelConfig, Preset};
pub use description::{Arch, Description, Hue, Peer, Published, Rate};
pub use error::Error;
pub use layers::{BatchNormConfig, ConvBnActConfig, make_divisible};
pub use network::{Network, Selection, Width};
pub use precision::Precision;
pub use summary::{BlockSummary, LayerKind, LayerSummary, Summary, summary};
