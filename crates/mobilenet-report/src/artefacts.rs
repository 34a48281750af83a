//! The files that `mobilenet` leaves behind, by the types it writes them with.

use std::path::Path;

use anyhow::{Context, Result};
use mobilenet_common::files;

pub use mobilenet_schema::{
    Artefact, Bandwidth, Bench, BlockTime, Blocks, DataInfo, Environment, EpochMetrics, Eval, EvalMetrics, LatencyMs,
    LayerKind, MemoryLevel, Origin, Picture, Results, Roofline, RooflineRecord, RunConfig, Summary, TrainRecord,
    TrainSettings, read, read_lines,
};

/// Writes a file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
