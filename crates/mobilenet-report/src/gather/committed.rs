//! The comparisons and runs that are kept in `docs/runs`: they must be whole, and say what the README says of them.

use std::path::{Path, PathBuf};

use mobilenet_schema::RunsResults;
use serde_json::Value;

use super::{Model, Run, Scope, gather};
use crate::runs::read_runs;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folders in a folder, by their names.
fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The comparisons, or what else there is: folders of single runs with a report of them.
fn committed(comparisons: bool) -> Vec<PathBuf> {
    let all = folders(&root().join("docs/runs"));
    all.into_iter().filter(|folder| folder.join("plan.json").exists() == comparisons).collect()
}

/// The accuracy is what the predictions come to.
fn check(run: &Run) {
    let answers = run.eval.labels.iter().zip(&run.eval.predicted);
    let right = answers.filter(|(label, predicted)| label == predicted).count();
    let top1 = right as f64 / run.eval.labels.len() as f64;
    assert!((top1 - run.eval.test_top1).abs() < 1e-9, "{}: {top1}", run.name);
}

#[test]
fn figures_follow_from_the_predictions() {
    assert!(!committed(true).is_empty());
    for folder in committed(true) {
        let name = folder.display();
        let gathered = gather(&folder, Scope { every_run: true, ..Scope::default() }).unwrap();
        let results: Value = mobilenet_schema::read(&folder.join("results.json")).unwrap();
        assert_eq!(results["models"].as_array().unwrap().len(), gathered.models.len(), "{name}");
        for (model, reported) in gathered.models.iter().zip(results["models"].as_array().unwrap()) {
            assert_eq!(reported["model"], model.network().key(), "{name}");
            assert_eq!(reported["runs"].as_array().unwrap().len(), model.runs.len(), "{name}");
            for (run, reported) in model.runs.iter().zip(reported["runs"].as_array().unwrap()) {
                check(run);
                assert_eq!(reported["test_top1"], run.eval.test_top1, "{name}, {}", run.name);
            }
        }
    }
}

#[test]
fn reports_of_runs_follow_from_them() {
    assert!(!committed(false).is_empty());
    for folder in committed(false) {
        let name = folder.display();
        let trainings = folders(&folder).into_iter().filter(|path| path.join("config.json").exists());
        let runs = read_runs(&trainings.collect::<Vec<_>>()).unwrap();
        let results: RunsResults = mobilenet_schema::read(&folder.join("results.json")).unwrap();
        assert_eq!(results.trainings.len(), runs.trainings.len(), "{name}");
        runs.models.iter().flat_map(|model| &model.runs).for_each(check);
        for model in &runs.models {
            let label = model.subject.label();
            let reported = results.models.iter().find(|reported| reported.label == label).unwrap();
            assert!((reported.test_top1 - model.test_top1()).abs() < 1e-12, "{name}, {label}");
            assert_eq!(reported.seeds.len(), model.runs.len(), "{name}, {label}");
        }
    }
}

#[test]
fn no_weights_and_no_pictures_are_kept() {
    let mut open = folders(&root().join("docs/runs"));
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            // What a report that was written again leaves; git does not keep it.
            if path.file_name().is_some_and(|name| name == ".lock") {
                continue;
            }
            let ending = path.extension().and_then(|ending| ending.to_str());
            assert!(matches!(ending, Some("json" | "jsonl" | "md" | "html" | "svg")), "{}", path.display());
            assert!(!std::fs::read_to_string(&path).unwrap().contains("image/png"), "{}", path.display());
        }
    }
}

/// The README's headline and its table are of the comparison whose report it links to.
#[test]
fn the_readme_quotes_a_committed_comparison() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let linked = |path: &PathBuf| readme.contains(&format!("{}/report.md", path.file_name().unwrap().display()));
    let quoted: Vec<_> = committed(true).into_iter().filter(linked).collect();
    assert_eq!(quoted.len(), 1, "{quoted:?}");
    let gathered = gather(&quoted[0], Scope { every_run: true, ..Scope::default() }).unwrap();
    for model in &gathered.models {
        let headline = format!("{} {}", model.network().short(), accuracy(model));
        assert!(readme.contains(&headline), "the README does not say \"{headline}\"");
    }
    let row = |name: &str, cell: &dyn Fn(&Model) -> String| {
        let cells: Vec<_> = gathered.models.iter().map(cell).collect();
        format!("| {name} | {} |", cells.join(" | "))
    };
    let millions = |n: u64, digits: usize| format!("{:.digits$} M", n as f64 / 1e6);
    for row in [
        row("Test accuracy", &accuracy),
        row("Minutes of training", &|model| format!("{:.0}", model.mean(|run| run.record.seconds) / 60.0)),
        row("Seconds of an epoch", &|model| format!("{:.0}", model.mean(Run::seconds_per_epoch))),
        row("Latency of one image, float32", &|model| format!("{:.2} ms", model.latency().unwrap())),
        row("Parameters", &|model| millions(model.params, 2)),
        row("Multiply-adds at 32×32", &|model| millions(model.macs, 1)),
    ] {
        assert!(readme.contains(&row), "the README has no row {row}");
    }
}

fn accuracy(model: &Model) -> String {
    format!("{:.1} %", 100.0 * model.test_top1())
}
