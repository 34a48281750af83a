//! The JSON that `mobilenet` leaves behind, as far as the report reads it.

use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Reads one JSON file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not what was expected", path.display()))
}

/// Writes a file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// `mobilenet data --json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DataInfo {
    pub name: String,
    pub copy: String,
    pub classes: Vec<String>,
    pub train_images: u64,
    pub test_images: u64,
    pub fallback: bool,
    #[serde(default)]
    pub mean: Vec<f64>,
    #[serde(default)]
    pub std: Vec<f64>,
}

impl DataInfo {
    /// As people write the set's name.
    pub fn label(&self) -> &str {
        match self.name.as_str() {
            "cifar10" => "CIFAR-10",
            "cifar100" => "CIFAR-100",
            other => other,
        }
    }
}

/// `mobilenet data --images … --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Samples {
    pub images: Vec<Picture>,
}

/// One test image.
#[derive(Clone, Debug, Deserialize)]
pub struct Picture {
    pub index: usize,
    pub png_base64: String,
}

/// `mobilenet summary --json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    pub params: u64,
    pub macs: u64,
    pub layers: Vec<Layer>,
}

/// One layer of a summary.
#[derive(Clone, Debug, Deserialize)]
pub struct Layer {
    pub kind: String,
    /// Window and stride, the activation's name, the squeeze width
    #[serde(default)]
    pub detail: String,
    /// 0 is the stem, 1 the first block; absent after the features
    #[serde(default)]
    pub block: Option<usize>,
    /// `[c, h, w]` or `[c]`
    pub output: Vec<u64>,
    pub params: u64,
    pub macs: u64,
}

/// `mobilenet bench --json`, inference or training.
#[derive(Clone, Debug, Deserialize)]
pub struct Bench {
    pub batch: u64,
    #[serde(default)]
    pub threads: Option<u64>,
    #[serde(default)]
    pub warmup: u64,
    #[serde(default)]
    pub iterations: u64,
    pub latency_ms: Latency,
    pub images_per_second: f64,
    pub peak_rss_bytes: Option<u64>,
    #[serde(default)]
    pub throughput: Vec<Throughput>,
    /// The machine it was measured on
    #[serde(default)]
    pub environment: Value,
}

/// `mobilenet bench --blocks --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blocks {
    pub batch: u64,
    pub threads: Option<u64>,
    pub iterations: u64,
    /// The whole network's
    pub latency_ms: Latency,
    /// The medians of all blocks together
    pub sum_ms: f64,
    pub blocks: Vec<BlockTime>,
}

/// Stem, block, last convolution or classifier.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockTime {
    pub name: String,
    /// `[c, h, w]` or `[c]`
    pub output: Vec<u64>,
    pub macs: u64,
    /// Median of the batch
    pub p50_ms: f64,
    pub latency_share: f64,
    pub macs_share: f64,
    pub gflop_per_second: f64,
    /// Operations per byte of input, output and parameters
    pub flop_per_byte: f64,
}

/// `mobilenet roofline --json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Roofline {
    pub threads: u64,
    pub instruction_set: String,
    pub peak_gflop_per_second: f64,
    /// Nearest first, the memory last
    pub bandwidths: Vec<Bandwidth>,
}

/// How fast a level of memory is read and written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bandwidth {
    /// `l2`, `l3` or `memory`
    pub level: String,
    pub gb_per_second: f64,
}

impl Roofline {
    /// Most operations per second, in 10⁹, of what moves so much from and to the memory.
    pub fn attainable(&self, flop_per_byte: f64) -> f64 {
        let memory = self.bandwidths.last().map_or(f64::INFINITY, |b| b.gb_per_second);
        self.peak_gflop_per_second.min(flop_per_byte * memory)
    }
}

/// Milliseconds per call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latency {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub mean: f64,
    #[serde(default)]
    pub std: f64,
}

/// Images per second at one batch size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Throughput {
    pub batch: u64,
    pub images_per_second: f64,
}

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, Deserialize)]
pub struct Epoch {
    pub epoch: u64,
    pub train_loss: f64,
    pub train_top1: f64,
    pub test_loss: Option<f64>,
    pub test_top1: Option<f64>,
    /// Training time of this epoch alone, without evaluation
    #[serde(default)]
    pub seconds: Option<f64>,
}

/// `train.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct TrainRecord {
    pub epochs: u64,
    pub seconds: f64,
    pub seconds_per_epoch: f64,
    pub images_per_second: f64,
    pub peak_rss_bytes: Option<u64>,
    pub weights: String,
}

/// `eval.json`. Accuracies are fractions; rows of the confusion matrix are the truth.
#[derive(Clone, Debug, Deserialize)]
pub struct Eval {
    pub test_images: u64,
    pub test_loss: f64,
    pub test_top1: f64,
    pub test_top5: f64,
    pub train_images: u64,
    pub train_top1: f64,
    pub classes: Vec<String>,
    pub confusion: Vec<Vec<u64>>,
    pub labels: Vec<usize>,
    pub predicted: Vec<usize>,
    pub confidence: Vec<f64>,
}

/// Reads `metrics.jsonl`; a last line cut short by a kill is left out.
pub fn read_epochs(path: &Path) -> Result<Vec<Epoch>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let mut epochs: Vec<Epoch> = Vec::with_capacity(lines.len());
    for (i, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(epoch) => epochs.push(epoch),
            Err(_) if i + 1 == lines.len() => {}
            Err(error) => {
                return Err(error).with_context(|| format!("{}, line {}", path.display(), i + 1));
            }
        }
    }
    Ok(epochs)
}
