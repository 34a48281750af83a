#![doc = include_str!("../README.md")]

pub mod files;
#[cfg(feature = "json")]
pub mod json;
pub mod names;
pub mod numbers;
pub mod pickle;
pub mod random;
pub mod resize;
