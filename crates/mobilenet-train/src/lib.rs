#![doc = include_str!("../README.md")]

mod checkpoint;
mod config;
mod ema;
mod error;
mod evaluate;
mod loss;
mod metrics;
mod observer;
mod optimizer;
mod run;
mod schedule;
mod trainer;
mod variables;

pub use config::{Distillation, LowResolution, TrainConfig};
pub use ema::Ema;
pub use error::Error;
pub use evaluate::{Evaluation, MirrorAveraged, evaluate};
pub use loss::{Targets, Teacher, cross_entropy, loss};
pub use metrics::{EvalSplit, top_k_correct};
/// The images that a trainer takes.
pub use mobilenet_data as data;
pub use mobilenet_schema::{EpochMetrics, EvalMetrics};
// What a model of one's own needs to be trained reproducibly.
pub use mobilenet_layers::{DropoutRng, seeded_var_builder};
pub use observer::{Observer, StepReport};
pub use optimizer::{AdamWConfig, LrFactor, MuonConfig, Optimizer, OptimizerConfig, SgdConfig, Variables};
pub use run::{BEST_FILE, Best, CHECKPOINT_FILE, FitData, METRICS_FILE, Outcome, RunOptions};
pub use schedule::Schedule;
pub use trainer::Trainer;
