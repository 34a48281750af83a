#![doc = include_str!("../README.md")]

mod arena;
pub mod augment;
pub mod backend;
mod classifier;
#[cfg(feature = "cuda")]
pub mod cuda;
mod depthwise;
#[cfg(feature = "emulate")]
pub mod emulated;
mod error;
mod grid;
mod inference;
pub mod loss;
mod network;
mod norm;
pub mod optimizer;
pub mod plan;
pub mod program;
mod rows;
mod run;
mod stages;
mod step;
mod variables;

#[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
mod emulated_tests;

pub use error::{Error, Result};
// What its functions take.
pub use inference::Inference;
pub use mobilenet_arch as arch;
pub use network::Network;
pub use step::Step;
pub use variables::{Named, Variable, Variables};
