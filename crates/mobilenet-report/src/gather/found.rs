//! The finished runs in a folder. Of a run's files only the small ones are read: weights and checkpoints may be gone.

use std::path::Path;

use mobilenet_arch::Network;
use mobilenet_schema::{ComparisonPlan, Eval, Origin, RunConfig};

use super::model::Run;
use crate::error::{Error, Result};
use crate::origins::Trait;
use crate::plan::run_name;
use crate::text::list;

/// Reads one run, or says why it is left out: a file is missing or damaged, or it was trained with other settings than
/// the comparison's.
pub fn read_run(
    out: &Path,
    settings: &ComparisonPlan,
    network: Network,
    seed: u64,
) -> std::result::Result<(Run, Origin), String> {
    let name = run_name(network, seed);
    let folder = out.join(&name);
    for (file, missing) in [("train.json", "its training has not ended"), ("eval.json", "it has not been evaluated")] {
        if !folder.join(file).exists() {
            return Err(format!("{missing} (no {file})"));
        }
    }
    let reason = |error: mobilenet_schema::Error| error.to_string();
    let record = mobilenet_schema::read(&folder.join("train.json")).map_err(reason)?;
    let mut eval: Eval = mobilenet_schema::read(&folder.join("eval.json")).map_err(reason)?;
    // Folders name classes like `traffic_light`; people do not.
    eval.classes.iter_mut().for_each(|class| *class = class.replace('_', " "));
    let epochs = mobilenet_schema::read_lines(&folder.join("metrics.jsonl")).map_err(reason)?;
    let config: RunConfig = mobilenet_schema::read(&folder.join("config.json")).map_err(reason)?;
    if let Some((name, found, wanted)) = config_mismatch(&config, settings, seed) {
        return Err(format!("it was trained with {name} = {found}, not {wanted}"));
    }
    let RunConfig { train, data, environment, .. } = config;
    let origin = Origin { what: name.clone(), environment, copy: Some(data.copy) };
    let processor = Trait::Processor.of(&origin);
    Ok((Run { seed, name, epochs, record, eval, settings: train, processor }, origin))
}

/// Adds the networks and seeds of finished runs that the last plan does not name: they were made by an earlier call, or
/// were copied into the folder. Says which.
pub fn extend(settings: &mut ComparisonPlan, out: &Path) -> Result<Option<String>> {
    let mut more = Vec::new();
    let unreadable = |error| Error::Read { path: out.to_owned(), error };
    for entry in std::fs::read_dir(out).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let parts = name.to_str().and_then(|name| name.rsplit_once("-s"));
        let Some((Ok(network), Ok(seed))) = parts.map(|(network, seed)| (network.parse(), seed.parse())) else {
            continue;
        };
        let folder = out.join(&name);
        if !settings.has(network, seed) && folder.join("train.json").exists() && folder.join("eval.json").exists() {
            more.push((network, seed));
        }
    }
    more.sort_by_key(|&(network, seed)| (network.arch, network.width, seed));
    for &(network, seed) in &more {
        if !settings.models.contains(&network) {
            settings.models.push(network);
        }
        if !settings.seeds.contains(&seed) {
            settings.seeds.push(seed);
        }
    }
    if !more.is_empty() {
        settings.seeds.sort_unstable();
    }
    let names: Vec<_> = more.iter().map(|&(network, seed)| run_name(network, seed)).collect();
    Ok((!names.is_empty())
        .then(|| format!("In addition to the runs of the last command, this report includes {}.", list(&names))))
}

/// The first setting of a run's `config.json` that contradicts the plan, as (name, found, wanted).
pub fn config_mismatch(
    config: &RunConfig,
    settings: &ComparisonPlan,
    seed: u64,
) -> Option<(&'static str, String, String)> {
    let (RunConfig { train, data, .. }, recipe) = (config, &settings.recipe);
    let number = |n: u64| n.to_string();
    let count = |n: usize| n.to_string();
    let none = || "none".to_owned();
    let all = [
        ("recipe", config.recipe.to_string(), recipe.name.to_string()),
        ("epochs", count(train.config.epochs), number(recipe.epochs)),
        ("batch size", count(train.config.batch_size), number(recipe.batch_size)),
        ("seed", number(train.config.seed), number(seed)),
        ("precision", train.precision.to_string(), settings.precision.to_string()),
        ("limit-train", data.limit_train.map_or_else(none, count), recipe.limit_train.map_or_else(none, number)),
        ("limit-test", data.limit_test.map_or_else(none, count), recipe.limit_test.map_or_else(none, number)),
    ];
    all.into_iter().find(|(_, found, wanted)| found != wanted)
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::Precision;
    use serde_json::Value;

    use super::*;
    use crate::gather::fixture::{copy, copy_of_fixture};
    use crate::gather::{Scope, gather};
    use crate::plan::tests::settings;

    /// Copies a run to another seed; `change` rewrites its `config.json`.
    fn add_run(out: &Path, (from, to): (&str, &str), seed: u64, change: impl FnOnce(&mut Value)) {
        copy(&out.join(from), &out.join(to));
        let path = out.join(to).join("config.json");
        let mut config: Value = mobilenet_schema::read(&path).unwrap();
        config["train"]["seed"] = seed.into();
        change(&mut config);
        std::fs::write(path, config.to_string()).unwrap();
    }

    #[test]
    fn runs_of_other_days_are_taken_in_and_told_apart() {
        let out = copy_of_fixture("merged");
        add_run(&out, ("v2-s1", "v2-s2"), 2, |config| config["environment"]["commit"] = "fedcba9".into());
        add_run(&out, ("v2-s1", "v2-s3"), 3, |config| config["train"]["epochs"] = 9.into());
        add_run(&out, ("v2-s1", "v2-s4"), 4, |_| ());
        std::fs::remove_file(out.join("v2-s4/eval.json")).unwrap();
        let planned = gather(&out, Scope::default()).unwrap();
        assert_eq!((planned.models[0].runs.len(), planned.notes.len()), (1, 0), "{:?}", planned.notes);
        let all = gather(&out, Scope { every_run: true, ..Scope::default() }).unwrap();
        assert_eq!(all.models[0].runs.iter().map(|run| run.seed).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(all.models[1].runs.len(), 1);
        let [taken, left, commits] = all.notes.as_slice() else { panic!("{:?}", all.notes) };
        assert!(taken.contains("v2-s2 and v2-s3"), "{taken}");
        assert!(left.contains("v2-s3 is left out: it was trained with epochs = 9, not 3"), "{left}");
        assert!(commits.contains("fedcba9 (v2-s2)"), "{commits}");
        // One network has two seeds, the other one: image by image, by the seed that both have.
        let (v2, v3) = all.pair().unwrap();
        assert_eq!((v2.evals().len(), v2.evals_beside(v3).len(), v3.evals_beside(v2).len()), (2, 1, 1));
        let found = all.difference().unwrap();
        assert_eq!((found.welch.as_ref(), found.mcnemar.len(), found.seeds), (None, 1, (2, 1)));
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_was_planned_and_is_not_there_is_named() {
        let out = copy_of_fixture("unfinished");
        std::fs::remove_dir_all(out.join("v3-large-s1")).unwrap();
        let gathered = gather(&out, Scope::default()).unwrap();
        assert_eq!(gathered.notes, ["v3-large-s1 is left out: its training has not ended (no train.json)."]);
        assert!(gathered.difference().is_none() && gathered.pair().is_none());
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_run_with_other_settings_is_noticed() {
        let settings = settings();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison/v2-s1/config.json");
        let mut config: RunConfig = mobilenet_schema::read(&path).unwrap();
        config.data.limit_train = settings.recipe.limit_train.map(|n| n as usize);
        assert_eq!(config_mismatch(&config, &settings, 1), None);
        let mismatch = |config: &RunConfig, seed| {
            let (name, found, wanted) = config_mismatch(config, &settings, seed).unwrap();
            format!("{name}: {found}, {wanted}")
        };
        assert_eq!(mismatch(&config, 2), "seed: 1, 2");
        config.data.limit_train = None;
        assert_eq!(mismatch(&config, 1), "limit-train: none, 2000");
        config.train.precision = Precision::Bf16;
        assert_eq!(mismatch(&config, 1), "precision: bf16, f32");
        config.train.config.epochs = 9;
        assert_eq!(mismatch(&config, 1), "epochs: 9, 3");
    }
}
