#![doc = include_str!("../README.md")]

mod caches;
mod environment;
mod error;
mod inference;
mod memory;
mod parts;
mod roofline;
mod timing;

pub use environment::{BuildInfo, environment};
pub use error::{Error, Result};
pub use inference::{inference, input, throughput};
pub use memory::{peak_rss_bytes, rss_bytes};
pub use mobilenet_schema::{Bandwidth, Environment, LatencyMs, MemoryLevel, Roofline, Throughput};
pub use parts::{PartsResult, PartsTiming, time_parts};
pub use roofline::roofline;
pub use timing::{Protocol, StepResult, Timing, time_steps};
