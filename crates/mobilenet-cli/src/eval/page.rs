//! `--report`: a page with all that was found.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use mobilenet_data::Split;
use mobilenet_report::{Mistake, judged_page};
use mobilenet_schema::{Picture, worst_mistakes};

use super::said::Judged;
use crate::classifier::Classifier;
use crate::data::png_base64;
use crate::output::{self, note};

/// The worst mistakes that are shown.
const SHOWN: usize = 24;

/// Writes the page; `data` names the set and its copy, `parts` are the images in the order of the answers.
pub fn write(
    path: &Path,
    classifier: &Classifier,
    [data, copy]: [&String; 2],
    notes: &[String],
    judged: &Judged<'_>,
    parts: &[Arc<Split>],
) -> Result<()> {
    let answers = judged.answers;
    let mut mistakes = Vec::new();
    for index in worst_mistakes(&answers.labels, &answers.predicted, &answers.confidence, SHOWN) {
        if let Some((split, at)) = place(parts, index) {
            let png_base64 = png_base64(&split.picture(at)?, split.height(), split.width())?;
            let label = answers.labels.get(index).map_or(0, |&label| label as u32);
            // Of the path, which may name people and machines, the last word.
            let file = split.file(at).and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
            mistakes.push(Mistake { picture: Picture { index, label, png_base64 }, file });
        }
    }
    let page = judged_page(&mobilenet_report::Judged {
        title: &classifier.title,
        arch: classifier.arch,
        source: &format!("{} ({})", classifier.source.display(), classifier.weights),
        data,
        copy,
        notes,
        loss: answers.loss,
        top: [answers.top1, answers.top5],
        classes: judged.classes,
        labels: &answers.labels,
        predicted: &answers.predicted,
        confidence: &answers.confidence,
        confusion: &answers.confusion,
        scores: judged.scores,
        mistakes: &mistakes,
    });
    output::write(path, &page)?;
    note(&format!("report: {}", path.display()));
    Ok(())
}

/// The part that an image is in, and where.
fn place(parts: &[Arc<Split>], mut index: usize) -> Option<(&Split, usize)> {
    for part in parts {
        if index < part.len() {
            return Some((part, index));
        }
        index -= part.len();
    }
    None
}
