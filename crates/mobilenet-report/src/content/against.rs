//! Then and now.

use mobilenet_schema::{Against, NetworkChange, ThenNow};

use super::significance;
use crate::document::{Block, Cell, Inline, Section, Table, rich};
use crate::text::{list, millions, percent, points, points_interval, significant, thousands};

/// The comparison against an earlier one.
pub fn section(against: &Against) -> Section {
    let path = against.path.display();
    let mut blocks: Vec<Block> =
        against.warnings.iter().map(|warning| Block::Text(rich!("**Note.** {}", warning))).collect();
    if against.networks.is_empty() {
        blocks.push(Block::Text("The two comparisons have no network in common.".into()));
    } else {
        let rows = against.networks.iter().flat_map(rows).collect();
        let head = ["", "Network", "Then", "Now", "Change"].map(str::to_owned);
        blocks.push(Block::Table(Table { head: head.map(Inline::from).into(), numeric: true, rows }));
    }
    for change in &against.networks {
        if let Some(found) = &change.comparison {
            let name = change.network.short();
            let interval = found.interval().map_or(String::new(), |i| format!(", 95% interval {}", points_interval(i)));
            blocks.push(Block::Text(
                format!("{name} now minus then in test accuracy: {}{interval}.", points(found.difference)).into(),
            ));
            blocks.push(significance::tests(found));
            if !found.mcnemar.is_empty() {
                blocks.push(significance::per_seed(&found.mcnemar, ("then", "now")));
            }
        }
    }
    if !against.unmatched.is_empty() {
        let names: Vec<_> = against.unmatched.iter().map(|arch| arch.short().to_owned()).collect();
        blocks.push(Block::Text(format!("Only one of the two comparisons has {}.", list(&names)).into()));
    }
    if against.settings.is_empty() {
        blocks.push(Block::Text("All settings but networks and seeds are the same.".into()));
    } else {
        let rows = against
            .settings
            .iter()
            .map(|s| [&s.name, &s.then, &s.now].map(|text| Cell::from(text.clone())).into())
            .collect();
        let head = ["Setting", "Then", "Now"].map(str::to_owned);
        blocks.push(Block::Table(Table { head: head.map(Inline::from).into(), numeric: false, rows }));
    }
    Section { title: format!("Against {path}").into(), blocks }
}

fn rows(change: &NetworkChange) -> Vec<Vec<Cell>> {
    let name = change.network.short();
    let row = |figure: &str, then: String, now: String, change: String| -> Vec<Cell> {
        [figure.to_owned(), name.to_owned(), then, now, change].map(Cell::from).into()
    };
    let ratio = |figure: &str, value: ThenNow, write: &dyn Fn(f64) -> String| {
        row(figure, write(value.then), write(value.now), format!("{:.2} times", value.ratio()))
    };
    let top1 = change.test_top1;
    let accuracy = |value: f64, seeds: usize| match seeds {
        1 => percent(value),
        n => format!("{} (mean of {n})", percent(value)),
    };
    let mut rows = vec![row(
        "Test accuracy",
        accuracy(top1.then, change.seeds.0),
        accuracy(top1.now, change.seeds.1),
        points(top1.now - top1.then),
    )];
    if let Some(latency) = change.latency_ms {
        rows.push(ratio("Latency, batch 1 (ms)", latency, &significant));
    }
    rows.push(ratio("Training images/s", change.training_images_per_second, &significant));
    let counted = |v: f64| millions(v as u64);
    rows.push(ratio("Parameters (M)", change.params, &counted));
    rows.push(ratio("Multiply-adds (M)", change.macs, &counted));
    rows.push(ratio("Epochs", change.epochs, &|v| thousands(v as u64)));
    rows
}
