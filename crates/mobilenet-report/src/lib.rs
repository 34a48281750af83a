#![doc = include_str!("../README.md")]

mod against;
mod agreement;
mod audit;
mod charts;
mod content;
mod document;
mod error;
mod gather;
mod html;
mod judged;
mod leaves;
mod lock;
mod markdown;
mod network;
mod origins;
mod pareto;
mod plan;
mod plots;
mod results;
mod runs;
mod samples;
mod stats;
mod structure;
mod subject;
pub mod text;
mod verdict;
mod write;

// Comparisons.
pub use against::{Snapshot, against, describe_change};
pub use gather::{Gathered, Scope, gather};
pub use verdict::{data_warning, verdict};
pub use write::write;

// One network on one set.
pub use judged::{Judged, Mistake, judged_page};

// Single runs.
pub use runs::{Runs, read_runs};
pub use write::write_runs;

// A comparison's folder, for whoever runs one.
pub use gather::{advice_mismatch, config_mismatch};
pub use lock::lock;
pub use network::title;
pub use plan::{
    Advice, BENCH_ROUNDS, BLOCK_BATCHES, Inspect, Inspection, Sizes, Stage, advice_settings, advice_teacher, advised,
    forms, inspection, read_plan, run_name, summarized, tuning_epochs, usual_teacher,
};
pub use samples::example_images;

pub use error::{Error, Result};
