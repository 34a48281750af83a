//! Where we win and where we lose, in words.

use mobilenet_report::text::list;

use crate::peers::figures::{Figure, Metric, Outcome, Row};
use crate::peers::task::Program;

/// Where we win and where we lose, with the ratios of each network.
pub fn verdict(metric: &Metric, rows: &[Row<'_>]) -> String {
    let parts = [
        (Outcome::Won, "We win against"),
        (Outcome::Lost, "We lose against"),
        (Outcome::Open, "The rounds do not agree on"),
    ];
    let sentences: Vec<_> = parts
        .into_iter()
        .filter_map(|(outcome, lead)| {
            let peers = peers(rows, |ratio| metric.outcome(ratio) == outcome);
            (!peers.is_empty()).then(|| format!("{lead} {}.", list(&peers)))
        })
        .collect();
    if sentences.is_empty() {
        return "There is nothing to compare with.".to_owned();
    }
    sentences.join(" ")
}

/// The programs with such a ratio on any network: `PyTorch, NCHW (V2 2.10, V3-Large 1.95)`.
fn peers(rows: &[Row<'_>], wanted: impl Fn(Figure) -> bool) -> Vec<String> {
    let mut found: Vec<(Program, Vec<String>)> = Vec::new();
    for row in rows {
        let Some(ratio) = row.ratio.filter(|ratio| wanted(*ratio)) else { continue };
        let network = format!("{} {:.2}", row.cell.arch.short(), ratio.median);
        match found.iter_mut().find(|(program, _)| *program == row.cell.program) {
            Some((_, networks)) => networks.push(network),
            None => found.push((row.cell.program, vec![network])),
        }
    }
    found.into_iter().map(|(program, networks)| format!("{} ({})", program.label(), networks.join(", "))).collect()
}
