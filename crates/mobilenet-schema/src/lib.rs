#![doc = include_str!("../README.md")]

mod advice;
mod against;
mod bench;
mod check;
mod claims;
mod config;
mod data;
mod environment;
mod error;
mod eval;
mod file;
mod json;
mod metrics;
mod names;
mod plan;
mod results;
mod roofline;
mod runs;
mod scores;
mod shipped;
mod statistics;
mod summary;

pub use advice::{AdviceResult, AdvisedTraining};
pub use against::{Against, NetworkChange, SettingChange, ThenNow};
pub use bench::{Bench, BlockTime, Blocks, LatencyMs, StepNotFused, StepPhase, StepProfile, Throughput};
pub use check::{Artefact, Problem};
pub use claims::{ClaimResult, Verdict};
pub use config::{
    AdamWConfig, Augment, Balance, ColorJitter, DataConfig, Distillation, LowResolution, LrFactor, Mix, MuonConfig,
    OptimizerConfig, Padding, Policy, ReadOptions, ResizedCrop, RunConfig, Schedule, SgdConfig, TrainConfig,
    TrainSettings, Variables,
};
pub use data::{DataInfo, Picture};
pub use environment::{Environment, Origin};
pub use error::{Error, Result};
pub use eval::{Eval, SetEval};
pub use file::{read, read_lines};
pub use json::to_pretty_json_with_short_arrays;
pub use metrics::{EpochMetrics, EvalMetrics, TrainRecord};
pub use mobilenet_arch::{LayerKind, LayerSummary, ModelConfig, Network, Precision, Summary};
pub use mobilenet_common::names::UnknownName;
pub use names::{Form, Profile, RecipeName, Source};
pub use plan::{ComparisonPlan, PlannedAdvice, PlannedRecipe, PlannedTeacher};
pub use results::{ClassCounts, NetworkResult, PairResult, Results, ResultsData, RunResult};
pub use roofline::{Bandwidth, MemoryLevel, Roofline, RooflineRecord};
pub use runs::{RunsResults, SeedsResult, TrainingResult};
pub use scores::{Calibration, CalibrationBin, ClassScores, Scores, worst_mistakes};
pub use shipped::{Shipped, ShippedBench, ShippedEval, ShippedResult};
pub use statistics::{Basis, Bootstrap, Comparison, Estimate, McNemar, Welch};
