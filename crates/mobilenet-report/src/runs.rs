//! Single runs, folders of `mobilenet train`, without a comparison: which of them are seeds of one network, and what
//! compares.

mod seeds;
mod training;

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::gather::{Model, Pair};
use crate::origins;
use crate::text::list;

pub use training::{Training, read_training};

/// Some runs and what follows from them.
#[derive(Debug)]
pub struct Runs {
    /// Every run, in the order given
    pub(crate) trainings: Vec<Training>,
    /// By network and settings, the evaluated runs that are seeds of one another
    pub(crate) models: Vec<Model>,
    /// Every two of them that were evaluated on the same images
    pub(crate) pairs: Vec<Pair>,
    /// What is missing or does not compare, one sentence each
    pub notes: Vec<String>,
}

/// Reads runs. Of each `config.json`, `metrics.jsonl` and `train.json` are needed; that `eval.json` is missing is
/// noted.
///
/// # Errors
/// A folder that is no finished run, files that are damaged, two runs of the same name.
pub fn read_runs(folders: &[PathBuf]) -> Result<Runs> {
    let mut trainings: Vec<Training> = Vec::new();
    for folder in folders {
        let training = read_training(folder)?;
        if trainings.iter().any(|known| known.name == training.name) {
            return Err(Error::SameName { name: training.name });
        }
        trainings.push(training);
    }
    seeds::name_subjects(&mut trainings);
    let mut notes = Vec::new();
    let missing: Vec<_> = trainings.iter().filter(|t| t.eval.is_none()).map(|t| t.name.clone()).collect();
    if !missing.is_empty() {
        let (has, it) = if missing.len() == 1 { ("has", "it") } else { ("have", "they") };
        notes.push(format!(
            "{} {has} not been evaluated (no eval.json): {it} appear only in the curves and the settings; mobilenet \
             eval --run RUN evaluates.",
            list(&missing)
        ).replace("it appear ", "it appears "));
    }
    let models = seeds::models(&trainings, &mut notes)?;
    let pairs = seeds::pairs(&models, &mut notes);
    notes.extend(seeds::different_settings(&trainings, &models));
    notes.extend(origins::differences(&trainings.iter().map(|t| t.origin.clone()).collect::<Vec<_>>()));
    Ok(Runs { trainings, models, pairs, notes })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mobilenet_schema::RunsResults;
    use serde_json::Value;

    use super::*;
    use crate::gather::fixture::{copy, copy_of_fixture};

    /// Rewrites one JSON file.
    fn change(path: &Path, change: impl FnOnce(&mut Value)) {
        let mut value: Value = mobilenet_schema::read(path).unwrap();
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
        let runs = read_runs(&folders).unwrap();
        assert_eq!(runs.trainings.len(), 6);
        let seeds: Vec<Vec<u64>> = runs.models.iter().map(|m| m.runs.iter().map(|run| run.seed).collect()).collect();
        assert_eq!(seeds, [vec![1, 2], vec![3], vec![1]]);
        assert_eq!(runs.models[0].params, 2_236_682);
        let labels: Vec<String> = runs.models.iter().map(|model| model.subject.label()).collect();
        assert_eq!(labels, ["MobileNetV2 (v2-s1)", "MobileNetV2 (longer)", "MobileNetV3-Large"]);
        for said in [
            "blind has not been evaluated (no eval.json): it appears only",
            "twice is not counted among the seeds of MobileNetV2 (v2-s1): it has the seed of second.",
            "The networks were not trained alike (train.epochs differ)",
        ] {
            assert!(runs.notes.iter().any(|note| note.contains(said)), "no \"{said}\" in {:?}", runs.notes);
        }
        // Each two, by the seeds that both have.
        assert_eq!(runs.pairs.len(), 3);
        assert_eq!(runs.pairs[1].comparison.as_ref().unwrap().mcnemar.len(), 1);
        crate::write::write_runs(&out.join("page"), &runs).unwrap();
        let page = std::fs::read_to_string(out.join("page/report.html")).unwrap();
        assert!(page.contains("curves-accuracy") || page.contains("Accuracy (%)"), "no curves");
        assert!(page.contains("Confusion matrix of MobileNetV2"), "no confusion matrix");
        let results: RunsResults = mobilenet_schema::read(&out.join("page/results.json")).unwrap();
        assert_eq!((results.trainings.len(), results.models.len(), results.pairs.len()), (6, 3, 3));
        assert_eq!(results.models[0].figures["test_top1"].n, 2);
        assert_eq!(results.pairs[0].variants, Some(("v2-s1".into(), "longer".into())));
        assert_eq!(results.pairs[1].variants, None);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn one_network_with_two_settings_is_two() {
        let out = copy_of_fixture("settings");
        let names = ["scratch-s1", "scratch-s2", "tuned-s1", "tuned-s2"];
        for (name, seed) in names.into_iter().zip([1, 2, 1, 2]) {
            copy(&out.join("v3-large-s1"), &out.join(name));
            change(&out.join(name).join("config.json"), |config| {
                config["train"]["seed"] = seed.into();
                if name.starts_with("tuned") {
                    config["init"] = "cifar/model.safetensors".into();
                }
            });
        }
        let runs = read_runs(&names.map(|name| out.join(name))).unwrap();
        let labels: Vec<String> = runs.models.iter().map(|model| model.subject.label()).collect();
        assert_eq!(labels, ["MobileNetV3-Large (scratch)", "MobileNetV3-Large (tuned)"]);
        let said =
            "The trainings differ in their settings: init is none in scratch and cifar/model.safetensors in tuned.";
        assert!(runs.notes.iter().any(|note| note == said), "{:?}", runs.notes);
        crate::write::write_runs(&out.join("page"), &runs).unwrap();
        let page = std::fs::read_to_string(out.join("page/report.html")).unwrap();
        for part in [
            "V3-Large (tuned) minus V3-Large (scratch)",
            // Two colors, each with its name in the legend.
            ">V3-Large (tuned)</text>",
            "line stroke v2\"",
            "Confusion matrix of MobileNetV3-Large (tuned)",
        ] {
            assert!(page.contains(part), "{part}");
        }
        for plot in ["confusion-v3-large.svg", "confusion-v3-large-2.svg"] {
            assert!(out.join("page/plots").join(plot).is_file(), "{plot}");
        }
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn other_test_images_are_not_compared() {
        let out = copy_of_fixture("images");
        change(&out.join("v3-large-s1/eval.json"), |eval| {
            eval["labels"].as_array_mut().unwrap().reverse();
        });
        let runs = read_runs(&["v2-s1", "v3-large-s1"].map(|name| out.join(name))).unwrap();
        assert!(runs.pairs.is_empty());
        assert!(runs.notes.iter().any(|note| note.contains("different test images")), "{:?}", runs.notes);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_is_no_run_is_one_clear_error() {
        let out = copy_of_fixture("no-run");
        let error = |folders: &[PathBuf]| read_runs(folders).unwrap_err().to_string();
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
