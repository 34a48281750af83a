#![doc = include_str!("../README.md")]

mod environment;
mod error;
mod inference;
mod memory;
mod timing;

pub use environment::{BuildInfo, Environment};
pub use error::{Error, Result};
pub use inference::{Throughput, inference, input, throughput};
pub use memory::{peak_rss_bytes, rss_bytes};
pub use timing::{LatencyMs, Protocol, StepResult, Timing, time_steps};
