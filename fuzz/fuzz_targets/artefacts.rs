//! The JSON files that runs and comparisons leave, of every type.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mobilenet_fuzz::read::artefact;
use mobilenet_fuzz::with_file;
use mobilenet_schema::{
    Bench, ComparisonPlan, DataInfo, EpochMetrics, Eval, Results, RooflineRecord, RunConfig, RunsResults, ShippedBench,
    ShippedEval, Summary, TrainRecord,
};

fuzz_target!(|bytes: &[u8]| {
    with_file("artefact.json", bytes, |path| {
        artefact::<Bench>(path);
        artefact::<ComparisonPlan>(path);
        artefact::<DataInfo>(path);
        artefact::<EpochMetrics>(path);
        artefact::<Eval>(path);
        artefact::<Results>(path);
        artefact::<RooflineRecord>(path);
        artefact::<RunConfig>(path);
        artefact::<RunsResults>(path);
        artefact::<ShippedBench>(path);
        artefact::<ShippedEval>(path);
        artefact::<Summary>(path);
        artefact::<TrainRecord>(path);
    });
});
