#![doc = include_str!("../README.md")]

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
mod registry;
mod summary;
mod units;

pub use blocks::{BottleneckConfig, InvertedResidualConfig};
pub use config::{ModelConfig, Preset};
pub use description::{Arch, Description, Hue, Peer, Published, Rate};
pub use error::Error;
pub use layers::{BatchNormConfig, ConvBnActConfig, make_divisible};
pub use mobilenet_kernels::Activation;
pub use network::{Network, Selection, Width};
pub use summary::{BlockSummary, LayerKind, LayerSummary, Summary, summary};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_spell_activations_as_summaries_do() {
        for activation in Activation::ALL {
            assert_eq!(serde_json::to_value(activation).unwrap(), activation.name());
        }
    }
}
