//! Every figure with its interval, and what each test of the difference knows.

use crate::document::{Block, Cell, Section, Table};
use crate::gather::{Gathered, Model, Run};
use crate::stats::{self, Comparison, Estimate, McNemar};
use crate::text::{megabytes, percent, points, points_interval, significant, thousands};
use crate::verdict;

/// Intervals and tests.
pub fn section(gathered: &Gathered) -> Section {
    let mut blocks = Vec::new();
    if let (Some((first, second)), Some(found)) = (gathered.pair(), gathered.difference()) {
        blocks.push(Block::Text(format!(
            "{} minus {} in test accuracy: {}. Two things scatter, the test images and the seeds; no test here knows all of both.",
            second.network.short(),
            first.network.short(),
            points(found.difference)
        )));
        blocks.push(tests(found));
        if found.mcnemar.len() > 1 {
            blocks.push(per_seed(&found.mcnemar, (&first.network.short(), &second.network.short())));
        }
    }
    if gathered.comparisons.len() > 1 {
        blocks.extend(every_pair(gathered));
    }
    blocks.push(Block::Text(
        "Each figure with the 95% interval of its mean: over several seeds Student's t, which knows how trainings scatter; for a share of images from one seed Wilson's, which knows only how many images there were."
            .to_owned(),
    ));
    blocks.push(estimates(gathered));
    Section { title: "What is significant".to_owned(), blocks }
}

/// The tests of one difference. Where McNemar's was made for several seeds, its row names the range.
pub fn tests(found: &Comparison) -> Block {
    let row = |name: String, interval: Option<(f64, f64)>, p: String, knows: &str, not: &str| -> Vec<Cell> {
        [name, interval.map_or("–".to_owned(), points_interval), p, knows.to_owned(), not.to_owned()]
            .map(Cell::from)
            .into()
    };
    let mut rows = Vec::new();
    if let Some(test) = &found.welch {
        rows.push(row(
            found.test(),
            Some(test.interval),
            p_value(test.p_value),
            "how accuracies scatter between seeds",
            "other test images: these are taken as given",
        ));
    }
    if let Some(range) = p_range(&found.mcnemar) {
        let name = match found.mcnemar.as_slice() {
            [test] if test.exact => "McNemar's test, exact".to_owned(),
            [_] => "McNemar's test, continuity-corrected".to_owned(),
            several => format!("McNemar's test, each of {} seeds", several.len()),
        };
        rows.push(row(name, None, range, "on which images only one of two trainings is right", "other seeds"));
    }
    if let Some(bootstrap) = &found.bootstrap {
        let (name, knows, not) = if bootstrap.over_seeds {
            (
                "Bootstrap over test images and seeds",
                "both scatters",
                "seeds that were not run: with few of them it is too narrow",
            )
        } else {
            ("Bootstrap over test images", "how the difference hangs on the images drawn", "other seeds")
        };
        rows.push(row(name.to_owned(), Some(bootstrap.interval), "–".to_owned(), knows, not));
    }
    let head = ["Test", "95% interval", "p", "It knows", "It does not know"];
    Block::Table(Table { head: head.map(str::to_owned).into(), numeric: false, rows })
}

fn p_range(tests: &[McNemar]) -> Option<String> {
    let p = |test: &McNemar| test.p_value;
    let low = tests.iter().map(p).min_by(f64::total_cmp)?;
    let high = tests.iter().map(p).max_by(f64::total_cmp)?;
    let (low, high) = (p_value(low), p_value(high));
    Some(if low == high { low } else { format!("{low} to {high}") })
}

/// McNemar's test seed by seed.
pub fn per_seed(tests: &[McNemar], (first, second): (&str, &str)) -> Block {
    let rows = tests
        .iter()
        .map(|test| {
            let seeds = match test.seeds {
                (a, b) if a == b => a.to_string(),
                (a, b) => format!("{a} and {b}"),
            };
            [
                seeds,
                thousands(test.only_first),
                thousands(test.only_second),
                if test.exact { "exact binomial" } else { "chi-squared, corrected" }.to_owned(),
                p_value(test.p_value),
            ]
            .map(Cell::from)
            .into()
        })
        .collect();
    let head = [
        "Seed".to_owned(),
        format!("Only {first} right"),
        format!("Only {second} right"),
        "McNemar's test".to_owned(),
        "p".to_owned(),
    ];
    Block::Table(Table { head: head.into(), numeric: true, rows })
}

fn every_pair(gathered: &Gathered) -> [Block; 2] {
    let rows = gathered
        .comparisons
        .iter()
        .filter_map(|pair| {
            let found = pair.comparison.as_ref()?;
            Some(
                [
                    format!("{} minus {}", pair.second.short(), pair.first.short()),
                    points(found.difference),
                    found.interval().map_or("–".to_owned(), points_interval),
                    found.test(),
                    p_value(found.p_value()),
                    if found.is_noise() { "no" } else { "yes" }.to_owned(),
                ]
                .map(Cell::from)
                .into(),
            )
        })
        .collect();
    let head = ["Test accuracy", "Difference", "95% interval", "Test", "p", "Significant"];
    [
        Block::Text(
            "Every pair of networks. The p-values are not corrected for being several: of twenty pairs of equals, one is to be expected below 0.05."
                .to_owned(),
        ),
        Block::Table(Table { head: head.map(str::to_owned).into(), numeric: true, rows }),
    ]
}

/// A p-value in a table's cell, where no `=` is needed and no line may break.
fn p_value(p: f64) -> String {
    verdict::p_value(p).trim_start_matches("= ").replace(' ', "\u{a0}")
}

/// A figure of a run, its name, and how it is written.
struct Figure {
    name: &'static str,
    value: fn(&Run) -> Option<f64>,
    /// Of how many images it is a share, if it is one
    images: Option<fn(&Run) -> u64>,
    write: fn(f64) -> String,
}

const FIGURES: [Figure; 7] = [
    Figure {
        name: "Test top-1",
        value: |r| Some(r.eval.test_top1),
        images: Some(|r| r.eval.test_images),
        write: percent,
    },
    Figure {
        name: "Test top-5",
        value: |r| Some(r.eval.test_top5),
        images: Some(|r| r.eval.test_images),
        write: percent,
    },
    Figure { name: "Test loss", value: |r| Some(r.eval.test_loss), images: None, write: |v| format!("{v:.3}") },
    Figure {
        name: "Train top-1",
        value: |r| Some(r.eval.train_top1),
        images: Some(|r| r.eval.train_images),
        write: percent,
    },
    Figure { name: "Training images/s", value: |r| Some(r.images_per_second()), images: None, write: significant },
    Figure { name: "Seconds per epoch", value: |r| Some(r.seconds_per_epoch()), images: None, write: significant },
    Figure {
        name: "Memory, training (MB)",
        value: |r| r.record.peak_rss_bytes.map(|bytes| bytes as f64),
        images: None,
        write: |v| megabytes(v as u64),
    },
];

/// Names for programs, in the order of [`FIGURES`].
const KEYS: [&str; 7] = [
    "test_top1",
    "test_top5",
    "test_loss",
    "train_top1",
    "training_images_per_second",
    "seconds_per_epoch",
    "training_peak_rss_bytes",
];

/// The figures of one network, each with its key for programs.
pub fn of_model(model: &Model) -> Vec<(&'static str, Estimate)> {
    KEYS.into_iter().zip(&FIGURES).filter_map(|(key, figure)| Some((key, estimate(model, figure)?))).collect()
}

fn estimate(model: &Model, figure: &Figure) -> Option<Estimate> {
    let values = model.runs.iter().map(figure.value).collect::<Option<Vec<_>>>()?;
    Some(match figure.images {
        Some(images) => stats::estimate_share(&values, model.runs.first().map_or(0, images)),
        None => stats::estimate(&values),
    })
}

fn estimates(gathered: &Gathered) -> Block {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for figure in &FIGURES {
        for model in &gathered.models {
            let Some(found) = estimate(model, figure) else { continue };
            let none = || "–".to_owned();
            // A deviation in points of a percentage carries no sign of its own.
            let deviation = found.deviation.map_or_else(none, |v| {
                if figure.images.is_some() { format!("{:.2} points", 100.0 * v) } else { (figure.write)(v) }
            });
            let interval = found
                .interval
                .map_or_else(none, |(low, high)| format!("{} to {}", (figure.write)(low), (figure.write)(high)));
            rows.push(
                [
                    figure.name.to_owned(),
                    model.network.short().to_owned(),
                    found.n.to_string(),
                    (figure.write)(found.mean),
                    deviation,
                    interval,
                    found.basis.label().to_owned(),
                ]
                .map(Cell::from)
                .into(),
            );
        }
    }
    let head = ["Figure", "Network", "n", "Mean", "Std. dev.", "95% interval", "Interval by"];
    Block::Table(Table { head: head.map(str::to_owned).into(), numeric: true, rows })
}
