//! The machine's roofline (Williams, Waterman and Patterson, CACM 52(4), 2009).

use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, at_least_one, check, positive};
use crate::environment::Environment;

/// `roofline.json`: what a machine can do, and which machine it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RooflineRecord {
    /// What it can do.
    #[serde(flatten)]
    pub roofline: Roofline,
    /// Which it is.
    #[serde(default)]
    pub environment: Environment,
}

/// The limits of a machine on a number of threads: a computation of `I` operations per byte moved cannot run faster
/// than `min(peak, I * bandwidth)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Threads that computed and moved.
    pub threads: usize,
    /// Instruction set of the product.
    pub instruction_set: String,
    /// Most float32 operations per second, in 10⁹; a multiply-add is two.
    pub peak_gflop_per_second: f64,
    /// Nearest first, the memory last.
    pub bandwidths: Vec<Bandwidth>,
}

/// How fast all threads together read and write.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Where from and to.
    pub level: MemoryLevel,
    /// What all threads together pass over again and again, in bytes; 0 where an old file does not tell.
    #[serde(default)]
    pub buffer_bytes: u64,
    /// 10⁹ bytes read and written per second.
    pub gb_per_second: f64,
}

/// Where data lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryLevel {
    /// The second level of cache, usually a core's own.
    L2,
    /// The third level of cache, usually shared.
    L3,
    /// Beyond all caches.
    Memory,
}

impl MemoryLevel {
    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::Memory => "memory",
        }
    }
}

impl Bandwidth {
    /// Operations per byte from which on this bandwidth is not what limits a computation.
    #[must_use]
    pub fn ridge(&self, peak_gflop_per_second: f64) -> f64 {
        peak_gflop_per_second / self.gb_per_second
    }
}

impl Roofline {
    /// Most operations per second, in 10⁹, of what moves so much from and to the memory.
    #[must_use]
    pub fn attainable(&self, flop_per_byte: f64) -> f64 {
        let memory = self.bandwidths.last().map_or(f64::INFINITY, |b| b.gb_per_second);
        self.peak_gflop_per_second.min(flop_per_byte * memory)
    }
}

impl Artefact for RooflineRecord {
    const WHAT: &str = "a machine's roofline";

    fn check(&self) -> Result<(), Problem> {
        self.roofline.check()
    }
}

impl Roofline {
    pub(crate) fn check(&self) -> Result<(), Problem> {
        at_least_one("threads", self.threads as u64)?;
        positive("peak_gflop_per_second", self.peak_gflop_per_second)?;
        check(!self.bandwidths.is_empty(), "bandwidths", "at least the memory's", "none")?;
        for (i, bandwidth) in self.bandwidths.iter().enumerate() {
            positive(format_args!("bandwidths[{i}].gb_per_second"), bandwidth.gb_per_second)?;
        }
        Ok(())
    }
}
