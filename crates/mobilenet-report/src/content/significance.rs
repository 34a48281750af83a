//! Every figure with its interval, and what each test of the difference knows.

use mobilenet_schema::{Comparison, Estimate, McNemar};

use crate::document::{Block, Cell, Column, Inline, Section, Table};
use crate::gather::{Gathered, Model, Pair, Run};
use crate::stats;
use crate::text::{megabytes, percent, points, points_interval, significant, thousands};
use crate::verdict;

/// What the intervals of the figures are.
pub const INTERVALS: &str = "Each figure with the 95% interval of its mean: over several seeds Student's t, which \
    knows how trainings scatter; for a share of images from one seed Wilson's, which knows only how many images there \
    were.";

/// Intervals and tests.
pub fn section(gathered: &Gathered) -> Section {
    let mut blocks = Vec::new();
    if let (Some((first, second)), Some(found)) = (gathered.pair(), gathered.difference()) {
        blocks.push(Block::Text(format!(
            "{} minus {} in test accuracy: {}. Two things scatter, the test images and the seeds; no test here knows \
             all of both.",
            second.network().short(),
            first.network().short(),
            points(found.difference)
        ).into()));
        blocks.push(tests(found));
        if found.mcnemar.len() > 1 {
            blocks.push(per_seed(&found.mcnemar, (&first.network().short(), &second.network().short())));
        }
    }
    if gathered.comparisons.len() > 1 {
        blocks.extend(every_pair(&gathered.comparisons));
    }
    blocks.push(Block::Text(INTERVALS.into()));
    blocks.push(estimates(&gathered.models));
    Section { title: "What is significant".into(), blocks }
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
    Block::Table(Table { head: head.map(Inline::from).into(), numeric: false, rows })
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
    Block::Table(Table { head: head.map(Inline::from).into(), numeric: true, rows })
}

/// How each pair of networks compares.
pub fn every_pair(pairs: &[Pair]) -> [Block; 2] {
    let columns: [Column<'_, (&Pair, &Comparison)>; 6] = [
        ("Test accuracy", &|(pair, _)| format!("{} minus {}", pair.second.short(), pair.first.short())),
        ("Difference", &|(_, found)| points(found.difference)),
        ("95% interval", &|(_, found)| found.interval().map_or("–".to_owned(), points_interval)),
        ("Test", &|(_, found)| found.test()),
        ("p", &|(_, found)| p_value(found.p_value())),
        ("Significant", &|(_, found)| {
            let said = match (found.is_noise(), verdict::doubt(found)) {
                (false, _) => "yes",
                (true, "") => "no",
                (true, _) => "no: other test images may undo it",
            };
            said.to_owned()
        }),
    ];
    let compared = pairs.iter().filter_map(|pair| Some((pair, pair.comparison.as_ref()?)));
    [
        Block::Text(
            "Every pair of networks. The p-values are not corrected for being several: of twenty pairs of equals, one \
             is to be expected below 0.05."
                .into(),
        ),
        Block::Table(Table::of(compared, &columns)),
    ]
}

/// A p-value in a table's cell, where no `=` is needed and no line may break.
pub fn p_value(p: f64) -> String {
    verdict::p_value(p).trim_start_matches("= ").replace(' ', "\u{a0}")
}

/// A figure of a run.
struct Metric {
    /// Its name for programs
    key: &'static str,
    /// Its name for people
    label: &'static str,
    value: fn(&Run) -> Option<f64>,
    /// Of how many images it is a share, if it is one
    images: Option<fn(&Run) -> u64>,
    /// How a value is written
    format: fn(f64) -> String,
}

const METRICS: [Metric; 7] = [
    Metric {
        key: "test_top1",
        label: "Test top-1",
        value: |run| Some(run.eval.test_top1),
        images: Some(|run| run.eval.test_images),
        format: percent,
    },
    Metric {
        key: "test_top5",
        label: "Test top-5",
        value: |run| Some(run.eval.test_top5),
        images: Some(|run| run.eval.test_images),
        format: percent,
    },
    Metric {
        key: "test_loss",
        label: "Test loss",
        value: |run| Some(run.eval.test_loss),
        images: None,
        format: |loss| format!("{loss:.3}"),
    },
    Metric {
        key: "train_top1",
        label: "Train top-1",
        value: |run| Some(run.eval.train_top1),
        images: Some(|run| run.eval.train_images),
        format: percent,
    },
    Metric {
        key: "training_images_per_second",
        label: "Training images/s",
        value: |run| Some(run.images_per_second()),
        images: None,
        format: significant,
    },
    Metric {
        key: "seconds_per_epoch",
        label: "Seconds per epoch",
        value: |run| Some(run.seconds_per_epoch()),
        images: None,
        format: significant,
    },
    Metric {
        key: "training_peak_rss_bytes",
        label: "Memory, training (MB)",
        value: |run| run.record.peak_rss_bytes.map(|bytes| bytes as f64),
        images: None,
        format: |bytes| megabytes(bytes as u64),
    },
];

/// The figures of one network, each with its key for programs.
pub fn of_model(model: &Model) -> Vec<(&'static str, Estimate)> {
    METRICS.iter().filter_map(|metric| Some((metric.key, estimate(model, metric)?))).collect()
}

fn estimate(model: &Model, metric: &Metric) -> Option<Estimate> {
    let values = model.runs.iter().map(metric.value).collect::<Option<Vec<_>>>()?;
    Some(match metric.images {
        Some(images) => stats::estimate_share(&values, model.runs.first().map_or(0, images)),
        None => {
            // None of these can be negative.
            let estimate = stats::estimate(&values);
            Estimate { interval: estimate.interval.map(|(low, high)| (low.max(0.0), high)), ..estimate }
        }
    })
}

pub fn estimates(models: &[Model]) -> Block {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for metric in &METRICS {
        for model in models {
            let Some(found) = estimate(model, metric) else { continue };
            let none = || "–".to_owned();
            // A deviation in points of a percentage carries no sign of its own.
            let deviation = found.deviation.map_or_else(none, |v| {
                if metric.images.is_some() { format!("{:.2} points", 100.0 * v) } else { (metric.format)(v) }
            });
            let interval = found
                .interval
                .map_or_else(none, |(low, high)| format!("{} to {}", (metric.format)(low), (metric.format)(high)));
            rows.push(
                [
                    metric.label.to_owned(),
                    model.subject.short(),
                    found.n.to_string(),
                    (metric.format)(found.mean),
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
    Block::Table(Table { head: head.map(Inline::from).into(), numeric: true, rows })
}
