#![doc = include_str!("../README.md")]

mod error;
mod fold;
mod weights;

pub use error::{Error, Result};
pub use fold::fold;
pub use weights::Weights;
