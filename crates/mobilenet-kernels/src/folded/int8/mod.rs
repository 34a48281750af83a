//! The same in 8 bits.
//!
//! Values are bytes, weights bytes with a sign: a value stands for `scale · (byte - zero point)`, a weight for its channel's
//! scale times the byte. Sums are whole numbers and exact; what follows them is float32 without fused operations. So every
//! instruction set, and any number of threads, gives the same bytes.

mod expand;
mod finish;
mod multiply;
mod output;
mod panels;
mod pool;
mod product;
mod stem;
mod windows;
mod windows_of_numbers;
mod windows_of_quads;

pub use expand::{ByteExpansion, DepthwiseScratch, depthwise, strips};
pub use output::{Affine, Output};
pub use panels::BytePanels;
pub use pool::{dequantize, means, means_of_sums, quantize, scale_channels};
pub use product::{Scratch, product, product_to_floats};
pub use stem::stem;
pub use windows::{ByteWindows, MAX_BYTE_WINDOW};
