//! `mobilenet report RUN...`: what single runs found, for programs.

use std::collections::BTreeMap;

use mobilenet_arch::Network;
use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, at_least_one, share};
use crate::environment::Origin;
use crate::results::PairResult;
use crate::statistics::Estimate;

/// `results.json` of runs that belong to no comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunsResults {
    /// The report's title.
    pub title: String,
    /// When the report was written, in UTC.
    pub created: String,
    /// What must be read before anything else.
    pub warning: Option<String>,
    /// The verdict.
    pub verdict: Vec<String>,
    /// What is missing or does not compare, one sentence each.
    pub notes: Vec<String>,
    /// Where each run comes from.
    pub origins: Vec<Origin>,
    /// The runs in the order given, evaluated or not.
    pub trainings: Vec<TrainingResult>,
    /// The networks over their evaluated seeds.
    pub models: Vec<SeedsResult>,
    /// Every two networks that were evaluated on the same images.
    pub pairs: Vec<PairResult>,
}

/// One run, evaluated or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingResult {
    /// Its folder's name.
    pub run: String,
    /// The network.
    pub model: Network,
    /// Its seed.
    pub seed: u64,
    /// Passes over the training images.
    pub epochs: u64,
    /// Share of the test images that are classified correctly; absent, as the next three, before an evaluation.
    pub test_top1: Option<f64>,
    /// Share of the test images whose label is among the five first answers.
    pub test_top5: Option<f64>,
    /// Mean cross-entropy on the test images.
    pub test_loss: Option<f64>,
    /// Share of the plain training images that are classified correctly.
    pub train_top1: Option<f64>,
    /// Wall time of the run.
    pub seconds: f64,
    /// Training speed over the whole run.
    pub images_per_second: f64,
    /// Peak memory of the process.
    pub peak_rss_bytes: Option<u64>,
    /// Which weights the run ended with.
    pub weights: String,
}

/// A network over its evaluated seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedsResult {
    /// The network.
    pub model: Network,
    /// As people write it: `MobileNetV2 ×0.5`.
    pub label: String,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Share of the test images that are classified correctly, the mean over the seeds.
    pub test_top1: f64,
    /// The estimates over the seeds by name.
    pub figures: BTreeMap<String, Estimate>,
}

impl Artefact for RunsResults {
    const WHAT: &str = "the results of single runs";

    fn check(&self) -> Result<(), Problem> {
        for (i, training) in self.trainings.iter().enumerate() {
            at_least_one(format_args!("trainings[{i}].epochs"), training.epochs)?;
            if let Some(top1) = training.test_top1 {
                share(format_args!("trainings[{i}].test_top1"), top1)?;
            }
        }
        for (i, model) in self.models.iter().enumerate() {
            share(format_args!("models[{i}].test_top1"), model.test_top1)?;
        }
        Ok(())
    }
}
