#![doc = include_str!("../README.md")]

mod checkpoint;
mod device;
mod ema;
mod error;
mod evaluate;
mod loss;
mod metrics;
mod observer;
mod optimizer;
mod room;
mod run;
mod trainer;
mod variables;

pub use device::{DeviceInference, DeviceTraining, named};
pub use ema::Ema;
pub use error::Error;
pub use evaluate::{Evaluation, MirrorAveraged, evaluate};
pub use loss::{Targets, Teacher, cross_entropy, loss};
pub use metrics::{EvalSplit, top_k_correct};
/// The back ends of [`DeviceTraining`].
pub use mobilenet_cuda as cuda;
/// The images that a trainer takes.
pub use mobilenet_data as data;
// What a model of one's own needs to be trained reproducibly.
pub use mobilenet_layers::{DropoutRng, seeded_var_builder};
/// What a run's folder holds is declared where its files are: `config.json` the settings, `metrics.jsonl` the epochs.
pub use mobilenet_schema::{
    AdamWConfig, Balance, Distillation, EpochMetrics, EvalMetrics, LowResolution, LrFactor, MuonConfig,
    OptimizerConfig, Schedule, SgdConfig, TrainConfig, Variables,
};
pub use observer::{Observer, StepReport};
pub use optimizer::Optimizer;
pub use run::{BEST_FILE, Best, CHECKPOINT_FILE, FitData, METRICS_FILE, Outcome, RunOptions};
pub use trainer::Trainer;
