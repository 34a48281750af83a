#![doc = include_str!("../README.md")]

mod bench;
mod check;
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
mod summary;

pub use bench::{Bench, BlockTime, Blocks, LatencyMs, StepNotFused, StepPhase, StepProfile, Throughput};
pub use check::{Artefact, Problem};
pub use data::{DataInfo, Picture};
pub use environment::{Environment, Origin};
pub use error::{Error, Result};
pub use eval::Eval;
pub use file::{read, read_lines};
pub use json::to_pretty_json_with_short_arrays;
pub use metrics::{EpochMetrics, EvalMetrics, TrainRecord};
pub use mobilenet_arch::{LayerKind, LayerSummary, Network, Summary};
pub use names::{Precision, Profile, RecipeName, Source, UnknownName};
pub use plan::{ComparisonPlan, PlannedRecipe};
pub use results::{ClassCounts, NetworkResult, PairResult, Results, ResultsData, RunResult};
pub use roofline::{Bandwidth, MemoryLevel, Roofline, RooflineRecord};
