//! Renders a folder of artefacts as `report.md`, `report.html` and `results.json`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use mobilenet_schema::{
    ClassCounts, DataInfo, Estimate, NetworkResult, PairResult, Results, ResultsData, RunResult, RunsResults,
    SeedsResult, TrainingResult,
};
use serde::Serialize;

use super::against::Against;
use super::agreement::Agreement;
use super::audit::{self, Claim};
use super::document::{Block, Document, Inline, Section};
use super::gather::{Gathered, Model, Pair};
use super::runs::{Runs, Training};
use super::{artefacts, content, html, markdown, samples, stats, text};

/// Writes the report into `out`, with what `against` says of an earlier comparison.
pub fn write(out: &Path, gathered: &Gathered, against: Option<&Against>) -> Result<()> {
    let claims = audit::audit(gathered);
    let created = text::now();
    let document = content::document(gathered, &claims, against, &created);
    fresh_folder(&out.join("plots"), "svg", true)?;
    fresh_folder(&out.join("samples"), "png", !gathered.pictures.is_empty())?;
    write_document(out, &document)?;
    let mut results = results(gathered, &claims, &document, &created);
    results.against = against.cloned();
    write_results(out, &results)
}

/// Writes a report of single runs into `out`, which need not hold them: `report.html`, `report.md`, `results.json` and, for
/// the Markdown, `plots/*.svg`. Files of those names are replaced.
pub fn write_runs(out: &Path, runs: &Runs) -> Result<()> {
    let created = text::now();
    let document = content::runs::document(runs, &created);
    let plots = out.join("plots");
    std::fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    write_document(out, &document)?;
    let results = RunsResults {
        title: document.title.plain(),
        created,
        warning: document.warning.as_ref().map(Inline::source),
        verdict: document.verdict.iter().map(Inline::source).collect(),
        notes: runs.notes.clone(),
        origins: runs.trainings.iter().map(|training| training.origin.clone()).collect(),
        trainings: runs.trainings.iter().map(training).collect(),
        models: runs.models.iter().map(seeds).collect(),
        pairs: runs.pairs.iter().filter_map(pair).collect(),
    };
    write_results(out, &results)
}

/// As a value first: its keys are sorted.
fn write_results(out: &Path, results: &impl Serialize) -> Result<()> {
    let results = serde_json::to_vec_pretty(&serde_json::to_value(results)?)?;
    artefacts::write(&out.join("results.json"), &results)
}

/// One run of [`write_runs`], evaluated or not.
fn training(training: &Training) -> TrainingResult {
    let (record, eval) = (&training.record, training.eval.as_ref());
    TrainingResult {
        run: training.name.clone(),
        model: training.network,
        seed: training.seed,
        epochs: record.epochs,
        test_top1: eval.map(|eval| eval.test_top1),
        test_top5: eval.map(|eval| eval.test_top5),
        test_loss: eval.map(|eval| eval.test_loss),
        train_top1: eval.map(|eval| eval.train_top1),
        seconds: record.seconds,
        images_per_second: record.images_per_second,
        peak_rss_bytes: record.peak_rss_bytes,
        weights: record.weights.clone(),
    }
}

/// A network of [`write_runs`] over its evaluated seeds.
fn seeds(model: &Model) -> SeedsResult {
    SeedsResult {
        model: model.network,
        label: model.network.label(),
        seeds: model.runs.iter().map(|run| run.seed).collect(),
        test_top1: model.test_top1(),
        figures: figures(model),
    }
}

/// The estimates over the seeds by name.
fn figures(model: &Model) -> BTreeMap<String, Estimate> {
    content::figures(model).into_iter().map(|(key, estimate)| (key.to_owned(), estimate)).collect()
}

/// The pages, and the files that the Markdown refers to.
fn write_document(out: &Path, document: &Document) -> Result<()> {
    for section in &document.sections {
        write_files(out, section)?;
    }
    artefacts::write(&out.join("report.md"), markdown::render(document).as_bytes())?;
    artefacts::write(&out.join("report.html"), html::render(document).as_bytes())
}

/// Removes an earlier report's files from a folder (pictures are not to outlive `--no-samples`), but nothing else that
/// may lie there, and makes the folder if it is needed.
fn fresh_folder(folder: &Path, ending: &str, needed: bool) -> Result<()> {
    let clear = || {
        if needed {
            std::fs::create_dir_all(folder)?;
        } else if !folder.exists() {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|found| found == ending) {
                std::fs::remove_file(path)?;
            }
        }
        if !needed {
            // Fails, as it should, if anything else lies there.
            let _ = std::fs::remove_dir(folder);
        }
        Ok::<_, std::io::Error>(())
    };
    clear().with_context(|| format!("cannot write to {}", folder.display()))
}

/// Plots and pictures that the Markdown refers to.
fn write_files(out: &Path, section: &Section) -> Result<()> {
    let mut open: Vec<&Block> = section.blocks.iter().collect();
    while let Some(block) = open.pop() {
        match block {
            Block::Plots(plots) => {
                for plot in plots {
                    let path = out.join("plots").join(format!("{}.svg", plot.name));
                    artefacts::write(&path, plot.svg.standalone().as_bytes())?;
                }
            }
            Block::Gallery(rows) => {
                for shown in rows.iter().flat_map(|row| &row.pictures) {
                    let path = out.join("samples").join(format!("{}.png", shown.index));
                    let png = samples::decode_base64(&shown.png_base64)
                        .with_context(|| format!("picture {} is not base64", shown.index))?;
                    artefacts::write(&path, &png)?;
                }
            }
            Block::Details(_, inner) => open.extend(inner),
            Block::Text(_) | Block::Table(_) | Block::Code(_) => {}
        }
    }
    Ok(())
}

/// `results.json`: the figures, for programs.
fn results(gathered: &Gathered, claims: &[Claim], document: &Document, created: &str) -> Results {
    let settings = &gathered.settings;
    let sizes = gathered.sizes();
    let pairs: Vec<_> = gathered.comparisons.iter().filter_map(pair).collect();
    let DataInfo { name, copy, classes, train_images, test_images, fallback, .. } = gathered.data.clone();
    Results {
        title: document.title.plain(),
        created: created.to_owned(),
        profile: Some(settings.profile),
        settings: settings.clone(),
        share_of_article: gathered.share_of_article(),
        warning: document.warning.as_ref().map(Inline::source),
        verdict: document.verdict.iter().map(Inline::source).collect(),
        caveats: document.caveats.iter().map(Inline::source).collect(),
        notes: gathered.notes.clone(),
        data: ResultsData {
            name,
            copy,
            fallback,
            classes,
            train_images,
            test_images,
            train_images_used: sizes.train,
            test_images_used: sizes.test,
        },
        environment: gathered.environment.clone(),
        commands: gathered.commands.clone(),
        origins: gathered.origins.clone(),
        models: gathered.models.iter().map(model).collect(),
        roofline: gathered.roofline.clone(),
        difference: pairs.first().cloned(),
        pairs,
        disagreement: disagreement(gathered),
        claims: claims.iter().map(Claim::result).collect(),
        against: None,
    }
}

/// Two networks against each other; the first of these is the verdict's.
fn pair(pair: &Pair) -> Option<PairResult> {
    let found = pair.comparison.as_ref()?;
    Some(PairResult {
        first: pair.first,
        second: pair.second,
        test_top1: found.difference,
        seeds: found.seeds,
        interval: found.interval(),
        p_value: found.p_value(),
        test: found.test(),
        within_noise: found.is_noise(),
        welch: found.welch.clone(),
        mcnemar: found.mcnemar.clone(),
        bootstrap: found.bootstrap.clone(),
    })
}

/// By class on how many images only one of the verdict's networks is right in all its seeds.
fn disagreement(gathered: &Gathered) -> Option<Vec<ClassCounts>> {
    let (first, second) = gathered.pair()?;
    Some(Agreement::new(&first.evals_beside(second), Some(&second.evals_beside(first)))?.by_class())
}

fn model(model: &Model) -> NetworkResult {
    let runs = model.runs.iter().map(|run| RunResult {
        seed: run.seed,
        run: run.name.clone(),
        epochs: run.record.epochs,
        test_top1: run.eval.test_top1,
        test_top5: run.eval.test_top5,
        test_loss: run.eval.test_loss,
        train_top1: run.eval.train_top1,
        seconds: run.record.seconds,
        seconds_per_epoch: run.seconds_per_epoch(),
        images_per_second: run.images_per_second(),
        peak_rss_bytes: run.record.peak_rss_bytes,
        weights: run.record.weights.clone(),
        processor: run.processor.clone(),
    });
    let bench = model.bench.as_ref();
    NetworkResult {
        model: model.network,
        label: Some(model.network.label()),
        arch: Some(model.network.arch),
        width_mult: Some(model.network.width.factor()),
        epochs: model.runs.iter().map(|run| run.record.epochs).min(),
        params: model.params,
        macs: model.macs,
        test_top1: model.test_top1(),
        figures: figures(model),
        test_top1_deviation: (model.runs.len() > 1).then(|| model.deviation(|run| run.eval.test_top1)),
        test_top1_interval: Some(stats::wilson(model.test_top1(), model.runs[0].eval.test_images).into()),
        runs: runs.collect(),
        latency_ms: bench.map(|b| b.latency_ms),
        latency_rounds_ms: model.rounds.clone(),
        threads: bench.and_then(|b| b.threads),
        processor: bench.map(|b| b.environment.processor.clone()),
        images_per_second: bench.map(|b| b.images_per_second),
        throughput: bench.map(|b| b.throughput.clone()),
        peak_rss_bytes: bench.and_then(|b| b.peak_rss_bytes),
        blocks: model.blocks.clone(),
        training_images_per_second: model.training_speed(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::gather::fixture::copy_of_fixture;
    use crate::gather::{Scope, gather};

    #[test]
    fn names_of_classes_and_folders_stay_literal() {
        let out = copy_of_fixture("hostile");
        let name = "[link](javascript:alert(3)) `code` **bold** <script>alert(1)</script>\u{1b}[31m";
        let change = |file: &str, change: &dyn Fn(&mut Value)| {
            let path = out.join(file);
            let mut value: Value = artefacts::read(&path).unwrap();
            change(&mut value);
            std::fs::write(path, value.to_string()).unwrap();
        };
        for run in ["v2-s1", "v3-large-s1"] {
            change(&format!("{run}/eval.json"), &|eval| eval["classes"][0] = name.into());
        }
        change("data.json", &|data| {
            data["classes"][0] = name.into();
            data["name"] = name.into();
            data["copy"] = name.into();
        });
        change("plan.json", &|plan| plan["data_dir"] = "a\n```\n<script>alert(2)</script>".into());
        let mut gathered = gather(&out, Scope::default()).unwrap();
        let folder = gathered.settings.data_dir.as_ref().unwrap().display().to_string();
        gathered.commands = vec![format!("cargo xtask compare --data-dir '{folder}'")];
        write(&out, &gathered, None).unwrap();
        let markdown = std::fs::read_to_string(out.join("report.md")).unwrap();
        let html = std::fs::read_to_string(out.join("report.html")).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        // Both say the name, and neither has it as markup.
        assert!(markdown.contains(r"\[link\](javascript:alert(3)) \`code\` \*\*bold\*\* &lt;script>"), "{markdown}");
        assert!(html.contains("[link](javascript:alert(3)) `code` **bold** &lt;script&gt;"), "{html}");
        assert!(!markdown.contains("[link](javascript") && !markdown.contains("**bold**"), "{markdown}");
        assert!(!html.contains("<script") && !html.contains("<strong>bold"), "{html}");
        assert!(!markdown.contains('\u{1b}') && !html.contains('\u{1b}'));
        // The folder's name is inside a fence that is longer than its own.
        let (before, _) = markdown.split_once("<script>alert(2)").unwrap();
        assert_eq!(before.matches("\n````").count() % 2, 1, "{markdown}");
        assert_eq!(markdown.matches("<script").count(), 1, "{markdown}");
    }
}
