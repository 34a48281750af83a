//! The files that `mobilenet` leaves behind, by the types it writes them with.

use std::path::Path;

use anyhow::{Context, Result};
use mobilenet_common::files;
use serde::Deserialize;

pub use mobilenet_schema::{
    Artefact, Bandwidth, Bench, BlockTime, Blocks, DataInfo, Environment, EpochMetrics, Eval, EvalMetrics, LatencyMs,
    MemoryLevel, Origin, Picture, Roofline, RooflineRecord, TrainRecord, read, read_lines,
};

/// Writes a file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// `mobilenet summary --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// Number of parameters
    pub params: u64,
    /// Multiply-adds of one image
    pub macs: u64,
    /// Every layer in order
    pub layers: Vec<Layer>,
}

/// One layer of a summary.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    /// What it is: `conv`, `depthwise`, `squeeze-excite`, `activation`, `add` and so on
    pub kind: String,
    /// Window and stride, the activation's name, the squeeze width
    #[serde(default)]
    pub detail: String,
    /// 0 is the stem, 1 the first block; absent after the features
    #[serde(default)]
    pub block: Option<usize>,
    /// `[c, h, w]` or `[c]`
    pub output: Vec<u64>,
    /// Number of parameters
    pub params: u64,
    /// Multiply-adds of one image
    pub macs: u64,
}

impl Artefact for Summary {
    const WHAT: &str = "a summary of a network";
}
