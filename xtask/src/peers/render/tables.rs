//! The tables.

use std::fmt::Write as _;

use mobilenet_report::text::significant;

use crate::peers::cell::{Cell, Measured};
use crate::peers::figures::{self, Figure, Row};
use crate::peers::task::{Program, Task};

/// Ours with other batches and on one thread.
pub fn growth(measured: &Measured) -> Option<String> {
    let settings = &measured.settings;
    let mut out = "| network | precision | batch | threads | images/s | spread | against | spread |\n\
                   |---|---|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    let mut any = false;
    for first in measured.cells.iter().filter(|cell| cell.task == Task::Training && cell.program.is_ours()) {
        let same = |cell: &&Cell| (cell.arch, cell.program) == (first.arch, first.program);
        for cell in measured.cells.iter().filter(same) {
            let batch = cell.task.batch(settings);
            let speed: Vec<_> = cell.samples.iter().map(|s| 1e3 * batch as f64 / s.milliseconds).collect();
            let ratio = figures::speed_up(cell, first, [batch, first.task.batch(settings)]);
            let (Some(speed), Some(ratio), true) = (Figure::of(&speed), ratio, cell.task.trains()) else { continue };
            let (speed, spread) = said(speed, significant);
            let (ratio, ratio_spread) = match cell.task {
                Task::Training => Default::default(),
                _ => said(ratio, |v| format!("{v:.2}")),
            };
            let precision = if cell.program == Program::OursBf16 { "bf16" } else { "float32" };
            let threads = cell.task.threads(settings);
            let _ = writeln!(
                out,
                "| {} | {precision} | {batch} | {threads} | {speed} | {spread} | {ratio} | {ratio_spread} |",
                cell.arch.label()
            );
            any |= cell.task != Task::Training;
        }
    }
    any.then_some(out)
}

/// The lines of a section; `unit` is that of its figures.
pub fn table(unit: &str, rows: &[Row<'_>]) -> String {
    let mut out =
        format!("| network | program | {unit} | spread | ours ÷ theirs | spread |\n|---|---|---:|---:|---:|---:|\n");
    for row in rows {
        let (value, spread) = row.figure.map_or_else(|| ("–".to_owned(), "–".to_owned()), |f| said(f, significant));
        let (ratio, ratio_spread) = row.ratio.map_or_else(Default::default, |f| said(f, |v| format!("{v:.2}")));
        let strong = if row.cell.program.is_ours() { "**" } else { "" };
        let _ = writeln!(
            out,
            "| {} | {strong}{}{strong} | {value} | {spread} | {ratio} | {ratio_spread} |",
            row.cell.arch.label(),
            row.cell.program.label()
        );
    }
    out
}

/// Median and spread.
fn said(figure: Figure, say: impl Fn(f64) -> String) -> (String, String) {
    (say(figure.median), format!("{}–{}", say(figure.min), say(figure.max)))
}
