//! Renders a folder of artefacts as `report.md`, `report.html` and `results.json`.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::against::Against;
use super::agreement::{Agreement, ClassCounts};
use super::audit::{self, Claim};
use super::document::{Block, Document, Section};
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
    if let Some(against) = against {
        results["against"] = json!(against);
    }
    let results = serde_json::to_vec_pretty(&results)?;
    artefacts::write(&out.join("results.json"), &results)
}

/// Writes a report of single runs into `out`, which need not hold them: `report.html`, `report.md`, `results.json` and, for
/// the Markdown, `plots/*.svg`. Files of those names are replaced.
pub fn write_runs(out: &Path, runs: &Runs) -> Result<()> {
    let created = text::now();
    let document = content::runs::document(runs, &created);
    let plots = out.join("plots");
    std::fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    write_document(out, &document)?;
    let results = json!({
        "title": document.title.plain(),
        "created": created,
        "warning": document.warning,
        "verdict": document.verdict,
        "notes": runs.notes,
        "origins": runs.trainings.iter().map(|training| &training.origin).collect::<Vec<_>>(),
        "trainings": runs.trainings.iter().map(training).collect::<Vec<_>>(),
        "models": runs.models.iter().map(trained).collect::<Vec<_>>(),
        "pairs": runs.pairs.iter().filter_map(pair).collect::<Vec<_>>(),
    });
    artefacts::write(&out.join("results.json"), &serde_json::to_vec_pretty(&results)?)
}

/// One run of [`write_runs`], evaluated or not.
fn training(training: &Training) -> Value {
    let record = &training.record;
    json!({
        "run": training.name,
        "model": training.network,
        "seed": training.seed,
        "epochs": record.epochs,
        "test_top1": training.eval.as_ref().map(|eval| eval.test_top1),
        "test_top5": training.eval.as_ref().map(|eval| eval.test_top5),
        "test_loss": training.eval.as_ref().map(|eval| eval.test_loss),
        "train_top1": training.eval.as_ref().map(|eval| eval.train_top1),
        "seconds": record.seconds,
        "images_per_second": record.images_per_second,
        "peak_rss_bytes": record.peak_rss_bytes,
        "weights": record.weights,
    })
}

/// A network of [`write_runs`] over its evaluated seeds.
fn trained(model: &Model) -> Value {
    let figures: serde_json::Map<_, _> =
        content::figures(model).into_iter().map(|(key, estimate)| (key.to_owned(), json!(estimate))).collect();
    json!({
        "model": model.network,
        "label": model.network.label(),
        "seeds": model.runs.iter().map(|run| run.seed).collect::<Vec<_>>(),
        "test_top1": model.test_top1(),
        "figures": figures,
    })
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
fn results(gathered: &Gathered, claims: &[Claim], document: &Document, created: &str) -> Value {
    let settings = &gathered.settings;
    let sizes = gathered.sizes();
    let pairs: Vec<_> = gathered.comparisons.iter().filter_map(pair).collect();
    json!({
        "title": document.title.plain(),
        "created": created,
        "profile": settings.profile,
        "settings": settings,
        "share_of_article": gathered.share_of_article(),
        "warning": document.warning,
        "verdict": document.verdict,
        "caveats": document.caveats,
        "notes": gathered.notes,
        "data": {
            "name": gathered.data.name,
            "copy": gathered.data.copy,
            "fallback": gathered.data.fallback,
            "classes": gathered.data.classes,
            "train_images": gathered.data.train_images,
            "test_images": gathered.data.test_images,
            "train_images_used": sizes.train,
            "test_images_used": sizes.test,
        },
        "environment": gathered.environment,
        "commands": gathered.commands,
        "origins": gathered.origins,
        "models": gathered.models.iter().map(model).collect::<Vec<_>>(),
        "roofline": gathered.roofline,
        "difference": pairs.first(),
        "pairs": pairs,
        "disagreement": disagreement(gathered),
        "claims": claims,
    })
}

/// Two networks against each other; the first of these is the verdict's.
fn pair(pair: &Pair) -> Option<Value> {
    let found = pair.comparison.as_ref()?;
    Some(json!({
        "first": pair.first,
        "second": pair.second,
        "test_top1": found.difference,
        "seeds": found.seeds,
        "interval": found.interval(),
        "p_value": found.p_value(),
        "test": found.test(),
        "within_noise": found.is_noise(),
        "welch": found.welch,
        "mcnemar": found.mcnemar,
        "bootstrap": found.bootstrap,
    }))
}

/// By class on how many images only one of the verdict's networks is right in all its seeds.
fn disagreement(gathered: &Gathered) -> Option<Vec<ClassCounts>> {
    let (first, second) = gathered.pair()?;
    Some(Agreement::new(&first.evals_beside(second), Some(&second.evals_beside(first)))?.by_class())
}

fn model(model: &Model) -> Value {
    let runs: Vec<_> = model
        .runs
        .iter()
        .map(|run| {
            json!({
                "seed": run.seed,
                "run": run.name,
                "epochs": run.record.epochs,
                "test_top1": run.eval.test_top1,
                "test_top5": run.eval.test_top5,
                "test_loss": run.eval.test_loss,
                "train_top1": run.eval.train_top1,
                "seconds": run.record.seconds,
                "seconds_per_epoch": run.seconds_per_epoch(),
                "images_per_second": run.images_per_second(),
                "peak_rss_bytes": run.record.peak_rss_bytes,
                "weights": run.record.weights,
                "processor": run.processor,
            })
        })
        .collect();
    let figures: serde_json::Map<_, _> =
        content::figures(model).into_iter().map(|(key, estimate)| (key.to_owned(), json!(estimate))).collect();
    let bench = model.bench.as_ref();
    json!({
        "model": model.network,
        "label": model.network.label(),
        "arch": model.network.arch,
        "width_mult": model.network.width.factor(),
        "epochs": model.runs.iter().map(|run| run.record.epochs).min(),
        "params": model.params,
        "macs": model.macs,
        "test_top1": model.test_top1(),
        "figures": figures,
        "test_top1_deviation": (model.runs.len() > 1).then(|| model.deviation(|run| run.eval.test_top1)),
        "test_top1_interval": stats::wilson(model.test_top1(), model.runs[0].eval.test_images),
        "runs": runs,
        "latency_ms": bench.map(|b| &b.latency_ms),
        "latency_rounds_ms": model.rounds,
        "threads": bench.and_then(|b| b.threads),
        "processor": bench.map(|b| &b.environment.processor),
        "images_per_second": bench.map(|b| b.images_per_second),
        "throughput": bench.map(|b| &b.throughput),
        "peak_rss_bytes": bench.and_then(|b| b.peak_rss_bytes),
        "blocks": model.blocks,
        "training_images_per_second": model.training_speed(),
    })
}

#[cfg(test)]
mod tests {
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
