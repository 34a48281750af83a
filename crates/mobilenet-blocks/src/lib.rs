#![doc = include_str!("../README.md")]

/// MobileNetV2: the inverted residual.
#[cfg(feature = "v2")]
pub use mobilenet_blocks_v2 as v2;
/// MobileNetV3: the bottleneck with squeeze-and-excite.
#[cfg(feature = "v3")]
pub use mobilenet_blocks_v3 as v3;
