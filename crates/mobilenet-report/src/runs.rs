//! Single runs, folders of `mobilenet train`, without a comparison: which of them are seeds of one network, and what compares.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::artefacts::{self, EpochMetrics, Eval, Origin, RunConfig, TrainRecord};
use super::gather::{Model, Pair, Run};
use super::network::Network;
use super::origins::{self, Trait};
use super::plan::flatten;
use super::stats;
use super::text::list;

/// Some runs and what follows from them.
#[derive(Debug)]
pub struct Runs {
    /// Every run, in the order given
    pub trainings: Vec<Training>,
    /// By network, the evaluated runs that are seeds of one another
    pub models: Vec<Model>,
    /// Every pair of networks that were evaluated on the same images
    pub pairs: Vec<Pair>,
    /// What is missing or does not compare, one sentence each
    pub notes: Vec<String>,
}

/// One finished run, evaluated or not.
#[derive(Debug)]
pub struct Training {
    /// Its folder's name
    pub name: String,
    /// The network
    pub network: Network,
    /// Its seed
    pub seed: u64,
    /// `metrics.jsonl`
    pub epochs: Vec<EpochMetrics>,
    /// `train.json`
    pub record: TrainRecord,
    /// `config.json`
    pub config: RunConfig,
    /// `eval.json`, if there is one
    pub eval: Option<Eval>,
    /// Where it was trained
    pub origin: Origin,
}

impl Training {
    /// Everything that decides its weights but the seed, as (name, value).
    fn settings(&self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let config = serde_json::to_value(&self.config).unwrap_or_default();
        for part in ["train", "model", "recipe", "init", "freeze_features", "teacher"] {
            flatten(part, &config[part], &mut fields);
        }
        for part in ["name", "copy", "train_images", "limit_train", "validation", "image"] {
            flatten(&format!("data.{part}"), &config["data"][part], &mut fields);
        }
        fields.retain(|(name, _)| name != "train.seed");
        fields
    }
}

/// Reads runs. Of each `config.json`, `metrics.jsonl` and `train.json` are needed; that `eval.json` is missing is noted.
pub fn read(folders: &[PathBuf]) -> Result<Runs> {
    let mut trainings: Vec<Training> = Vec::new();
    for folder in folders {
        let training = read_run(folder)?;
        if trainings.iter().any(|known| known.name == training.name) {
            bail!("two of the runs are called {}; expected folders of different names", training.name);
        }
        trainings.push(training);
    }
    let mut notes = Vec::new();
    let missing: Vec<_> = trainings.iter().filter(|t| t.eval.is_none()).map(|t| t.name.clone()).collect();
    if !missing.is_empty() {
        let (has, it) = if missing.len() == 1 { ("has", "it") } else { ("have", "they") };
        notes.push(format!(
            "{} {has} not been evaluated (no eval.json): {it} appear only in the curves and the settings; mobilenet eval --run RUN evaluates.",
            list(&missing)
        ).replace("it appear ", "it appears "));
    }
    let models = models(&trainings, &mut notes)?;
    let pairs = pairs(&models, &mut notes);
    notes.extend(different_settings(&trainings, &models));
    notes.extend(origins::differences(&trainings.iter().map(|t| t.origin.clone()).collect::<Vec<_>>()));
    Ok(Runs { trainings, models, pairs, notes })
}

fn read_run(folder: &Path) -> Result<Training> {
    if !folder.is_dir() {
        bail!("{} is not a folder", folder.display());
    }
    let file = |name: &str, missing: &str| {
        let path = folder.join(name);
        if path.is_file() { Ok(path) } else { Err(anyhow::anyhow!("{}: {missing} (no {name})", folder.display())) }
    };
    // What is missing is said before what is wrong with the rest.
    let config = file("config.json", "expected a folder that mobilenet train wrote")?;
    let record = file("train.json", "its training has not ended")?;
    let epochs = file("metrics.jsonl", "its epochs are not there")?;
    let config: RunConfig = artefacts::read(&config)?;
    let (record, epochs) = (artefacts::read(&record)?, artefacts::read_lines(&epochs)?);
    let eval = folder.join("eval.json");
    let mut eval: Option<Eval> = if eval.exists() { Some(artefacts::read(&eval)?) } else { None };
    for class in eval.iter_mut().flat_map(|eval| &mut eval.classes) {
        *class = class.replace('_', " ");
    }
    let (arch, width) = (config.model.arch, config.model.width_mult);
    let network: Network =
        format!("{arch}@{width}").parse().map_err(|e| anyhow::anyhow!("{}: {e}", folder.display()))?;
    let seed = config.train.config.seed;
    // `.` and `..` have no name of their own.
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = full.file_name().map_or_else(|| folder.display().to_string(), |name| name.display().to_string());
    let origin =
        Origin { what: name.clone(), environment: config.environment.clone(), copy: Some(config.data.copy.clone()) };
    Ok(Training { name, network, seed, epochs, record, config, eval, origin })
}

/// Groups the evaluated runs by network. A run whose settings are not those of the network's first, or whose seed another has,
/// is not counted as a seed of it.
fn models(trainings: &[Training], notes: &mut Vec<String>) -> Result<Vec<Model>> {
    let mut models: Vec<(&Training, Model)> = Vec::new();
    for training in trainings {
        let Some(eval) = &training.eval else { continue };
        let run = Run {
            seed: training.seed,
            name: training.name.clone(),
            epochs: training.epochs.clone(),
            record: training.record.clone(),
            eval: eval.clone(),
            settings: training.config.train.clone(),
            processor: Trait::Processor.of(&training.origin),
        };
        let Some((first, model)) = models.iter_mut().find(|(first, _)| first.network == training.network) else {
            models.push((training, model(training, run)?));
            continue;
        };
        let what = if let Some((name, then, now)) = difference(first, training) {
            format!("its {name} is {now}, that of {} {then}", first.name)
        } else if first.eval.as_ref().map(|eval| &eval.labels) != Some(&eval.labels) {
            format!("it was evaluated on other test images than {}", first.name)
        } else if let Some(same) = model.runs.iter().find(|known| known.seed == run.seed) {
            format!("it has the seed of {}", same.name)
        } else {
            model.runs.push(run);
            continue;
        };
        notes.push(format!("{} is not counted among the seeds of {}: {what}.", training.name, first.network.label()));
    }
    Ok(models.into_iter().map(|(_, model)| model).collect())
}

/// A network with its first run, and its counts by its configuration.
fn model(training: &Training, run: Run) -> Result<Model> {
    let context = || format!("{}: config.json does not hold a network's settings", training.name);
    let [height, width] = training.config.data.image;
    let counts = mobilenet_arch::summary(&training.config.model, (height, width)).with_context(context)?;
    Ok(Model {
        network: training.network,
        params: counts.params as u64,
        macs: counts.macs as u64,
        bench: None,
        rounds: Vec::new(),
        training_bench: None,
        blocks: Vec::new(),
        runs: vec![run],
    })
}

/// The first setting in which two runs differ, as (name, of the first, of the second).
fn difference(first: &Training, second: &Training) -> Option<(String, String, String)> {
    let (a, b) = (first.settings(), second.settings());
    let value = |all: &[(String, String)], name: &str| {
        all.iter().find(|(known, _)| known == name).map_or("not said".to_owned(), |(_, value)| value.clone())
    };
    let mut names = a.iter().chain(&b).map(|(name, _)| name);
    names.find_map(|name| {
        let (then, now) = (value(&a, name), value(&b, name));
        (then != now).then(|| (name.clone(), then, now))
    })
}

/// Every pair of networks; not compared if they were evaluated on different images.
fn pairs(models: &[Model], notes: &mut Vec<String>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, first) in models.iter().enumerate() {
        for second in &models[i + 1..] {
            if first.runs[0].eval.labels != second.runs[0].eval.labels {
                notes.push(format!(
                    "{} and {} were evaluated on different test images: their accuracies are not compared.",
                    first.network.label(),
                    second.network.label()
                ));
                continue;
            }
            let comparison = stats::compare(&first.answers(), &second.answers());
            pairs.push(Pair { first: first.network, second: second.network, comparison });
        }
    }
    pairs
}

/// In what the networks were trained differently, if in anything: then a difference is not the network's alone.
fn different_settings(trainings: &[Training], models: &[Model]) -> Option<String> {
    let mut firsts = models.iter().filter_map(|model| trainings.iter().find(|t| t.name == model.runs[0].name));
    let first = firsts.next()?;
    let mut names: Vec<String> = Vec::new();
    for other in firsts {
        let (a, b) = (first.settings(), other.settings());
        let differing = a.iter().filter(|(name, value)| !b.iter().any(|(n, v)| n == name && v == value));
        // That the networks are different ones is the point.
        for (name, _) in differing.filter(|(name, _)| !["model.arch", "model.width_mult"].contains(&name.as_str())) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    (!names.is_empty()).then(|| {
        format!(
            "The networks were not trained alike ({} differ): their differences are not the networks' alone.",
            list(&names)
        )
    })
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::RunsResults;
    use serde_json::Value;

    use super::*;
    use crate::gather::fixture::{copy, copy_of_fixture};

    /// Rewrites one JSON file.
    fn change(path: &Path, change: impl FnOnce(&mut Value)) {
        let mut value: Value = artefacts::read(path).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    }

    #[test]
    fn seeds_are_grouped_and_what_is_none_is_said() {
        let out = copy_of_fixture("runs");
        let add = |from: &str, to: &str, seed: u64| {
            copy(&out.join(from), &out.join(to));
            change(&out.join(to).join("config.json"), |config| config["train"]["seed"] = seed.into());
        };
        add("v2-s1", "second", 2);
        add("v2-s1", "twice", 2);
        add("v2-s1", "longer", 3);
        change(&out.join("longer/config.json"), |config| config["train"]["epochs"] = 9.into());
        add("v3-large-s1", "blind", 2);
        std::fs::remove_file(out.join("blind/eval.json")).unwrap();
        let folders = ["v2-s1", "second", "twice", "longer", "v3-large-s1", "blind"].map(|name| out.join(name));
        let runs = read(&folders).unwrap();
        assert_eq!(runs.trainings.len(), 6);
        let seeds: Vec<Vec<u64>> = runs.models.iter().map(|m| m.runs.iter().map(|run| run.seed).collect()).collect();
        assert_eq!(seeds, [vec![1, 2], vec![1]]);
        assert_eq!(runs.models[0].params, 2_236_682);
        for said in [
            "blind has not been evaluated (no eval.json): it appears only",
            "twice is not counted among the seeds of MobileNetV2: it has the seed of second.",
            "longer is not counted among the seeds of MobileNetV2: its train.epochs is 9, that of v2-s1 3.",
        ] {
            assert!(runs.notes.iter().any(|note| note.contains(said)), "no \"{said}\" in {:?}", runs.notes);
        }
        // One pair, by the seed that both have.
        assert_eq!(runs.pairs.len(), 1);
        assert_eq!(runs.pairs[0].comparison.as_ref().unwrap().mcnemar.len(), 1);
        crate::write::write_runs(&out.join("page"), &runs).unwrap();
        let page = std::fs::read_to_string(out.join("page/report.html")).unwrap();
        assert!(page.contains("curves-accuracy") || page.contains("Accuracy (%)"), "no curves");
        assert!(page.contains("Confusion matrix of MobileNetV2"), "no confusion matrix");
        let results: RunsResults = artefacts::read(&out.join("page/results.json")).unwrap();
        assert_eq!((results.trainings.len(), results.models.len(), results.pairs.len()), (6, 2, 1));
        assert_eq!(results.models[0].figures["test_top1"].n, 2);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn other_test_images_are_not_compared() {
        let out = copy_of_fixture("images");
        change(&out.join("v3-large-s1/eval.json"), |eval| {
            eval["labels"].as_array_mut().unwrap().reverse();
        });
        let runs = read(&["v2-s1", "v3-large-s1"].map(|name| out.join(name))).unwrap();
        assert!(runs.pairs.is_empty());
        assert!(runs.notes.iter().any(|note| note.contains("different test images")), "{:?}", runs.notes);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_is_no_run_is_one_clear_error() {
        let out = copy_of_fixture("no-run");
        let error = |folders: &[PathBuf]| format!("{:#}", read(folders).unwrap_err());
        assert!(error(&[out.join("nowhere")]).ends_with("nowhere is not a folder"));
        assert!(
            error(std::slice::from_ref(&out)).contains("expected a folder that mobilenet train wrote (no config.json)")
        );
        assert!(error(&[out.join("v2-s1"), out.join("v2-s1")]).contains("two of the runs are called v2-s1"));
        change(&out.join("v2-s1/config.json"), |config| config["model"]["arch"] = "v9".into());
        assert!(error(&[out.join("v2-s1")]).contains("found \"v9\""), "{}", error(&[out.join("v2-s1")]));
        std::fs::remove_file(out.join("v2-s1/train.json")).unwrap();
        assert!(error(&[out.join("v2-s1")]).contains("its training has not ended (no train.json)"));
        std::fs::remove_dir_all(&out).unwrap();
    }
}
