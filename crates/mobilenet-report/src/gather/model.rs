//! A network of the comparison, with its runs.

use mobilenet_arch::Network;
use mobilenet_schema::{Bench, Blocks, EpochMetrics, Eval, Form, Summary, TrainRecord, TrainSettings};

use super::shipped::ShippedForm;
use crate::stats::{self, Answers};
use crate::subject::Subject;

/// Layers and counts of one network at both presets.
#[derive(Debug)]
pub struct Counts {
    /// The network
    pub network: Network,
    /// At 32×32 pixels
    pub cifar: Summary,
    /// At 224×224 pixels with 1000 classes, if it is there
    pub imagenet: Option<Summary>,
}

/// One network.
#[derive(Debug)]
pub struct Model {
    /// The network, and which of its settings if there are several
    pub subject: Subject,
    /// Number of parameters
    pub params: u64,
    /// Multiply-adds of one image
    pub macs: u64,
    /// Of the rounds in which inference was timed, the one with the middle latency
    pub bench: Option<Bench>,
    /// The median latency of every round in milliseconds, in the order of time
    pub rounds: Vec<f64>,
    /// Training steps timed by themselves
    pub training_bench: Option<Bench>,
    /// Block by block, at each of the batches that were timed
    pub blocks: Vec<Blocks>,
    /// The forms in which it was shipped and measured, float32 first
    pub shipped: Vec<ShippedForm>,
    /// Its finished runs, one a seed
    pub runs: Vec<Run>,
}

/// One finished training.
#[derive(Debug)]
pub struct Run {
    /// Its seed
    pub seed: u64,
    /// Name of its folder
    pub name: String,
    /// `metrics.jsonl`
    pub epochs: Vec<EpochMetrics>,
    /// `train.json`
    pub record: TrainRecord,
    /// `eval.json`
    pub eval: Eval,
    /// `train` of its `config.json`
    pub settings: TrainSettings,
    /// The kind of processor it was trained on; the same seed trains to other weights on another
    pub processor: Option<String>,
}

impl Model {
    /// The network.
    pub fn network(&self) -> Network {
        self.subject.network
    }

    /// Mean over the seeds.
    pub fn mean(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        stats::mean(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// Spread over the seeds; 0 for one seed.
    pub fn deviation(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        stats::deviation(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// Test accuracy, mean over the seeds.
    pub fn test_top1(&self) -> f64 {
        self.mean(|run| run.eval.test_top1)
    }

    /// Images per second of training as [`Run::images_per_second`], mean over the seeds.
    pub fn training_speed(&self) -> f64 {
        self.mean(Run::images_per_second)
    }

    /// Highest resident memory of any training process, in bytes.
    pub fn training_memory(&self) -> Option<u64> {
        self.runs.iter().filter_map(|run| run.record.peak_rss_bytes).max()
    }

    /// Median latency of the middle round, in milliseconds.
    pub fn latency(&self) -> Option<f64> {
        self.bench.as_ref().map(|bench| bench.latency_ms.p50)
    }

    /// One of the forms in which it was shipped.
    pub fn shipped(&self, form: Form) -> Option<&ShippedForm> {
        self.shipped.iter().find(|shipped| shipped.form == form)
    }

    /// The times of its blocks at a batch.
    pub fn blocks_at(&self, batch: u64) -> Option<&Blocks> {
        self.blocks.iter().find(|blocks| blocks.batch == batch && !blocks.blocks.is_empty())
    }

    /// The evaluations of all runs.
    pub fn evals(&self) -> Vec<&Eval> {
        self.runs.iter().map(|run| &run.eval).collect()
    }

    /// The evaluations of the runs whose seed another network has too; of all runs if it has none of these seeds. With
    /// more seeds than the other, a network would be right, or wrong, in all of its own on fewer images.
    pub fn evals_beside(&self, other: &Model) -> Vec<&Eval> {
        let shared: Vec<_> = self.runs.iter().filter(|run| other.runs.iter().any(|o| o.seed == run.seed)).collect();
        if shared.is_empty() { self.evals() } else { shared.into_iter().map(|run| &run.eval).collect() }
    }

    /// The answers of all runs.
    pub fn answers(&self) -> Vec<Answers<'_>> {
        self.runs.iter().map(Run::answers).collect()
    }
}

impl Run {
    /// Whether every epoch is the same work: not so where the first ones have smaller images.
    pub fn has_equal_epochs(&self) -> bool {
        self.settings.config.low_resolution.is_none()
    }

    /// Seconds of training of its median epoch, without evaluation: a machine shared with others has slow hours, which
    /// stretch the mean of a run but rarely half of its epochs. The mean where epochs are not equal.
    pub fn seconds_per_epoch(&self) -> f64 {
        let seconds: Vec<f64> = self.epochs.iter().filter_map(EpochMetrics::timed).collect();
        let median = stats::median(&seconds).filter(|_| self.has_equal_epochs());
        median.unwrap_or(self.record.seconds_per_epoch)
    }

    /// Images per second of such an epoch.
    pub fn images_per_second(&self) -> f64 {
        let images_per_epoch = self.record.images_per_second * self.record.seconds_per_epoch;
        images_per_epoch / self.seconds_per_epoch()
    }

    /// For the tests of significance.
    pub fn answers(&self) -> Answers<'_> {
        let Eval { test_top1, labels, predicted, .. } = &self.eval;
        Answers { seed: self.seed, top1: *test_top1, labels, predicted }
    }
}
