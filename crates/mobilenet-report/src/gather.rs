//! From a folder of artefacts to what the report is made of.

mod advice;
mod artefacts;
#[cfg(test)]
mod committed;
#[cfg(test)]
pub mod fixture;
mod found;
mod gathered;
mod model;
mod pairs;
pub mod quiet;
mod shipped;

use std::path::Path;

use mobilenet_schema::{
    Bench, Blocks, ComparisonPlan, DataInfo, Environment, Origin, RooflineRecord, ShippedBench, ShippedEval, Summary,
};

use crate::error::{Error, Result};
use crate::origins;
use crate::plan::{self, BENCH_ROUNDS, BLOCK_BATCHES, Inspect, Stage, run_name, summarized};

use artefacts::{middle, optional};

pub use advice::{Tried, Twin, advice_mismatch};
pub use found::config_mismatch;
pub use gathered::Gathered;
pub use model::{Counts, Model, Run};
pub use pairs::Pair;
pub use shipped::ShippedForm;

/// What is gathered.
#[derive(Copy, Clone, Debug, Default)]
pub struct Scope {
    /// The data set's own pictures, if they are there
    pub pictures: bool,
    /// Every finished run in the folder, not only those of the last plan
    pub every_run: bool,
}

/// Reads the artefacts under `out`. Runs that are not complete are left out and named in the notes; a folder
/// without one complete run is an error.
///
/// # Errors
/// A folder without a plan, without a complete run, or without one of the files that describe the data and the
/// networks.
pub fn gather(out: &Path, scope: Scope) -> Result<Gathered> {
    let Some(mut settings) = plan::read_plan(out)? else {
        return Err(Error::NoComparison { path: out.to_owned(), reason: " (no plan.json)".to_owned() });
    };
    let data: DataInfo = mobilenet_schema::read(&Stage::Data.artefact(out))?;
    let mut notes = Vec::new();
    let planned = settings.clone();
    if scope.every_run {
        notes.extend(found::extend(&mut settings, out)?);
    }

    let summaries = read_counts(out, &settings, &mut notes)?;
    let mut models = Vec::new();
    let mut origins = Vec::new();
    for &network in &settings.models {
        let mut runs = Vec::new();
        for &seed in &settings.seeds {
            match found::read_run(out, &settings, network, seed) {
                Ok((run, origin)) => {
                    origins.push(origin);
                    runs.push(run);
                }
                // Nobody asked for each network with each seed that any other has.
                Err(_) if !planned.has(network, seed) && !out.join(run_name(network, seed)).exists() => {}
                Err(error) => notes.push(format!("{} is left out: {error}.", run_name(network, seed))),
            }
        }
        let counts = summaries.iter().find(|counts| counts.network == network);
        if let Some(counts) = counts.filter(|_| !runs.is_empty()) {
            models.push(read_model(out, counts, runs, &mut notes));
        }
    }
    if models.is_empty() {
        return Err(Error::NoFinishedRun { path: out.to_owned(), notes });
    }
    let environment = origins.last().map_or(Environment::default(), |origin| origin.environment.clone());
    for model in &models {
        let short = model.network().short();
        let bench = model.bench.iter().map(|bench| (format!("latency of {short}"), &bench.environment));
        let shipped = model.shipped.iter().filter_map(|shipped| {
            let bench = shipped.bench.as_ref()?;
            Some((format!("{short} {}, shipped", shipped.form), &bench.environment))
        });
        origins.extend(bench.chain(shipped).map(|(what, environment)| Origin {
            what,
            environment: environment.clone(),
            copy: None,
        }));
    }
    // What nobody planned is there for a report of all runs alone.
    let planned = settings.advice.is_some();
    let tried = if planned || scope.every_run { advice::read(out, &settings, &mut notes) } else { None };
    if let Some(tried) = &tried {
        origins.extend(advice::origins(tried));
        notes.extend((!planned).then(|| advice::unplanned(tried)));
    }
    notes.extend(models.iter().flat_map(quiet::notes));
    notes.extend(origins::differences(&origins));

    let samples = if scope.pictures { optional::<DataInfo>(&Stage::Samples, out, &mut notes) } else { None };
    let pictures = samples.map_or(Vec::new(), |samples| samples.images);
    let roofline = optional::<RooflineRecord>(&Stage::Roofline, out, &mut notes).map(|record| record.roofline);
    let inspected = optional::<ShippedEval>(&Stage::Inspect(Inspect::Eval), out, &mut notes)
        .map(|eval| (eval, optional::<ShippedBench>(&Stage::Inspect(Inspect::Bench), out, &mut notes)));
    let comparisons = pairs::compare(&models);
    Ok(Gathered {
        settings,
        data,
        models,
        summaries,
        roofline,
        pictures,
        environment,
        origins,
        inspected,
        tried,
        comparisons,
        commands: Vec::new(),
        notes,
    })
}

/// The counts of all networks that have a summary; those that were compared must.
fn read_counts(out: &Path, settings: &ComparisonPlan, notes: &mut Vec<String>) -> Result<Vec<Counts>> {
    let mut all = Vec::new();
    for network in summarized(settings) {
        let stage = |imagenet| Stage::Summary { network, imagenet };
        let cifar: Option<Summary> = if settings.models.contains(&network) {
            Some(mobilenet_schema::read(&stage(false).artefact(out))?)
        } else {
            optional(&stage(false), out, notes)
        };
        if let Some(cifar) = cifar {
            all.push(Counts { network, cifar, imagenet: optional(&stage(true), out, notes) });
        }
    }
    Ok(all)
}

/// A network with its finished runs and whatever timings of it are there.
fn read_model(out: &Path, counts: &Counts, runs: Vec<Run>, notes: &mut Vec<String>) -> Model {
    let network = counts.network;
    let mut bench = |stage: Stage| optional::<Bench>(&stage, out, notes);
    let rounds = (1..=BENCH_ROUNDS).filter_map(|round| bench(Stage::Bench { network, round })).collect();
    let (timed, rounds) = middle(rounds, |bench| bench.latency_ms.p50);
    let training_bench = bench(Stage::BenchTraining(network));
    let blocks = BLOCK_BATCHES.iter().filter_map(|&batch| Blocks::of(bench(Stage::Blocks { network, batch })?));
    let blocks = blocks.collect();
    Model {
        subject: network.into(),
        params: counts.cifar.params,
        macs: counts.cifar.macs,
        bench: timed,
        rounds,
        training_bench,
        blocks,
        shipped: shipped::read(out, network, runs.first().map_or(0, |run| run.seed), notes),
        runs,
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;

    use super::fixture::{copy_of_fixture, fixture, fixture_of};
    use super::*;

    #[test]
    fn many_networks_are_shown_by_their_pair() {
        let gathered = fixture_of("widths");
        assert_eq!(gathered.models.len(), 15);
        let few: Vec<_> = gathered.few().iter().map(|model| model.network().key()).collect();
        assert_eq!(few, ["v2", "v3-large"]);
        assert_eq!(fixture_of("ladder").few().len(), 5);
    }

    #[test]
    fn the_fixture_is_read_whole() {
        let gathered = fixture();
        assert!(gathered.notes.is_empty(), "{:?}", gathered.notes);
        let (v2, v3) = gathered.pair().unwrap();
        assert_eq!((v2.network(), v3.network()), (Arch::V2.into(), Arch::V3Large.into()));
        assert_eq!((v2.params, v3.params), (2_236_682, 4_214_842));
        assert_eq!(v2.runs[0].epochs.len(), 3);
        assert_eq!(v2.runs[0].eval.labels.len(), 12);
        assert_eq!(v2.latency(), Some(2.11));
        assert_eq!(gathered.summaries.len(), 3);
        assert_eq!(gathered.environment.cores, 2);
        let only_one = &gathered.difference().unwrap().mcnemar[0];
        assert_eq!((only_one.only_first, only_one.only_second), (2, 6));
    }

    #[test]
    fn of_the_rounds_of_timing_the_middle_one_counts() {
        let out = copy_of_fixture("rounds");
        let first = Stage::Bench { network: Arch::V2.into(), round: 1 }.artefact(&out);
        let bench = std::fs::read_to_string(&first).unwrap();
        for (round, p50) in [(2, "\"p50\": 9.5"), (3, "\"p50\": 1.5")] {
            let bench = bench.replacen("\"p50\": 2.11", p50, 1);
            std::fs::write(Stage::Bench { network: Arch::V2.into(), round }.artefact(&out), bench).unwrap();
        }
        let v2 = &gather(&out, Scope::default()).unwrap().models[0];
        assert_eq!((v2.latency(), v2.rounds.as_slice()), (Some(2.11), &[2.11, 9.5, 1.5][..]));
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn damaged_artefacts_are_left_out_and_named() {
        let out = copy_of_fixture("damaged");
        let change = |name: &str, from: &str, to: &str| {
            let path = out.join(name);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{name}: {text}");
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
        };
        std::fs::write(out.join("bench-v2.json"), "garbage").unwrap();
        std::fs::write(out.join("roofline.json"), "{}").unwrap();
        std::fs::write(out.join("samples.json"), "[]").unwrap();
        std::fs::write(out.join("summary-v3-small.json"), "null").unwrap();
        change("blocks-v2-batch128.json", "\"p50_ms\":", "\"p50_ms\":-");
        change("bench-v2-train.json", "\"images_per_second\": ", "\"images_per_second\": -");
        change("v3-large-s1/eval.json", "\"test_top1\": 0", "\"test_top1\": 7");
        let gathered = gather(&out, Scope { pictures: true, ..Scope::default() }).unwrap();
        let note = |of: &str| gathered.notes.iter().find(|note| note.starts_with(&format!("{of} is left out: ")));
        for (file, words) in [
            ("bench-v2.json", "bench-v2.json is not a benchmark of a network: "),
            ("bench-v2-train.json", "images_per_second: expected a number above 0, found -"),
            ("blocks-v2-batch128.json", "blocks[0].p50_ms: expected a number not below 0, found -"),
            ("roofline.json", "missing field"),
            ("samples.json", "samples.json is not a description of a data set: "),
            ("summary-v3-small.json", "summary-v3-small.json is not a summary of a network: "),
            ("v3-large-s1", "eval.json: test_top1: expected a share from 0 to 1, found 7."),
        ] {
            let said = note(file).unwrap_or_else(|| panic!("{file} is not named: {:?}", gathered.notes));
            assert!(said.contains(words), "{said}");
        }
        // What is whole is used.
        let [v2] = gathered.models.as_slice() else { panic!("{} networks", gathered.models.len()) };
        assert!(v2.bench.is_none() && v2.training_bench.is_none() && gathered.roofline.is_none());
        assert_eq!(v2.blocks.iter().map(|times| times.batch).collect::<Vec<_>>(), [1]);
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_folder_without_a_comparison_says_so() {
        let error =
            gather(&std::env::temp_dir().join("mobilenet-report-no-such-folder"), Scope::default()).unwrap_err();
        assert!(error.to_string().contains("no plan.json"), "{error}");
    }
}
