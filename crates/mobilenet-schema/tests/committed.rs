//! Every file that was ever committed is read by its type, and comes back from being written again.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use mobilenet_schema::{
    Artefact, Bench, ComparisonPlan, DataInfo, EpochMetrics, Eval, Results, RooflineRecord, RunConfig, RunsResults,
    Summary, TrainRecord, read, read_lines, to_pretty_json_with_short_arrays,
};
use serde::Serialize;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below a folder; none where the folder is not there, as in a package without the rest of the workspace.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Reads a file, and what is written of it again; the keys and their order are the file's where `exact`.
fn round_trip<T: Artefact + Serialize + PartialEq + Debug>(path: &Path, exact: bool) {
    let value: T = read(path).unwrap_or_else(|error| panic!("{error}"));
    let again = serde_json::to_string(&value).unwrap();
    let back: T = serde_json::from_str(&again).unwrap();
    assert_eq!(back, value, "{}", path.display());
    if exact {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(same_tokens(&text, &again), "{} is not written as it was: {again}", path.display());
    }
}

/// Whether two JSON texts differ in blanks outside of strings alone.
fn same_tokens(a: &str, b: &str) -> bool {
    let tokens = |text: &str| {
        let (mut in_string, mut escaped) = (false, false);
        text.chars()
            .filter(|&c| {
                let keep = in_string || !c.is_whitespace();
                (in_string, escaped) = match c {
                    '"' if !escaped => (!in_string, false),
                    '\\' if in_string => (true, !escaped),
                    _ => (in_string, false),
                };
                keep
            })
            .collect::<String>()
    };
    tokens(a) == tokens(b)
}

#[test]
fn every_committed_artefact_is_read_and_written_again() {
    let mut count = 0;
    for (folder, exact) in [("docs/runs", true), ("crates/mobilenet-report/fixtures/comparison", false)] {
        for path in files(&root().join(folder)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            match name {
                "data.json" => round_trip::<DataInfo>(&path, exact),
                "roofline.json" => round_trip::<RooflineRecord>(&path, exact),
                "plan.json" => round_trip::<ComparisonPlan>(&path, false),
                "results.json" if path.with_file_name("plan.json").exists() => round_trip::<Results>(&path, false),
                // Of single runs, without a comparison.
                "results.json" => round_trip::<RunsResults>(&path, false),
                "config.json" => {
                    round_trip::<RunConfig>(&path, exact);
                    // To the byte, as the binary writes it.
                    let config: RunConfig = read(&path).unwrap();
                    let text = serde_json::to_string_pretty(&config).unwrap() + "\n";
                    assert!(!exact || text == std::fs::read_to_string(&path).unwrap(), "{}", path.display());
                }
                "train.json" => round_trip::<TrainRecord>(&path, exact),
                "eval.json" => {
                    round_trip::<Eval>(&path, exact);
                    // To the byte, so that an evaluation that is made again shows no difference where there is none.
                    let eval: Eval = read(&path).unwrap();
                    let text = to_pretty_json_with_short_arrays(&eval).unwrap();
                    assert!(!exact || text == std::fs::read_to_string(&path).unwrap(), "{}", path.display());
                }
                "metrics.jsonl" => {
                    let epochs: Vec<EpochMetrics> = read_lines(&path).unwrap_or_else(|error| panic!("{error}"));
                    let text = std::fs::read_to_string(&path).unwrap();
                    let again: Vec<_> = epochs.iter().map(|epoch| serde_json::to_string(epoch).unwrap()).collect();
                    assert!(!exact || text.lines().eq(again.iter().map(String::as_str)), "{}", path.display());
                }
                _ if name.starts_with("summary-") => round_trip::<Summary>(&path, exact),
                _ if name.starts_with("bench-") || name.starts_with("blocks-") => round_trip::<Bench>(&path, exact),
                _ => continue,
            }
            count += 1;
        }
    }
    let is_workspace = root().join("docs/runs").is_dir();
    assert!(!is_workspace || count > 50, "only {count} files were found");
}
