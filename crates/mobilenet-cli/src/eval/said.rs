//! The answers as lines.

use mobilenet_schema::{ClassScores, Scores};

use super::answers::Answers;
use crate::progress::percent;

/// With more classes, only the worst of them are listed: all are in the JSON and in the report.
const MOST_CLASSES: usize = 20;
/// How many of the worst.
const WORST: usize = 10;

/// A network's answers and what is counted from them.
pub struct Judged<'a> {
    pub classes: &'a [String],
    pub answers: &'a Answers,
    pub scores: &'a Scores,
}

/// Images, accuracies and loss, a line for each part.
pub fn table(parts: &[(&str, &Answers)], mirrored: Option<f64>) -> String {
    let mut text = "                 images     top-1     top-5   loss\n".to_owned();
    for (at, (what, answers)) in parts.iter().enumerate() {
        let (top1, top5) = (percent(answers.top1), percent(answers.top5));
        text += &format!("{what:<16} {:>6}   {top1:>7}   {top5:>7}   {:.4}\n", answers.labels.len(), answers.loss);
        if let Some(mirrored) = mirrored.filter(|_| at == 0) {
            text += &format!("  and mirrored           {:>7}\n", percent(mirrored));
        }
    }
    text
}

/// What is counted from the answers.
pub fn scores(judged: &Judged<'_>) -> String {
    let Scores { balanced_accuracy, macro_f1, calibration, .. } = judged.scores;
    let sure: f64 = judged.answers.confidence.iter().map(|&p| f64::from(p)).sum();
    let images = judged.answers.confidence.len().max(1) as f64;
    format!(
        "\nmacro F1 {macro_f1:.3}, balanced accuracy {}\n\
         calibration error (ECE) {}: {} sure on average, {} right\n",
        percent(*balanced_accuracy),
        percent(calibration.ece),
        percent(sure / images),
        percent(judged.answers.top1)
    ) + &by_class(judged)
}

/// Precision, recall and F1 of each class, and what it is most often taken for.
fn by_class(judged: &Judged<'_>) -> String {
    let mut classes: Vec<(usize, &ClassScores)> =
        judged.scores.by_class.iter().enumerate().filter(|(_, class)| class.images + class.answers > 0).collect();
    let mut title = "class by class".to_owned();
    if classes.len() > MOST_CLASSES {
        classes.sort_by(|(_, a), (_, b)| a.f1.unwrap_or(0.0).total_cmp(&b.f1.unwrap_or(0.0)));
        classes.truncate(WORST);
        title = format!("the {WORST} classes with the lowest F1 (--json and --report have all)");
    }
    let width = classes.iter().map(|(_, class)| class.class.chars().count()).max().unwrap_or(0);
    let mut text = format!("\n{title}:\n  {:<width$}   images   precision    recall      F1\n", "");
    for (place, class) in classes {
        let share = |value: Option<f64>| value.map_or("-".to_owned(), percent);
        let f1 = class.f1.map_or("-".to_owned(), |f1| format!("{f1:.3}"));
        text += &format!(
            "  {:<width$}   {:>6}   {:>9}   {:>7}   {f1:>5}{}\n",
            class.class,
            class.images,
            share(class.precision),
            share(class.recall),
            mistaken(judged, place, class).unwrap_or_default()
        );
    }
    text
}

fn mistaken(judged: &Judged<'_>, truth: usize, class: &ClassScores) -> Option<String> {
    let row = judged.answers.confusion.get(truth)?;
    let answer =
        (0..row.len()).filter(|&answer| answer != truth && row[answer] > 0).max_by_key(|&answer| row[answer])?;
    let share = percent(row[answer] as f64 / class.images.max(1) as f64);
    Some(format!("   most often taken for {} ({share})", judged.classes.get(answer)?))
}
