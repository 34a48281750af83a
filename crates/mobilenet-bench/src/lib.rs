#![doc = include_str!("../README.md")]

mod caches;
mod environment;
mod error;
mod inference;
mod memory;
mod parts;
mod roofline;
mod timing;

pub use environment::{BuildInfo, Environment};
pub use error::{Error, Result};
pub use inference::{Throughput, inference, input, throughput};
pub use memory::{peak_rss_bytes, rss_bytes};
pub use parts::{PartsResult, PartsTiming, time_parts};
pub use roofline::{Bandwidth, MemoryLevel, Roofline};
pub use timing::{LatencyMs, Protocol, StepResult, Timing, time_steps};
