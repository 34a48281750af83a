#![doc = include_str!("../README.md")]

mod error;
mod fake;
mod finish;
mod function;
mod tuned;

pub use error::{Error, Result};
pub use tuned::Tuned;

// What its functions take and give.
pub use mobilenet_deploy as deploy;
