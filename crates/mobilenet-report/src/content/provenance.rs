//! How a comparison was made, so that it can be made again.

use mobilenet_schema::Origin;
use serde_json::Value;

use crate::document::{Block, Cell, Inline, Section, Table, rich};
use crate::gather::Gathered;
use crate::origins::{self, Trait};
use crate::stats;
use crate::text::{duration, list, thousands};

/// Data, machine, commit and commands.
pub fn section(gathered: &Gathered) -> Section {
    let sizes = gathered.sizes();
    let data = &gathered.data;
    let mut rows: Vec<Vec<Cell>> = vec![
        vec![
            "Data set".into(),
            format!(
                "{}: {} training and {} test images in {} classes",
                data.label(),
                thousands(data.train_images),
                thousands(data.test_images),
                data.classes.len()
            )
            .into(),
        ],
        vec![
            "Used of it".into(),
            format!("the first {} training and {} test images", thousands(sizes.train), thousands(sizes.test)).into(),
        ],
        vec!["Copy".into(), data.copy.clone().into()],
    ];
    if data.std != [0.0; 3] {
        let triple = |v: &[f32]| list(&v.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>());
        rows.push(vec![
            "Normalization".into(),
            format!("mean {}, standard deviation {}", triple(&data.mean), triple(&data.std)).into(),
        ]);
    }
    let seeds: Vec<_> = gathered.settings.seeds.iter().map(u64::to_string).collect();
    rows.push(vec!["Seeds".into(), list(&seeds).into()]);
    rows.extend(environment(&gathered.origins));
    let seconds =
        stats::mean(&gathered.models.iter().flat_map(|m| &m.runs).map(|r| r.record.seconds).collect::<Vec<_>>());
    let mut blocks = vec![
        Block::Text(rich!(
            "Every figure comes from a process of its own; one training took {} on average. The first of the commands \
             below runs all others; each gives the same artefact again, and `cargo xtask compare --report-only` makes \
             this report of them.",
            duration(seconds)
        )),
        Block::Table(Table { head: vec!["What".into(), "Value".into()], numeric: false, rows }),
    ];
    blocks.extend(origins_table(&gathered.origins));
    blocks.push(Block::Details("All commands".into(), vec![Block::Code(gathered.commands.join("\n"))]));
    Section { title: "How this was made".into(), blocks }
}

/// The machines and programs: what all runs share once; where they differ, every value.
pub fn environment(origins: &[Origin]) -> Vec<Vec<Cell>> {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    const ENVIRONMENT: [(&str, &str); 11] = [
        ("processor", "Processor"),
        ("cores", "Cores"),
        ("threads", "Threads"),
        ("memory_bytes", "Memory"),
        ("os", "System"),
        ("rustc", "Compiler"),
        ("version", "mobilenet"),
        ("candle", "Candle"),
        ("features", "Features"),
        ("commit", "Commit"),
        ("date", "Date"),
    ];
    let environments: Vec<Value> =
        origins.iter().filter_map(|origin| serde_json::to_value(&origin.environment).ok()).collect();
    for (key, title) in ENVIRONMENT {
        let mut texts = Vec::new();
        for environment in &environments {
            if let Some(text) = environment_text(key, &environment[key])
                && !texts.contains(&text)
            {
                texts.push(text);
            }
        }
        if !texts.is_empty() {
            rows.push(vec![title.into(), list(&texts).into()]);
        }
    }
    rows
}

/// Run by run, in what they differ; nothing if in nothing.
pub fn origins_table(all: &[Origin]) -> Option<Block> {
    let differing: Vec<Trait> = Trait::ALL.into_iter().filter(|&what| origins::values(all, what).len() > 1).collect();
    if differing.is_empty() {
        return None;
    }
    let mut head = vec![Inline::from("Run")];
    head.extend(differing.iter().map(|what| Inline::from(what.label())));
    let rows = all
        .iter()
        .map(|origin| {
            let mut row: Vec<Cell> = vec![origin.what.clone().into()];
            row.extend(differing.iter().map(|&what| what.of(origin).unwrap_or_else(|| "–".to_owned()).into()));
            row
        })
        .collect();
    let names: Vec<_> = differing.iter().map(|what| what.noun().to_owned()).collect();
    let title = format!("Where the runs differ: {}", list(&names));
    Some(Block::Details(title.into(), vec![Block::Table(Table { head, numeric: false, rows })]))
}

fn environment_text(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Number(n) if n.as_u64() == Some(0) => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(bytes) if name.ends_with("_bytes") => {
            Some(format!("{:.1} GB", bytes.as_f64()? / f64::from(1 << 30)))
        }
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(
            items
                .iter()
                .map(|item| item.as_str().map_or(item.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(", "),
        ),
        other => Some(other.to_string()),
    }
}
