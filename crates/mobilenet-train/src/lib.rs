#![doc = include_str!("../README.md")]

mod checkpoint;
mod config;
mod error;
mod evaluate;
mod files;
mod loss;
mod metrics;
mod observer;
mod optimizer;
mod run;
mod schedule;
mod trainer;

pub use config::TrainConfig;
pub use error::Error;
pub use evaluate::{Evaluation, evaluate};
pub use files::write_atomically;
pub use loss::cross_entropy;
pub use metrics::{EpochMetrics, EvalMetrics, EvalSplit, top_k_correct};
pub use observer::{Observer, StepReport};
pub use optimizer::{AdamWConfig, Optimizer, OptimizerConfig, SgdConfig};
pub use run::{BEST_FILE, Best, CHECKPOINT_FILE, FitData, METRICS_FILE, Outcome, RunOptions};
pub use schedule::Schedule;
pub use trainer::Trainer;
