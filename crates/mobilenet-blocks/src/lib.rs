#![doc = include_str!("../README.md")]

/// MobileNetV2: the inverted residual.
#[cfg(feature = "v2")]
pub use mobilenet_blocks_v2 as v2;
/// MobileNetV3: the bottleneck with squeeze-and-excite.
#[cfg(feature = "v3")]
pub use mobilenet_blocks_v3 as v3;

// What a model of one's own needs beside the blocks.
pub use mobilenet_layers::{Activate, Activation, BatchNormConfig, global_avg_pool, seeded_var_builder};
