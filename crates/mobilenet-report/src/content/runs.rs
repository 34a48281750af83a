//! What a report of single runs says.

use mobilenet_schema::EvalMetrics;

use super::{mistakes, provenance, significance, tables, training};
use crate::document::{Block, Column, Document, Inline, Section, Table, rich};
use crate::gather::Pair;
use crate::network;
use crate::plots::{self, Training as Curve};
use crate::runs::{Runs, Training};
use crate::text::{
    count, duration, list, megabytes, millions, percent, points, points_interval, significant, thousands,
};
use crate::verdict;

/// The whole report.
pub fn document(runs: &Runs, created: &str) -> Document {
    let mut networks = Vec::new();
    for training in &runs.trainings {
        if !networks.contains(&training.network()) {
            networks.push(training.network());
        }
    }
    let mut data: Vec<String> = Vec::new();
    for training in &runs.trainings {
        let name = match training.config.data.name.as_str() {
            "cifar10" => "CIFAR-10",
            "cifar100" => "CIFAR-100",
            "" => "data that is not named",
            other => other,
        };
        if !data.iter().any(|known| known == name) {
            data.push(name.to_owned());
        }
    }
    let mut sections = vec![every_run(runs), curves(runs)];
    sections.extend(significance(runs));
    sections.extend(mistakes_of(runs));
    sections.push(settings(runs));
    sections.push(how(runs));
    Document {
        title: network::title(&networks).into(),
        subtitle: format!("{} on {}; {created}", count(runs.trainings.len() as u64, "run"), list(&data)).into(),
        warning: warning(runs),
        verdict: sentences(runs),
        caveats: runs.notes.iter().map(|note| rich!("**Note.** {}", note)).collect(),
        sections,
    }
}

/// What must be read first where pictures stand in for others.
fn warning(runs: &Runs) -> Option<Inline> {
    let drawn = |training: &&Training| matches!(training.config.data.name.as_str(), "shapes10" | "flaws");
    let names: Vec<_> = runs.trainings.iter().filter(drawn).map(|training| training.name.clone()).collect();
    (!names.is_empty()).then(|| {
        format!("{}: the images are drawn by code; accuracies on them say nothing about photographs.", list(&names))
            .into()
    })
}

/// The accuracy of each network, and how any two compare.
fn sentences(runs: &Runs) -> Vec<Inline> {
    let mut said: Vec<Inline> = runs
        .models
        .iter()
        .map(|model| {
            let seeds = match model.runs.len() {
                1 => format!("seed {}", model.runs[0].seed),
                n => format!("mean of {n} seeds"),
            };
            rich!(
                "**{} classifies {} of its {} test images correctly** ({}).",
                model.subject.label(),
                percent(model.test_top1()),
                thousands(model.runs[0].eval.test_images),
                seeds
            )
        })
        .collect();
    if said.is_empty() {
        said.push("No run has been evaluated; the curves show what the test images said while it was trained.".into());
    }
    if let [pair] = runs.pairs.as_slice() {
        said.extend(difference(pair));
    }
    vec![Inline::join(said)]
}

fn difference(pair: &Pair) -> Option<Inline> {
    let found = pair.comparison.as_ref()?;
    let interval = found.interval().map_or(String::new(), |i| format!(", 95% interval {}", points_interval(i)));
    Some(
        format!(
            "{} minus {}: {}{interval}; {} ({}, p {}{}).",
            pair.second.short(),
            pair.first.short(),
            points(found.difference),
            if found.is_noise() { "not significant" } else { "significant" },
            found.test(),
            verdict::p_value(found.p_value()),
            verdict::doubt(found)
        )
        .into(),
    )
}

fn every_run(runs: &Runs) -> Section {
    let none = || "–".to_owned();
    let last = |training: &Training| {
        let epoch = training.epochs.last()?;
        epoch.eval.on_test_images().map(EvalMetrics::top1)
    };
    let columns: [Column<'_, &Training>; 9] = [
        ("Run", &|training| training.name.clone()),
        ("Network", &|training| training.network().label()),
        ("Seed", &|training| training.seed.to_string()),
        ("Epochs", &|training| training.record.epochs.to_string()),
        ("Test top-1", &|training| {
            training.eval.as_ref().map_or("not evaluated".to_owned(), |eval| percent(eval.test_top1))
        }),
        ("Last epoch's", &|training| last(training).map_or_else(none, percent)),
        ("Time", &|training| duration(training.record.seconds)),
        ("Images/s (mean)", &|training| significant(training.record.images_per_second)),
        ("Memory (MB)", &|training| training.record.peak_rss_bytes.map_or_else(none, megabytes)),
    ];
    let mut blocks = vec![Block::Table(Table::of(&runs.trainings, &columns))];
    let mut costs: Vec<String> = Vec::new();
    for model in &runs.models {
        let (network, params, macs) = (model.network().label(), millions(model.params), millions(model.macs));
        let cost = format!("{network} has {params} M parameters and {macs} M multiply-adds an image");
        if !costs.contains(&cost) {
            costs.push(cost);
        }
    }
    if !costs.is_empty() {
        blocks.push(Block::Text(format!("{}.", list(&costs)).into()));
        blocks.push(Block::Details("Each evaluation in detail".into(), vec![tables::runs_table(&runs.models)]));
    }
    Section { title: "Runs".into(), blocks }
}

fn curves(runs: &Runs) -> Section {
    let curves: Vec<_> = runs
        .trainings
        .iter()
        .map(|t| Curve { subject: &t.subject, seed: t.seed, name: &t.name, epochs: &t.epochs })
        .collect();
    let classes = runs.trainings.iter().map(|t| t.config.data.classes.len()).max();
    let plots = plots::curves(&curves, classes.unwrap_or(10));
    let block =
        if plots.is_empty() { Block::Text("The runs have noted no epochs.".into()) } else { Block::Plots(plots) };
    Section { title: "Training".into(), blocks: vec![block] }
}

fn significance(runs: &Runs) -> Option<Section> {
    let mut blocks = Vec::new();
    if let [Pair { comparison: Some(found), .. }] = runs.pairs.as_slice() {
        blocks.push(significance::tests(found));
    }
    if runs.pairs.len() > 1 {
        blocks.extend(significance::every_pair(&runs.pairs));
    }
    blocks.push(Block::Text(significance::INTERVALS.into()));
    blocks.push(significance::estimates(&runs.models));
    (!runs.models.is_empty()).then(|| Section { title: "What is significant".into(), blocks })
}

fn mistakes_of(runs: &Runs) -> Option<Section> {
    let words: Vec<_> = runs.models.iter().filter_map(|m| mistakes::worst(&m.subject, &m.runs[0].eval)).collect();
    let plots = runs.models.iter().map(|model| plots::confusion(&model.subject, &model.runs[0])).collect();
    let blocks = vec![Block::Text(words.join(" ").into()), Block::Plots(plots)];
    (!runs.models.is_empty()).then(|| Section { title: "Where they go wrong".into(), blocks })
}

fn settings(runs: &Runs) -> Section {
    let columns: Vec<_> = runs.trainings.iter().map(|t| (t.name.clone(), &t.config.train)).collect();
    let blocks = training::settings(&columns).into_iter().collect();
    Section { title: "Settings".into(), blocks }
}

fn how(runs: &Runs) -> Section {
    let origins: Vec<_> = runs.trainings.iter().map(|training| training.origin.clone()).collect();
    let mut rows = provenance::environment(&origins);
    let mut copies: Vec<String> = Vec::new();
    for copy in origins.iter().filter_map(|origin| origin.copy.clone()) {
        if !copies.contains(&copy) {
            copies.push(copy);
        }
    }
    rows.extend((!copies.is_empty()).then(|| vec!["Copy of the data".into(), list(&copies).into()]));
    let head = vec!["What".into(), "Value".into()];
    let mut blocks = vec![Block::Table(Table { head, numeric: false, rows })];
    blocks.extend(provenance::origins_table(&origins));
    let commands = runs.trainings.iter().map(|training| training.config.command.as_str());
    let commands: Vec<_> = commands.filter(|command| !command.is_empty()).collect();
    if !commands.is_empty() {
        blocks.push(Block::Details("Commands".into(), vec![Block::Code(commands.join("\n"))]));
    }
    Section { title: "How this was made".into(), blocks }
}
