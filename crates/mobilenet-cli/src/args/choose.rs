//! Options of `mobilenet choose`.

use std::path::PathBuf;

use clap::Args;

use super::values::{above_0, amount, fraction};

/// Choose a network: the most accurate one within limits, among those measured on this machine
///
/// Reads the results.json of comparisons (cargo xtask compare) and considers only networks that were timed on a
/// processor of the same name with as many threads as --threads gives. Networks that were measured as they are shipped
/// can be chosen in each of their forms (v2 int8). Accuracies from different comparisons are not compared with each
/// other: each comparison yields a choice of its own.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet choose --max-latency-ms 2 --max-params 3M
  mobilenet choose --from runs/widths --max-macs 100M --min-accuracy 0.9 --json
  mobilenet --threads 1 choose --max-memory-mb 40

To measure networks to choose from, at several widths:
  cargo xtask compare --models widths --out runs/widths")]
pub struct ChooseArgs {
    /// At most so many milliseconds for one image (median, batch 1)
    #[arg(long, value_name = "MS", value_parser = above_0, allow_negative_numbers = true)]
    pub max_latency_ms: Option<f64>,
    /// At most so many parameters, such as 3M, 2.5M or 500k
    #[arg(long, value_name = "N", value_parser = amount, allow_hyphen_values = true)]
    pub max_params: Option<u64>,
    /// At most so many multiply-adds for one image, such as 100M
    #[arg(long, value_name = "N", value_parser = amount, allow_hyphen_values = true)]
    pub max_macs: Option<u64>,
    /// At most so many megabytes (10^6 bytes) of memory for a process that classifies single images
    #[arg(long, value_name = "MB", value_parser = above_0, allow_negative_numbers = true)]
    pub max_memory_mb: Option<f64>,
    /// At least this share of the test images classified correctly, such as 0.9
    #[arg(long, value_name = "SHARE", value_parser = fraction, allow_negative_numbers = true)]
    pub min_accuracy: Option<f64>,
    /// Folder of a comparison; can be repeated [default: every folder in runs]
    #[arg(long, value_name = "DIR")]
    pub from: Vec<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}
