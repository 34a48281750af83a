//! Inference with folded networks: batch norm is part of the weights, and what follows a product is part of it.
//!
//! Weights are packed once, for the instruction set they are used with ([`Panels`], [`Windows`]). A product adds the bias,
//! activates, and adds the shortcut while its results are in registers. An expansion and the depthwise convolution that
//! follows go panel by panel of channels through a frame that stays in the cache. Nothing here allocates once a
//! [`Team`]'s scratch has grown to what a network needs.
//!
//! Images are `[n, h, w, c]`. The number of threads changes no bit: no sum is divided among them.

mod aligned;
mod convolve;
mod crew;
mod depthwise;
mod epilogue;
mod expand;
pub mod int8;
mod multiply;
mod panels;
mod pool;
mod product;
mod shards;
mod stem;
mod team;

pub use aligned::Aligned as AlignedBuffer;
pub use crew::Crew;
pub use depthwise::{WindowShape, Windows};
pub use epilogue::{Epilogue, Pieces, PiecesError};
pub use expand::{Expansion, Frames, depthwise, strips};
pub use panels::Panels;
pub use pool::{means, means_of_sums, scale_channels};
pub use product::product;
pub use stem::{StemShape, Unfolded, stem};
pub use team::Team;
