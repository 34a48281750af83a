//! What the report says, section by section.

mod blocks;
mod pictures;
mod tables;

use serde_json::Value;

use crate::compare::artefacts::Eval;
use crate::compare::audit::{Claim, Verdict};
use crate::compare::document::{Block, Cell, Document, Section, Table};
use crate::compare::gather::Gathered;
use crate::compare::names::Arch;
use crate::compare::text::{count, duration, list, points, thousands};
use crate::compare::{plots, stats, verdict};

/// The whole report.
pub fn document(gathered: &Gathered, claims: &[Claim], created: &str) -> Document {
    let models: Vec<_> = gathered.models.iter().map(|m| m.arch.label().to_owned()).collect();
    let seeds: Vec<_> = gathered.settings.seeds.iter().map(u64::to_string).collect();
    let subtitle = format!(
        "{}, profile `{}`, {} {}; {created}",
        gathered.data.label(),
        gathered.settings.profile.key(),
        if seeds.len() == 1 { "seed" } else { "seeds" },
        list(&seeds),
    );
    let mut sections = vec![
        at_a_glance(gathered),
        tables::section(gathered),
        training(gathered),
        Section { title: "Accuracy against cost".to_owned(), blocks: vec![Block::Plots(plots::trade_offs(gathered))] },
        mistakes(gathered),
    ];
    sections.extend(pictures::section(gathered));
    sections.extend(blocks::section(gathered));
    sections.push(audit(claims));
    sections.push(provenance(gathered));
    Document {
        title: list(&models),
        subtitle,
        warning: verdict::warning(gathered),
        verdict: verdict::sentences(gathered),
        caveats: verdict::caveats(gathered),
        sections,
    }
}

fn at_a_glance(gathered: &Gathered) -> Section {
    let mut blocks = vec![Block::Plots(vec![plots::glance(gathered)])];
    for note in &gathered.notes {
        blocks.push(Block::Text(format!("**Note.** {note}")));
    }
    Section { title: "At a glance".to_owned(), blocks }
}

fn training(gathered: &Gathered) -> Section {
    let recipe = &gathered.settings.recipe;
    let text = format!(
        "Both curves of a network come from the same run: {} of {} images, batches of {}, {} with a peak learning rate of {} ({} schedule) and weight decay {}, in {}, with random flips and crops. \
         Nothing was chosen on the test images; the figures are those of the last epoch's weights.",
        count(recipe.epochs, "epoch"),
        thousands(gathered.sizes().train),
        recipe.batch_size,
        recipe.optimizer.replace("adamw", "AdamW"),
        recipe.lr,
        recipe.schedule,
        recipe.weight_decay,
        gathered.settings.precision.label()
    );
    Section { title: "Training".to_owned(), blocks: vec![Block::Text(text), Block::Plots(plots::curves(gathered))] }
}

fn mistakes(gathered: &Gathered) -> Section {
    let mut blocks = Vec::new();
    let words: Vec<_> = gathered.models.iter().filter_map(|m| worst(m.arch, &m.runs[0].eval)).collect();
    if !words.is_empty() {
        blocks.push(Block::Text(words.join(" ")));
    }
    if let (Some((first, second)), Some(d)) = (gathered.pair(), verdict::difference(gathered)) {
        blocks.push(Block::Text(format!(
            "{} minus {}: {}; {} (p {}).",
            second.arch.short(),
            first.arch.short(),
            points(d.difference),
            d.test.describe(first.arch.short(), second.arch.short()),
            verdict::p_value(d.p_value)
        )));
    }
    blocks.push(Block::Plots(plots::confusion(gathered)));
    Section { title: "Where they go wrong".to_owned(), blocks }
}

/// The most frequent mistake of one network.
fn worst(arch: Arch, eval: &Eval) -> Option<String> {
    let class = |i: usize| eval.classes.get(i).map(String::as_str);
    let answers = |j: usize| eval.confusion.iter().filter_map(|row| row.get(j)).sum::<u64>();
    let favorite = (0..eval.classes.len()).max_by_key(|&j| answers(j))?;
    if 5 * answers(favorite) > 4 * eval.test_images {
        return Some(format!(
            "{} answers {} to {} of {} images: it has hardly learned yet, or its batch norm statistics have not settled.",
            arch.label(),
            class(favorite)?,
            thousands(answers(favorite)),
            thousands(eval.test_images)
        ));
    }
    let cells = eval.confusion.iter().enumerate().flat_map(|(i, row)| (0..row.len()).map(move |j| (i, j)));
    let (truth, answer) = cells.filter(|(i, j)| i != j).max_by_key(|&(i, j)| eval.confusion[i][j])?;
    let images = eval.confusion[truth][answer];
    let total: u64 = eval.confusion[truth].iter().sum();
    (images > 0).then_some(())?;
    Some(format!("{} most often takes {} for {} ({images} of {total}).", arch.label(), class(truth)?, class(answer)?))
}

fn audit(claims: &[Claim]) -> Section {
    let of = |verdict: Verdict| claims.iter().filter(|c| c.verdict == verdict).count();
    let text = format!(
        "Of {} claims of the article **{} are reproduced, {} are not, and {} cannot be measured here**. Counts agree if they are within about one percent, accuracies under the article's protocol if they are within one point.",
        claims.len(),
        of(Verdict::Reproduced),
        of(Verdict::NotReproduced),
        of(Verdict::NotMeasurable)
    );
    let rows = claims
        .iter()
        .map(|c| vec![c.claim.as_str().into(), Cell::Verdict(c.verdict), c.reason.as_str().into()])
        .collect();
    let head = ["The article says", "Verdict", "Why"];
    Section {
        title: "The article's claims".to_owned(),
        blocks: vec![
            Block::Text(text),
            Block::Table(Table { head: head.map(str::to_owned).into(), numeric: false, rows }),
        ],
    }
}

fn provenance(gathered: &Gathered) -> Section {
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
        vec!["Copy".into(), data.copy.as_str().into()],
    ];
    if data.mean.len() == 3 && data.std.len() == 3 {
        let triple = |v: &[f64]| list(&v.iter().map(|x| format!("{x:.4}")).collect::<Vec<_>>());
        rows.push(vec![
            "Normalization".into(),
            format!("mean {}, standard deviation {}", triple(&data.mean), triple(&data.std)).into(),
        ]);
    }
    let seeds: Vec<_> = gathered.settings.seeds.iter().map(u64::to_string).collect();
    rows.push(vec!["Seeds".into(), list(&seeds).into()]);
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
        ("date", "Date of the last run"),
    ];
    for (key, title) in ENVIRONMENT {
        if let Some(text) = environment_text(key, &gathered.environment[key]) {
            rows.push(vec![title.into(), text.into()]);
        }
    }
    let seconds =
        stats::mean(&gathered.models.iter().flat_map(|m| &m.runs).map(|r| r.record.seconds).collect::<Vec<_>>());
    Section {
        title: "How this was made".to_owned(),
        blocks: vec![
            Block::Text(format!(
                "Every figure comes from a process of its own; one training took {} on average. The same commands, one after the other, give the same artefacts, and `cargo xtask compare --report-only` makes this report of them.",
                duration(seconds)
            )),
            Block::Table(Table { head: vec!["What".to_owned(), "Value".to_owned()], numeric: false, rows }),
            Block::Details("All commands".to_owned(), vec![Block::Code(gathered.commands.join("\n"))]),
        ],
    }
}

fn environment_text(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
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
