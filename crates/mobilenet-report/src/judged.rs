//! One network judged on one set: a page of its own, without Markdown beside it.

use mobilenet_arch::{Arch, Network};
use mobilenet_schema::{ClassScores, Picture, Scores};

use crate::agreement::Tally;
use crate::charts::{Column, Matrix, Pairs, matrix, pairs};
use crate::document::{Answer, Block, Cell, Document, GalleryRow, Inline, Section, Shown, Table, rich};
use crate::html;
use crate::plots::plot;
use crate::stats::wilson;
use crate::text::{count, percent, thousands};

/// With more classes the table of classes is folded away.
const OPEN_CLASSES: usize = 30;
/// With more classes there is no matrix, whose cells would be smaller than a pixel.
const MATRIX_CLASSES: usize = 200;
/// Pairs of classes that are listed as taken for one another.
const CONFUSED: usize = 20;

/// A network's answers to the images of a set.
pub struct Judged<'a> {
    /// The network as people spell it: `MobileNetV3-Small, width 0.35`.
    pub title: &'a str,
    /// The architecture, where it is known: its color is the page's.
    pub arch: Option<Arch>,
    /// Where the weights are from.
    pub source: &'a str,
    /// The set's name and the part of it.
    pub data: &'a str,
    /// Which copy of the set.
    pub copy: &'a str,
    /// What people should know of set and network, a line each.
    pub notes: &'a [String],
    /// Mean cross-entropy.
    pub loss: f64,
    /// Share of right answers, and of those with the label among the first five.
    pub top: [f64; 2],
    /// The network's classes.
    pub classes: &'a [String],
    /// The true class of each image.
    pub labels: &'a [usize],
    /// The answer to each image.
    pub predicted: &'a [usize],
    /// Its probability.
    pub confidence: &'a [f32],
    /// Images by true class (row) and answer (column).
    pub confusion: &'a [Vec<u64>],
    /// What is counted from them.
    pub scores: &'a Scores,
    /// The worst mistakes, the worst first.
    pub mistakes: &'a [Mistake],
}

/// A picture with a wrong answer.
pub struct Mistake {
    /// Its place among the labels, and its pixels.
    pub picture: Picture,
    /// The name of its file, where it has one of its own.
    pub file: Option<String>,
}

/// The page: one HTML file that fetches nothing and runs nothing.
pub fn judged_page(judged: &Judged<'_>) -> String {
    html::render(&document(judged))
}

fn document(judged: &Judged<'_>) -> Document {
    let images = judged.labels.len() as u64;
    let (low, high) = wilson(judged.top[0], images);
    let calibration = &judged.scores.calibration;
    let verdict = rich!(
        "**{}** of {} are classified correctly (95% interval {} to {}), {} have their class among the first five \
         answers. Macro F1 is {}.",
        percent(judged.top[0]),
        count(images, "image"),
        percent(low),
        percent(high),
        percent(judged.top[1]),
        format!("{:.3}", judged.scores.macro_f1)
    );
    let mut sections = vec![classes(judged), confusion(judged), calibration_section(judged)];
    sections.extend(mistakes(judged));
    Document {
        title: rich!("{} on {}", judged.title, judged.data),
        subtitle: rich!("Weights: {}. Data: {}.", judged.source, judged.copy),
        warning: None,
        verdict: vec![
            verdict,
            rich!(
                "Balanced accuracy {}, cross-entropy {}, calibration error {}.",
                percent(judged.scores.balanced_accuracy),
                format!("{:.4}", judged.loss),
                percent(calibration.ece)
            ),
        ],
        caveats: judged.notes.iter().map(|note| rich!("Note: {}", note)).collect(),
        sections,
    }
}

fn name(judged: &Judged<'_>, class: usize) -> String {
    judged.classes.get(class).cloned().unwrap_or_else(|| class.to_string())
}

fn share(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), percent)
}

fn classes(judged: &Judged<'_>) -> Section {
    let known: Vec<&ClassScores> =
        judged.scores.by_class.iter().filter(|class| class.images + class.answers > 0).collect();
    let table = Table::of(
        &known,
        &[
            ("Class", &|class| class.class.clone()),
            ("Images", &|class| thousands(class.images)),
            ("Answers", &|class| thousands(class.answers)),
            ("Right", &|class| thousands(class.right)),
            ("Precision", &|class| share(class.precision)),
            ("Recall", &|class| share(class.recall)),
            ("F1", &|class| class.f1.map_or("–".to_owned(), |f1| format!("{f1:.3}"))),
        ],
    );
    let text = "Precision is the share of a class's answers that are right, recall the share of its images that are \
                found, F1 their harmonic mean.";
    let mut blocks = vec![Block::Text(text.into())];
    let left_out = judged.scores.by_class.len() - known.len();
    if left_out > 0 {
        blocks.push(Block::Text(rich!("Classes with neither images nor answers are left out: {}.", left_out)));
    }
    let table = Block::Table(table);
    blocks.push(match known.len() > OPEN_CLASSES {
        true => Block::Details(rich!("All {} classes", known.len()), vec![table]),
        false => table,
    });
    Section { title: "Class by class".into(), blocks }
}

fn confusion(judged: &Judged<'_>) -> Section {
    let mut confused: Vec<(u64, usize, usize)> = Vec::new();
    for (truth, row) in judged.confusion.iter().enumerate() {
        confused.extend(row.iter().enumerate().filter(|(j, n)| *j != truth && **n > 0).map(|(j, &n)| (n, truth, j)));
    }
    confused.sort_by(|a, b| b.0.cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut blocks = Vec::new();
    if confused.is_empty() {
        blocks.push(Block::Text("No image is taken for one of another class.".into()));
    }
    if judged.classes.len() <= MATRIX_CLASSES {
        let svg = matrix(&Matrix {
            title: "Confusion matrix",
            heading: &format!("{} right", percent(judged.top[0])),
            class: &color(judged),
            names: judged.classes,
            counts: judged.confusion,
        });
        let caption = "Rows are the truth, columns the answer, in percent of the row.";
        blocks.push(Block::Plots(vec![plot("confusion", caption, svg)]));
    }
    if !confused.is_empty() {
        let listed = &confused[..confused.len().min(CONFUSED)];
        let of = |truth: usize| judged.confusion.get(truth).map_or(0, |row| row.iter().sum::<u64>()).max(1);
        let row = |&(n, truth, answer): &(u64, usize, usize)| {
            let cells = [name(judged, truth), name(judged, answer), thousands(n), percent(n as f64 / of(truth) as f64)];
            cells.map(Cell::from).into()
        };
        let head = ["Class", "Taken for", "Images", "Share of the class"].map(Inline::from).into();
        blocks.push(Block::Table(Table { head, numeric: false, rows: listed.iter().map(row).collect() }));
    }
    Section { title: "What is taken for what".into(), blocks }
}

fn calibration_section(judged: &Judged<'_>) -> Section {
    let calibration = &judged.scores.calibration;
    let filled = || calibration.bins.iter().filter(|bin| bin.images > 0);
    let columns = filled().map(|bin| {
        let shares = [bin.accuracy.unwrap_or(0.0), bin.confidence.unwrap_or(0.0)];
        Column {
            name: format!("{:.0}–{:.0}", 100.0 * bin.low, 100.0 * bin.high),
            group: None,
            shares,
            mark: None,
            hint: format!("{} images, {} right, {} sure", bin.images, percent(shares[0]), percent(shares[1])),
        }
    });
    let svg = pairs(&Pairs {
        title: "Accuracy by confidence",
        heading: "Share of right answers, by confidence (%)",
        class: &color(judged),
        kinds: ["right", "confidence"],
        columns: columns.collect(),
    });
    let table = Table::of(
        filled(),
        &[
            ("Confidence", &|bin| format!("{} to {}", percent(bin.low), percent(bin.high))),
            ("Images", &|bin| thousands(bin.images)),
            ("Mean confidence", &|bin| share(bin.confidence)),
            ("Right", &|bin| share(bin.accuracy)),
        ],
    );
    let text = rich!(
        "The expected calibration error is {}: the mean distance between how sure the answers are and how many of them \
         are right, in {} bins of confidence (Guo et al. 2017).",
        percent(calibration.ece),
        calibration.bins.len()
    );
    let caption = "Where the paler bar is the longer one, the network is surer than it should be.";
    let blocks = vec![Block::Text(text), Block::Plots(vec![plot("calibration", caption, svg)]), Block::Table(table)];
    Section { title: "How sure it is".into(), blocks }
}

fn mistakes(judged: &Judged<'_>) -> Option<Section> {
    let shown = |Mistake { picture, file }: &Mistake| {
        let (&label, &answer) = (judged.labels.get(picture.index)?, judged.predicted.get(picture.index)?);
        Some(Shown {
            index: picture.index,
            png_base64: picture.png_base64.clone(),
            file: file.clone(),
            truth: name(judged, label).into(),
            answers: vec![Answer {
                network: None,
                class: name(judged, answer).into(),
                confidence: judged.confidence.get(picture.index).copied().unwrap_or(0.0).into(),
                tally: Tally { right: 0, seeds: 1 },
            }],
        })
    };
    let pictures: Vec<Shown> = judged.mistakes.iter().filter_map(shown).collect();
    if pictures.is_empty() {
        return None;
    }
    let text = "The wrong answers that the network is surest of, as it sees the pictures: the class that they were given, \
                then what the network says. Some of them may be labeled wrongly.";
    let wrong = judged.labels.iter().zip(judged.predicted).filter(|(label, answer)| label != answer).count();
    let which = if wrong > pictures.len() { "The worst" } else { "All" };
    let title = rich!("{} {}", which, count(pictures.len() as u64, "mistake"));
    let blocks = vec![Block::Text(text.into()), Block::Gallery(vec![GalleryRow { title, pictures }])];
    Some(Section { title: "Worst mistakes".into(), blocks })
}

/// The class of the page's color.
fn color(judged: &Judged<'_>) -> String {
    Network::from(judged.arch.unwrap_or(Arch::V2)).class()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_all_parts_and_no_name_is_markup() {
        let evil = "<script>alert(1)</script>\" onload=\"x";
        let classes = [evil.to_owned(), "cat".to_owned(), "dog".to_owned()];
        let (labels, predicted, confidence) = ([0, 0, 1, 1], [0, 1, 1, 0], [0.9f32, 0.8, 0.7, 0.95]);
        let scores = Scores::count(&classes, &labels, &predicted, &confidence);
        let confusion = [vec![1, 1, 0], vec![1, 1, 0], vec![0, 0, 0]];
        let picture = Picture { index: 3, label: 1, png_base64: "AAAA".into() };
        let mistakes = [Mistake { picture, file: Some("<b>.png".into()) }];
        // Two answers are wrong.
        let judged = Judged {
            title: "MobileNetV2",
            arch: None,
            source: evil,
            data: "<img src=x onerror=alert(2)>",
            copy: evil,
            notes: &[evil.to_owned()],
            loss: 0.75,
            top: [0.5, 1.0],
            classes: &classes,
            labels: &labels,
            predicted: &predicted,
            confidence: &confidence,
            confusion: &confusion,
            scores: &scores,
            mistakes: &mistakes,
        };
        let page = judged_page(&judged);
        for part in [
            "Class by class",
            "What is taken for what",
            "How sure it is",
            "Worst mistakes",
            "data:image/png;base64,AAAA",
            "Macro F1 is 0.500",
            "Classes with neither images nor answers are left out: 1.",
            "&lt;script&gt;",
            "Note: &lt;script&gt;",
            "<small>&lt;b&gt;.png</small>",
            "95% interval",
            "The worst 1 mistake",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for part in ["<script", "<img src=x", "\" onload", "http://x", "<link", "@import"] {
            assert!(!page.contains(part), "{part}: {page}");
        }
        // Without mistakes there is nothing to show.
        let page = judged_page(&Judged { mistakes: &[], ..judged });
        assert!(!page.contains("<img"), "{page}");
    }
}
