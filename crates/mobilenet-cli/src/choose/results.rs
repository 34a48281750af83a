//! What comparisons have left: their `results.json`, as far as a choice needs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use mobilenet_bench::Environment;
use mobilenet_schema::{ComparisonPlan, NetworkResult, Results, ResultsData, ShippedResult};
use serde::Serialize;

/// Networks of one comparison that were measured on this machine. Only these have accuracies that can be compared with
/// each other: one data set, one recipe.
#[derive(Debug)]
pub struct Comparison {
    /// The comparison's folder.
    pub from: PathBuf,
    /// The data set's name.
    pub data: String,
    /// Whether the data set stands in for one that could not be had.
    pub stand_in: bool,
    /// The networks, never none.
    pub candidates: Vec<Candidate>,
}

/// One network, or one form that it was shipped in, with everything that can be limited.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// As `cargo xtask compare --models` takes it, and the form after it: `v2@0.5`, `v2 int8`.
    pub model: String,
    /// As people write it: `MobileNetV2 ×0.5`, `MobileNetV2, int8`.
    pub label: String,
    /// The width multiplier.
    pub width_mult: f64,
    /// Share of the test images classified correctly, the mean over the seeds; what is shipped has one.
    pub test_top1: f64,
    /// Its 95 % interval.
    pub test_top1_interval: [f64; 2],
    /// Epochs it was trained for.
    pub epochs: Option<u64>,
    /// Median time of one image.
    pub latency_ms: f64,
    /// Trainable numbers.
    pub params: u64,
    /// Multiply-adds of one image.
    pub macs: u64,
    /// Peak memory of a process that answers single images.
    pub peak_rss_bytes: Option<u64>,
}

/// A network, or a whole comparison, that cannot be chosen from.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// The network, if it is one.
    pub model: Option<String>,
    /// The comparison's folder.
    pub from: PathBuf,
    /// The reason.
    pub why: String,
}

/// Processor and threads: latencies of others say nothing here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    pub processor: String,
    pub threads: usize,
}

impl Machine {
    /// The one this runs on.
    pub fn here(environment: &Environment) -> Self {
        Self { processor: environment.processor.clone(), threads: environment.threads }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.threads == 1 { "" } else { "s" };
        write!(f, "{}, {} thread{plural}", self.processor, self.threads)
    }
}

/// The `results.json` to read: of the folders given, which must have one, or of every folder in `runs`.
pub fn find(from: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let file = |folder: &Path| folder.join("results.json");
    if from.is_empty() {
        let Ok(entries) = std::fs::read_dir("runs") else { return Ok(Vec::new()) };
        let files = entries.flatten().map(|entry| file(&entry.path())).filter(|path| path.is_file());
        return Ok(files.collect::<BTreeSet<_>>().into_iter().collect());
    }
    let mut files = Vec::new();
    for folder in from {
        let path = file(folder);
        if !path.is_file() {
            bail!("--from {}: no results.json of a comparison there", folder.display());
        }
        if !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Reads one `results.json` and takes what was measured on `machine`; `None` if nothing was.
pub fn read(path: &Path, machine: &Machine, left_out: &mut Vec<LeftOut>) -> Result<Option<Comparison>> {
    let results: Results = mobilenet_schema::read(path)?;
    let from = path.parent().unwrap_or(path).to_path_buf();
    let mut candidates = Vec::new();
    let mut take = |model: String, found: Result<Candidate, String>| match found {
        Ok(candidate) => candidates.push(candidate),
        Err(why) => left_out.push(LeftOut { model: Some(model), from: from.clone(), why }),
    };
    for entry in results.models {
        for form in &entry.shipped {
            take(format!("{} {}", entry.model.key(), form.form), shipped(&entry, form, &results.settings, machine));
        }
        take(entry.model.key(), candidate(entry, &results.settings, &results.environment, machine));
    }
    let ResultsData { name, fallback, .. } = results.data;
    let stand_in = fallback || matches!(name.as_str(), "shapes10" | "flaws");
    Ok((!candidates.is_empty()).then_some(Comparison { from, data: name, stand_in, candidates }))
}

/// The network, or why it cannot be chosen here.
fn candidate(
    entry: NetworkResult,
    plan: &ComparisonPlan,
    run: &Environment,
    machine: &Machine,
) -> Result<Candidate, String> {
    let Some(latency) = entry.latency_ms else { return Err("its latency was not measured".to_owned()) };
    let Some(test_top1_interval) = entry.test_top1_interval else {
        return Err("its results do not say how exact its accuracy is".to_owned());
    };
    if plan.device != "cpu" {
        return Err(format!("measured on {}, not on the CPU", plan.device));
    }
    let processor = entry.processor.unwrap_or_else(|| run.processor.clone());
    let threads = entry.threads.map_or(run.threads, |threads| usize::try_from(threads).unwrap_or(usize::MAX));
    if processor.is_empty() || threads == 0 {
        return Err("its results do not say on which machine it was measured".to_owned());
    }
    let measured = Machine { processor, threads };
    if measured != *machine {
        return Err(format!("measured on {measured}"));
    }
    Ok(Candidate {
        label: entry.label.unwrap_or_else(|| entry.model.label()),
        model: entry.model.key(),
        width_mult: entry.width_mult.unwrap_or_else(|| entry.model.width.factor()),
        test_top1: entry.test_top1,
        test_top1_interval,
        epochs: entry.epochs.or(Some(plan.recipe.epochs)),
        latency_ms: latency.p50,
        params: entry.params,
        macs: entry.macs,
        peak_rss_bytes: entry.peak_rss_bytes,
    })
}

/// The network in a form that it was shipped in, or why it cannot be chosen here. Its file runs on the CPU wherever the
/// network was trained.
fn shipped(
    entry: &NetworkResult,
    found: &ShippedResult,
    plan: &ComparisonPlan,
    machine: &Machine,
) -> Result<Candidate, String> {
    let Some(latency) = found.latency_ms else { return Err("its latency was not measured".to_owned()) };
    let (Some(processor), Some(threads)) = (&found.processor, found.threads) else {
        return Err("its results do not say on which machine it was measured".to_owned());
    };
    let threads = usize::try_from(threads).unwrap_or(usize::MAX);
    let measured = Machine { processor: processor.clone(), threads };
    if measured != *machine {
        return Err(format!("measured on {measured}"));
    }
    let label = entry.label.clone().unwrap_or_else(|| entry.model.label());
    Ok(Candidate {
        label: format!("{label}, {}", found.form.label()),
        model: format!("{} {}", entry.model.key(), found.form),
        width_mult: entry.width_mult.unwrap_or_else(|| entry.model.width.factor()),
        test_top1: found.test_top1,
        test_top1_interval: found.test_top1_interval,
        epochs: entry.epochs.or(Some(plan.recipe.epochs)),
        latency_ms: latency.p50,
        params: entry.params,
        macs: entry.macs,
        peak_rss_bytes: found.peak_rss_bytes,
    })
}
