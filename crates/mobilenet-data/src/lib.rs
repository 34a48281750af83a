#![doc = include_str!("../README.md")]

mod augment;
mod batches;
mod dataset;
mod decode;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "candle-datasets")]
mod interop;
mod load;
#[cfg(feature = "candle-datasets")]
mod mnist;
mod originals;
#[cfg(test)]
mod parity;
mod place;
mod progress;
mod resize;
mod scale;
mod sources;
mod split;

pub use batches::{
    Batch, BatchConfig, Batches, Mixed, PictureBatch, PictureChange, PictureMix, Pictures, Rectangle, batches, pictures,
};
pub use dataset::{Dataset, Normalization};
pub use decode::{MAX_PICTURE_BYTES, decode_image, decode_image_cropped, load_image, load_image_cropped};
pub use error::Error;
pub use load::{DEFAULT_PICTURE_CACHE, LoadOptions, default_cache, load};
#[cfg(feature = "candle-datasets")]
pub use mnist::mnist;
/// What `config.json` holds of the data is declared where its file is.
pub use mobilenet_schema::{Augment, ColorJitter, Mix, Padding, Policy, ReadOptions, ResizedCrop, Source};
pub use place::{Broken, Place};
pub use progress::Progress;
pub use sources::drawn::Drawn;
pub use sources::walk::{FoundPictures, find_pictures};
pub use split::Split;
