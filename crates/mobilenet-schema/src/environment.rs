//! Where a figure was measured.

use serde::{Deserialize, Deserializer, Serialize};

/// Machine, system and build of a measurement. What the system does not tell is `None`; what an old file does not tell
/// is `None`, empty or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Commit of the sources; `None` for a build outside a repository.
    pub commit: Option<String>,
    /// The processor's own name, or the architecture where it has none to read.
    pub processor: String,
    /// Processors that this process may use (hardware threads).
    pub cores: usize,
    /// Threads that Candle computes with.
    pub threads: usize,
    /// The GPU that computed, by its own name; `None` where the processor did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// Operating system.
    pub os: String,
    /// What `rustc --version` printed.
    pub rustc: Option<String>,
    /// Version of the program.
    pub version: String,
    /// Version of Candle that the program was built with.
    pub candle: Option<String>,
    /// Cargo features that the program was built with.
    pub features: Vec<String>,
    /// UTC day of the measurement, `YYYY-MM-DD`.
    pub date: String,
}

impl Environment {
    /// The name of what computed: of the GPU, or of the processor.
    #[must_use]
    pub fn computed_on(&self) -> &str {
        self.gpu.as_deref().unwrap_or(&self.processor)
    }
}

/// Where one artefact of a comparison comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the run, or of the benchmark.
    pub what: String,
    /// As `config.json` and `bench-*.json` hold it.
    #[serde(default, deserialize_with = "or_default")]
    pub environment: Environment,
    /// The copy of the data a run was trained on.
    #[serde(default)]
    pub copy: Option<String>,
}

/// `null` is an environment that tells nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Environment, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
