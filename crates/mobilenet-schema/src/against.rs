//! A comparison beside an earlier one, as `results.json` holds it.

use std::path::PathBuf;

use mobilenet_arch::Network;
use serde::{Deserialize, Serialize};

use crate::statistics::Comparison;

/// What became of an earlier comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// The earlier comparison, as it was typed.
    pub path: PathBuf,
    /// What keeps the two from comparing, one sentence each.
    pub warnings: Vec<String>,
    /// Settings in which they differ.
    pub settings: Vec<SettingChange>,
    /// Networks that both have.
    pub networks: Vec<NetworkChange>,
    /// Networks that only one has.
    pub unmatched: Vec<Network>,
}

/// A setting that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingChange {
    /// Name of the setting.
    pub name: String,
    /// Its value then.
    pub then: String,
    /// Its value now.
    pub now: String,
}

/// One network then and now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkChange {
    /// The network.
    #[serde(rename = "model")]
    pub network: Network,
    /// Mean test accuracies over so many seeds.
    pub test_top1: ThenNow,
    /// How many then and now.
    pub seeds: (usize, usize),
    /// Now minus then, tested; nothing if neither seeds nor images allow a test.
    pub comparison: Option<Comparison>,
    /// Median latency of a single image, in milliseconds.
    pub latency_ms: Option<ThenNow>,
    /// Images per second of training.
    pub training_images_per_second: ThenNow,
    /// Number of parameters.
    pub params: ThenNow,
    /// Multiply-adds of one image.
    pub macs: ThenNow,
    /// Epochs of training.
    pub epochs: ThenNow,
}

/// A figure then and now.
#[derive(Copy, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThenNow {
    /// The earlier figure.
    pub then: f64,
    /// The present figure.
    pub now: f64,
}

impl ThenNow {
    /// Now in terms of then.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.now / self.then
    }
}
