#![doc = include_str!("../README.md")]

mod augment;
mod batches;
mod dataset;
mod decode;
mod error;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "candle-datasets")]
mod interop;
mod load;
#[cfg(feature = "candle-datasets")]
mod mnist;
#[cfg(test)]
mod parity;
mod progress;
mod resize;
mod source;
mod sources;
mod split;

pub use augment::{Augment, Mix, Padding};
pub use batches::{Batch, BatchConfig, Batches, Mixed, batches};
pub use dataset::{Dataset, Normalization};
pub use decode::{decode_image, load_image};
pub use error::{Error, Place};
pub use load::{LoadOptions, load};
#[cfg(feature = "candle-datasets")]
pub use mnist::mnist;
pub use progress::Progress;
pub use source::Source;
pub use sources::shapes10::Shapes;
pub use split::Split;
