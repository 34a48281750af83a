//! What an earlier comparison found, from its folder or from `results.json` alone.

use std::path::{Path, PathBuf};

use mobilenet_arch::Network;
use mobilenet_schema::Origin;
use mobilenet_schema::{ComparisonPlan, NetworkResult, Results, RunResult};

use crate::error::{Error, Result};
use crate::gather::{Gathered, Model, Scope, gather};
use crate::stats::{self, Answers};

/// What an earlier comparison found.
#[derive(Debug)]
pub struct Snapshot {
    /// As it was typed
    pub path: PathBuf,
    /// Its plan
    pub(crate) settings: ComparisonPlan,
    /// The data it was trained on
    pub(crate) data: DataSet,
    /// Where its artefacts come from
    pub(crate) origins: Vec<Origin>,
    /// The figures of each network
    pub(crate) networks: Vec<Figures>,
}

/// What the accuracies are of.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    pub name: String,
    pub test_images: u64,
}

/// One network's figures.
#[derive(Clone, Debug)]
pub struct Figures {
    pub network: Network,
    pub params: u64,
    pub macs: u64,
    pub latency_ms: Option<f64>,
    pub images_per_second: f64,
    pub runs: Vec<Run>,
}

/// One run's answers; without labels where only the accuracy is known.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: u64,
    pub top1: f64,
    pub labels: Vec<usize>,
    pub predicted: Vec<usize>,
}

impl Snapshot {
    /// Reads a comparison's folder, or its `results.json` where nothing else is left of it.
    ///
    /// # Errors
    /// A path with neither, or with files that are damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let no_comparison = |reason: String| Error::NoComparison { path: path.to_owned(), reason };
        if !path.exists() {
            return Err(Error::Missing { path: path.to_owned() });
        }
        let is_file = path.is_file();
        let folder = if is_file { path.parent().unwrap_or(Path::new("")) } else { path };
        let results = if is_file { path.to_owned() } else { path.join("results.json") };
        if folder.join("plan.json").exists() && (!is_file || path.ends_with("results.json")) {
            let gathered = gather(folder, Scope { every_run: true, ..Scope::default() })
                .map_err(|error| Error::Earlier { path: path.to_owned(), error: Box::new(error) })?;
            return Ok(Self::new(path, &gathered));
        }
        if !results.exists() {
            return Err(no_comparison(": neither plan.json nor results.json".to_owned()));
        }
        let results = mobilenet_schema::read(&results).map_err(|error| no_comparison(format!(": {error}")))?;
        Ok(Self::from_results(path, results))
    }

    /// What a comparison at hand has found.
    pub(crate) fn new(path: &Path, gathered: &Gathered) -> Self {
        Self {
            path: path.to_owned(),
            settings: gathered.settings.clone(),
            data: data_set(gathered),
            origins: gathered.origins.clone(),
            networks: gathered.models.iter().map(Figures::new).collect(),
        }
    }

    /// Of a `results.json`.
    pub(crate) fn from_results(path: &Path, results: Results) -> Self {
        let run =
            |run: RunResult| Run { seed: run.seed, top1: run.test_top1, labels: Vec::new(), predicted: Vec::new() };
        let network = |found: NetworkResult| Figures {
            network: found.model,
            params: found.params,
            macs: found.macs,
            latency_ms: found.latency_ms.map(|latency| latency.p50),
            images_per_second: found.training_images_per_second,
            runs: found.runs.into_iter().map(run).collect(),
        };
        let mut origins = results.origins;
        if origins.is_empty() {
            origins.push(Origin { what: "last run".to_owned(), environment: results.environment, copy: None });
        }
        Self {
            path: path.to_owned(),
            settings: results.settings,
            data: DataSet { name: results.data.name, test_images: results.data.test_images_used },
            origins,
            networks: results.models.into_iter().map(network).collect(),
        }
    }

    /// Fails if this is the comparison in `out` itself.
    ///
    /// # Errors
    /// [`Error::Itself`].
    pub fn check_other_than(&self, out: &Path) -> Result<()> {
        let folder = if self.path.is_file() { self.path.parent().unwrap_or(Path::new("")) } else { &self.path };
        // An empty parent is the working folder.
        let canonical =
            |path: &Path| if path.as_os_str().is_empty() { Path::new(".") } else { path }.canonicalize().ok();
        if canonical(folder).is_some() && canonical(folder) == canonical(out) {
            return Err(Error::Itself { path: self.path.clone() });
        }
        Ok(())
    }
}

impl Figures {
    fn new(model: &Model) -> Self {
        let runs = model.runs.iter().map(|run| Run {
            seed: run.seed,
            top1: run.eval.test_top1,
            labels: run.eval.labels.clone(),
            predicted: run.eval.predicted.clone(),
        });
        Self {
            network: model.network(),
            params: model.params,
            macs: model.macs,
            latency_ms: model.latency(),
            images_per_second: model.training_speed(),
            runs: runs.collect(),
        }
    }

    /// Test accuracy, mean over the seeds.
    pub fn top1(&self) -> f64 {
        stats::mean(&self.runs.iter().map(|run| run.top1).collect::<Vec<_>>())
    }

    /// For the tests of significance.
    pub fn answers(&self) -> Vec<Answers<'_>> {
        let runs = self.runs.iter();
        runs.map(|run| Answers { seed: run.seed, top1: run.top1, labels: &run.labels, predicted: &run.predicted })
            .collect()
    }
}

fn data_set(gathered: &Gathered) -> DataSet {
    DataSet { name: gathered.data.name.clone(), test_images: gathered.sizes().test }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison")
    }

    #[test]
    fn what_holds_no_comparison_is_named() {
        let check = |path: &Path, part: &str| {
            let error = Snapshot::read(path).unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()) && error.contains(part), "{error}");
        };
        check(&std::env::temp_dir().join("mobilenet-report-no-such-folder"), "no such folder");
        check(&folder().join("v2-s1"), "neither plan.json nor results.json");
        check(&folder().join("data.json"), "data.json is not the results of a comparison");
        check(&folder().join("v2-s1/metrics.jsonl"), "holds no comparison");
    }
}
