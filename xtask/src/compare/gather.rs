//! From a folder of artefacts to what the report is made of.

mod found;
mod quiet;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::artefacts::{self, Bench, DataInfo, Epoch, Eval, Picture, Samples, Summary, TrainRecord};
use super::command;
use super::estimate::Sizes;
use super::names::Arch;
use super::origins::{self, Origin};
use super::plan::{self, Settings, Stage, run_name, stages};
use super::stats::{self, Answers, Comparison};

/// Everything that a comparison has left.
#[derive(Debug)]
pub struct Gathered {
    pub settings: Settings,
    pub data: DataInfo,
    pub models: Vec<Model>,
    pub summaries: Vec<Counts>,
    pub pictures: Vec<Picture>,
    /// That of the last run; `origins` has all
    pub environment: Value,
    pub origins: Vec<Origin>,
    /// Each pair of networks held against each other, that of the verdict first
    pub comparisons: Vec<Pair>,
    pub commands: Vec<String>,
    /// What is missing or odd, one sentence each
    pub notes: Vec<String>,
}

/// Two networks and how their accuracies compare; nothing if they saw different images.
#[derive(Debug)]
pub struct Pair {
    pub first: Arch,
    pub second: Arch,
    pub comparison: Option<Comparison>,
}

/// What is gathered.
#[derive(Copy, Clone, Debug, Default)]
pub struct Scope {
    /// The data set's own pictures, if they are there
    pub pictures: bool,
    /// Every finished run in the folder, not only those of the last plan
    pub every_run: bool,
}

/// Layers and counts of one network at both presets.
#[derive(Debug)]
pub struct Counts {
    pub arch: Arch,
    pub cifar: Summary,
    pub imagenet: Option<Summary>,
}

/// One network.
#[derive(Debug)]
pub struct Model {
    pub arch: Arch,
    pub params: u64,
    pub macs: u64,
    pub bench: Option<Bench>,
    pub training_bench: Option<Bench>,
    pub runs: Vec<Run>,
}

/// One finished training.
#[derive(Debug)]
pub struct Run {
    pub seed: u64,
    pub name: String,
    pub epochs: Vec<Epoch>,
    pub record: TrainRecord,
    pub eval: Eval,
    /// `train` of its `config.json`
    pub settings: Value,
}

impl Model {
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

    /// Accuracy on plain training images, mean over the seeds.
    pub fn train_top1(&self) -> f64 {
        self.mean(|run| run.eval.train_top1)
    }

    /// Images per second of training, mean over the seeds.
    pub fn training_speed(&self) -> f64 {
        self.mean(|run| run.record.images_per_second)
    }

    /// Highest resident memory of any training process, in bytes.
    pub fn training_memory(&self) -> Option<u64> {
        self.runs.iter().filter_map(|run| run.record.peak_rss_bytes).max()
    }

    /// Median latency in milliseconds.
    pub fn latency(&self) -> Option<f64> {
        self.bench.as_ref().map(|bench| bench.latency_ms.p50)
    }

    /// The evaluations of all runs.
    pub fn evals(&self) -> Vec<&Eval> {
        self.runs.iter().map(|run| &run.eval).collect()
    }

    /// The answers of all runs.
    pub fn answers(&self) -> Vec<Answers<'_>> {
        self.runs.iter().map(Run::answers).collect()
    }
}

impl Run {
    /// For the tests of significance.
    pub fn answers(&self) -> Answers<'_> {
        let Eval { test_top1, labels, predicted, .. } = &self.eval;
        Answers { seed: self.seed, top1: *test_top1, labels, predicted }
    }
}

impl Gathered {
    /// One network of the comparison.
    pub fn model(&self, arch: Arch) -> Option<&Model> {
        self.models.iter().find(|model| model.arch == arch)
    }

    /// Counts of any network, compared or not.
    pub fn counts(&self, arch: Arch) -> Option<&Counts> {
        self.summaries.iter().find(|counts| counts.arch == arch)
    }

    /// The two networks the verdict is about.
    pub fn pair(&self) -> Option<(&Model, &Model)> {
        let (first, second) = plan::pair(&self.models.iter().map(|model| model.arch).collect::<Vec<_>>())?;
        Some((self.model(first)?, self.model(second)?))
    }

    /// How these two compare.
    pub fn difference(&self) -> Option<&Comparison> {
        self.comparisons.first()?.comparison.as_ref()
    }

    /// Images per epoch and test images.
    pub fn sizes(&self) -> Sizes {
        Sizes::new(&self.settings, Some(&self.data))
    }

    /// Share of the article's training that was run.
    pub fn share_of_article(&self) -> f64 {
        self.sizes().share_of_article(self.settings.recipe.epochs)
    }

    /// True if accuracies may be held against the article's: its data, all of it, as many epochs.
    pub fn is_articles_protocol(&self) -> bool {
        let sizes = self.sizes();
        self.data.name == "cifar10" && self.share_of_article() >= 0.95 && sizes.test >= 10_000
    }
}

/// Reads the artefacts under `out`. Runs that are not complete are left out and named in the notes; a folder
/// without one complete run is an error.
pub fn gather(out: &Path, scope: Scope) -> Result<Gathered> {
    let Some(mut settings) = Settings::read(out)? else {
        bail!("{} holds no comparison (no plan.json)", out.display());
    };
    let data: DataInfo = artefacts::read(&Stage::Data.artefact(out))?;
    let mut notes = Vec::new();
    let planned = settings.clone();
    if scope.every_run {
        notes.extend(found::extend(&mut settings, out)?);
    }

    let mut summaries = Vec::new();
    for arch in Arch::ALL {
        let read = |imagenet| artefacts::read::<Summary>(&Stage::Summary { arch, imagenet }.artefact(out));
        match read(false) {
            Ok(cifar) => summaries.push(Counts { arch, cifar, imagenet: read(true).ok() }),
            Err(error) if settings.models.contains(&arch) => return Err(error),
            Err(_) => {}
        }
    }

    let mut models = Vec::new();
    let mut origins = Vec::new();
    for &arch in &settings.models {
        let mut runs = Vec::new();
        for &seed in &settings.seeds {
            match found::read_run(out, &settings, arch, seed) {
                Ok((run, origin)) => {
                    origins.push(origin);
                    runs.push(run);
                }
                // Nobody asked for each network with each seed that any other has.
                Err(_) if !planned.has(arch, seed) && !out.join(run_name(arch, seed)).exists() => {}
                Err(error) => notes.push(format!("{} is left out: {error:#}.", run_name(arch, seed))),
            }
        }
        let Some(counts) = summaries.iter().find(|c| c.arch == arch) else { continue };
        if runs.is_empty() {
            continue;
        }
        let bench = |stage: Stage| artefacts::read::<Bench>(&stage.artefact(out)).ok();
        models.push(Model {
            arch,
            params: counts.cifar.params,
            macs: counts.cifar.macs,
            bench: bench(Stage::Bench(arch)),
            training_bench: bench(Stage::BenchTraining(arch)),
            runs,
        });
    }
    if models.is_empty() {
        bail!("{} holds no finished run: {}", out.display(), notes.join(" "));
    }
    let environment = origins.last().map_or(Value::Null, |origin| origin.environment.clone());
    for model in &models {
        let Some(bench) = &model.bench else { continue };
        let what = format!("latency of {}", model.arch.short());
        origins.push(Origin { what, environment: bench.environment.clone(), copy: None });
    }
    notes.extend(models.iter().flat_map(quiet::notes));
    notes.extend(origins::differences(&origins));

    let pictures = match artefacts::read::<Samples>(&Stage::Samples.artefact(out)) {
        Ok(samples) if scope.pictures => samples.images,
        _ => Vec::new(),
    };
    let indices: Vec<_> = pictures.iter().map(|picture| picture.index).collect();
    let commands = stages(&settings, !pictures.is_empty())
        .iter()
        .map(|stage| {
            let mut args = command::arguments(stage, &settings, out, Some(&data), &indices);
            args.retain(|arg| arg != "--resume");
            command::display(&args)
        })
        .collect();
    let comparisons = compare(&models);
    Ok(Gathered { settings, data, models, summaries, pictures, environment, origins, comparisons, commands, notes })
}

/// Every pair of networks, that of the verdict first.
fn compare(models: &[Model]) -> Vec<Pair> {
    let mut pairs: Vec<(&Model, &Model)> =
        models.iter().enumerate().flat_map(|(i, a)| models[i + 1..].iter().map(move |b| (a, b))).collect();
    if let Some((first, second)) = plan::pair(&models.iter().map(|model| model.arch).collect::<Vec<_>>()) {
        let is_verdicts =
            |a: &Model, b: &Model| (a.arch, b.arch) == (first, second) || (b.arch, a.arch) == (first, second);
        pairs.sort_by_key(|(a, b)| !is_verdicts(a, b));
        pairs.iter_mut().filter(|(a, b)| is_verdicts(a, b) && a.arch != first).for_each(|(a, b)| std::mem::swap(a, b));
    }
    pairs
        .into_iter()
        .map(|(a, b)| Pair { first: a.arch, second: b.arch, comparison: stats::compare(&a.answers(), &b.answers()) })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A small comparison, committed: two networks, one seed, twelve test images.
    pub fn fixture() -> Gathered {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison");
        gather(&folder, Scope { pictures: true, ..Scope::default() }).unwrap()
    }

    #[test]
    fn the_fixture_is_read_whole() {
        let gathered = fixture();
        assert!(gathered.notes.is_empty(), "{:?}", gathered.notes);
        let (v2, v3) = gathered.pair().unwrap();
        assert_eq!((v2.arch, v3.arch), (Arch::V2, Arch::V3Large));
        assert_eq!((v2.params, v3.params), (2_236_682, 4_214_842));
        assert_eq!(v2.runs[0].epochs.len(), 3);
        assert_eq!(v2.runs[0].eval.labels.len(), 12);
        assert_eq!(v2.latency(), Some(2.11));
        assert_eq!(gathered.summaries.len(), 3);
        assert_eq!(gathered.environment["cores"], 2);
        assert!(gathered.commands.iter().any(|c| c.contains("train --model v3-large")));
        assert!(!gathered.is_articles_protocol());
        let only_one = &gathered.difference().unwrap().mcnemar[0];
        assert_eq!((only_one.only_first, only_one.only_second), (2, 6));
    }

    #[test]
    fn a_folder_without_a_comparison_says_so() {
        let error = gather(&std::env::temp_dir().join("xtask-no-such-folder"), Scope::default()).unwrap_err();
        assert!(error.to_string().contains("no plan.json"), "{error}");
    }
}
