//! `results.json`: what a comparison found, for programs.

use std::collections::BTreeMap;

use mobilenet_arch::{Arch, Network};
use serde::{Deserialize, Serialize};

use crate::advice::AdviceResult;
use crate::against::Against;
use crate::bench::{Blocks, LatencyMs, Throughput};
use crate::check::{Artefact, Problem, at_least_one, check, not_negative, positive, share};
use crate::claims::ClaimResult;
use crate::environment::{Environment, Origin};
use crate::names::Profile;
use crate::plan::ComparisonPlan;
use crate::roofline::Roofline;
use crate::shipped::ShippedResult;
use crate::statistics::{Bootstrap, Estimate, McNemar, Welch};

/// `results.json`: the figures of a comparison, and where they come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The report's title.
    #[serde(default)]
    pub title: String,
    /// When the report was written, in UTC.
    #[serde(default)]
    pub created: String,
    /// The profile that the settings started from.
    #[serde(default)]
    pub profile: Option<Profile>,
    /// What was compared, and how.
    pub settings: ComparisonPlan,
    /// Share of the article's training that was run.
    #[serde(default)]
    pub share_of_article: f64,
    /// What must be read before anything else.
    #[serde(default)]
    pub warning: Option<String>,
    /// The verdict, in two sentences.
    #[serde(default)]
    pub verdict: Vec<String>,
    /// How far the verdict carries.
    #[serde(default)]
    pub caveats: Vec<String>,
    /// What is missing or odd.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The data set.
    pub data: ResultsData,
    /// That of the last run; `origins` has all.
    #[serde(default, deserialize_with = "crate::environment::or_default")]
    pub environment: Environment,
    /// The command that makes the whole comparison, then what it runs.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Where each artefact comes from.
    #[serde(default)]
    pub origins: Vec<Origin>,
    /// The networks, in the order of the report.
    pub models: Vec<NetworkResult>,
    /// What the machine can do.
    #[serde(default)]
    pub roofline: Option<Roofline>,
    /// The verdict's two networks against each other.
    #[serde(default)]
    pub difference: Option<PairResult>,
    /// Each two networks against each other, those of the verdict first.
    #[serde(default)]
    pub pairs: Vec<PairResult>,
    /// By class, on how many images only one of the verdict's networks is right in all its seeds.
    #[serde(default)]
    pub disagreement: Option<Vec<ClassCounts>>,
    /// The article's advice on training, if it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<AdviceResult>,
    /// The article's claims that were audited.
    #[serde(default)]
    pub claims: Vec<ClaimResult>,
    /// An earlier comparison beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// The data set of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultsData {
    /// Its name.
    pub name: String,
    /// Which copy of it was read.
    #[serde(default)]
    pub copy: String,
    /// Whether it stands in for one that could not be had.
    #[serde(default)]
    pub fallback: bool,
    /// The classes' names.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Training images of the set; 0 where an old file does not tell.
    #[serde(default)]
    pub train_images: u64,
    /// Test images of the set; 0 where an old file does not tell.
    #[serde(default)]
    pub test_images: u64,
    /// Images of an epoch; 0 where an old file does not tell.
    #[serde(default)]
    pub train_images_used: u64,
    /// Images that were tested with; 0 where an old file does not tell.
    #[serde(default)]
    pub test_images_used: u64,
}

/// One network's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkResult {
    /// As `cargo xtask compare --models` takes it: `v2@0.5`.
    pub model: Network,
    /// As people write it: `MobileNetV2 ×0.5`.
    #[serde(default)]
    pub label: Option<String>,
    /// The architecture.
    #[serde(default)]
    pub arch: Option<Arch>,
    /// The width multiplier.
    #[serde(default)]
    pub width_mult: Option<f64>,
    /// Epochs of the shortest run.
    #[serde(default)]
    pub epochs: Option<u64>,
    /// Trainable numbers.
    pub params: u64,
    /// Multiply-adds of one image.
    pub macs: u64,
    /// Share of the test images that are classified correctly, the mean over the seeds.
    pub test_top1: f64,
    /// The estimates over the seeds by name.
    #[serde(default)]
    pub figures: BTreeMap<String, Estimate>,
    /// Spread of `test_top1` over the seeds; `None` for one seed.
    #[serde(default)]
    pub test_top1_deviation: Option<f64>,
    /// The 95 % interval of `test_top1` by the number of test images.
    #[serde(default)]
    pub test_top1_interval: Option<[f64; 2]>,
    /// The trainings.
    pub runs: Vec<RunResult>,
    /// Time of one image, of the middle round.
    pub latency_ms: Option<LatencyMs>,
    /// The median of every round, in the order of time.
    #[serde(default)]
    pub latency_rounds_ms: Vec<f64>,
    /// Threads of the benchmark.
    #[serde(default)]
    pub threads: Option<u64>,
    /// Processor of the benchmark.
    #[serde(default)]
    pub processor: Option<String>,
    /// Images per second, one at a time.
    #[serde(default)]
    pub images_per_second: Option<f64>,
    /// Images per second of larger batches.
    #[serde(default)]
    pub throughput: Option<Vec<Throughput>>,
    /// Peak memory of a process that answers single images.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Block by block, at each of the batches that were timed.
    #[serde(default)]
    pub blocks: Vec<Blocks>,
    /// Images per second of training, the mean over the seeds.
    pub training_images_per_second: f64,
    /// The network of the first seed in the forms that it was shipped in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shipped: Vec<ShippedResult>,
}

/// One training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Its seed.
    pub seed: u64,
    /// Its folder's name.
    #[serde(default)]
    pub run: String,
    /// Passes over the training images.
    #[serde(default)]
    pub epochs: u64,
    /// Share of the test images that are classified correctly.
    pub test_top1: f64,
    /// Share of the test images whose label is among the five first answers.
    #[serde(default)]
    pub test_top5: f64,
    /// Mean cross-entropy on the test images.
    #[serde(default)]
    pub test_loss: f64,
    /// Share of the plain training images that are classified correctly.
    #[serde(default)]
    pub train_top1: f64,
    /// Wall time of the run.
    #[serde(default)]
    pub seconds: f64,
    /// Seconds of training of its median epoch.
    #[serde(default)]
    pub seconds_per_epoch: f64,
    /// Images per second of such an epoch.
    #[serde(default)]
    pub images_per_second: f64,
    /// Peak memory of the process.
    #[serde(default)]
    pub peak_rss_bytes: Option<u64>,
    /// Which weights the run ended with.
    #[serde(default)]
    pub weights: String,
    /// Processor that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
}

/// Two networks against each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairResult {
    /// One network.
    pub first: Network,
    /// The other.
    pub second: Network,
    /// What the runs of each are called, where it is one network with other settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variants: Option<(String, String)>,
    /// Test accuracy of the second minus that of the first.
    pub test_top1: f64,
    /// Seeds of each.
    pub seeds: (usize, usize),
    /// The difference's 95 % interval.
    pub interval: Option<(f64, f64)>,
    /// Of the difference, by `test`.
    pub p_value: f64,
    /// The test that decides.
    pub test: String,
    /// Whether the difference may be chance.
    pub within_noise: bool,
    /// Welch's test over the seeds; absent if either network has only one, or seeds without scatter.
    pub welch: Option<Welch>,
    /// McNemar's test over the images, for each shared seed; empty if they saw different images.
    pub mcnemar: Vec<McNemar>,
    /// The bootstrap over the images; absent likewise.
    pub bootstrap: Option<Bootstrap>,
}

/// Images of one class by who is right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// The class's name.
    pub class: String,
    /// Its test images.
    pub images: usize,
    /// Only the first network is right, in all its seeds.
    pub only_first: usize,
    /// Only the second network is right, in all its seeds.
    pub only_second: usize,
    /// Both are right in all their seeds.
    pub both_right: usize,
    /// Both are wrong in all their seeds.
    pub both_wrong: usize,
    /// At least one of them is right in some seeds and wrong in others.
    pub unsettled: usize,
}

impl Artefact for Results {
    const WHAT: &str = "the results of a comparison";

    fn check(&self) -> Result<(), Problem> {
        for (i, model) in self.models.iter().enumerate() {
            model.check().map_err(|problem| problem.within(format_args!("models[{i}]")))?;
        }
        let of = |field: &'static str| move |problem: Problem| problem.within(field);
        self.advice.as_ref().map_or(Ok(()), AdviceResult::check).map_err(of("advice"))?;
        self.roofline.as_ref().map_or(Ok(()), Roofline::check).map_err(of("roofline"))
    }
}

impl NetworkResult {
    fn check(&self) -> Result<(), Problem> {
        at_least_one("params", self.params)?;
        at_least_one("macs", self.macs)?;
        share("test_top1", self.test_top1)?;
        if let Some([low, high]) = self.test_top1_interval {
            share("test_top1_interval[0]", low)?;
            share("test_top1_interval[1]", high)?;
            check(low <= high, "test_top1_interval", "its lower end first", format_args!("[{low}, {high}]"))?;
        }
        self.width_mult.map_or(Ok(()), |width| positive("width_mult", width))?;
        if let Some(latency) = &self.latency_ms {
            latency.check().map_err(|problem| problem.within("latency_ms"))?;
        }
        not_negative("training_images_per_second", self.training_images_per_second)?;
        for (i, run) in self.runs.iter().enumerate() {
            share(format_args!("runs[{i}].test_top1"), run.test_top1)?;
        }
        for (i, shipped) in self.shipped.iter().enumerate() {
            shipped.check().map_err(|problem| problem.within(format_args!("shipped[{i}]")))?;
        }
        Ok(())
    }
}
