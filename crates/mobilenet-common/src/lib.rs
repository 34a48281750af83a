#![doc = include_str!("../README.md")]

pub mod files;
#[cfg(feature = "json")]
pub mod json;
pub mod numbers;
pub mod random;
