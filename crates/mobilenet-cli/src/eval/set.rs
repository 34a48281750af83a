//! Any network on any set: nothing is stored.

use std::sync::Arc;

use anyhow::{Result, ensure};
use mobilenet_data::{Dataset, Normalization, Split};
use mobilenet_schema::{Scores, SetEval, ShippedEval};

use super::answers::Answers;
use super::classes::Places;
use super::{page, said};
use crate::args::{EvalArgs, Part};
use crate::classifier::{Classifier, Engine};
use crate::model_file;
use crate::output::{note, print, print_json};

pub fn judge(args: &EvalArgs, mut classifier: Classifier, dataset: Dataset) -> Result<()> {
    let mut notes = dataset.notes.clone();
    let (places, remark) = Places::find(classifier.classes.as_deref(), classifier.outputs, &dataset.classes)?;
    if let Some(remark) = remark {
        note(&remark);
        notes.push(remark);
    }
    if classifier.classes.is_none() {
        classifier.classes = Some(dataset.classes.clone());
    }
    let norm = classifier.normalization.unwrap_or(Normalization { mean: dataset.mean, std: dataset.std });
    let part = args.part.unwrap_or_default();
    let Dataset { name, copy, train, test, .. } = dataset;
    let parts = match part {
        Part::Test => vec![test],
        Part::Train => vec![train],
        Part::All => vec![train, test],
    };
    let parts: Vec<Arc<Split>> = limited(parts, args.limit_test).into_iter().map(Arc::new).collect();
    ensure!(parts.iter().any(|part| !part.is_empty()), "{name}: there are no images to judge on");

    let answers = Answers::of(&mut classifier, &parts, norm, &places)?;
    let classes = classifier.names();
    let scores = Scores::count(&classes, &answers.labels, &answers.predicted, &answers.confidence);
    let title = classifier.title.clone();
    let result = said::Judged { classes: &classes, answers: &answers, scores: &scores };
    let header = format!("{title} on {name} ({copy}), weights: {}\n\n", classifier.weights);
    let text = header + &said::table(&[(part_name(part), &answers)], None) + &said::scores(&result);
    if let Some(path) = &args.report {
        let data = [&format!("{name}, {}", part_name(part)), &copy];
        page::write(path, &classifier, data, &notes, &result, &parts)?;
    }
    if !args.json {
        return print(&text);
    }
    if let Engine::Runtime(session) = &classifier.engine {
        return print_json(&ShippedEval {
            shipped: model_file::shipped(&classifier.source, session.model())?,
            data: name,
            copy,
            test_images: answers.labels.len() as u64,
            test_loss: answers.loss,
            test_top1: answers.top1,
            test_top5: Some(answers.top5),
            images_per_second: answers.images_per_second,
            threads: session.threads() as u64,
            labels: answers.labels,
            predicted: answers.predicted,
            confidence: answers.confidence,
            classes,
            confusion: answers.confusion,
            scores: Some(scores),
        });
    }
    print_json(&SetEval {
        source: classifier.source,
        model: classifier.model,
        weights: classifier.weights,
        data: name,
        copy,
        part: part.name().to_owned(),
        test_images: answers.labels.len() as u64,
        test_loss: answers.loss,
        test_top1: answers.top1,
        test_top5: answers.top5,
        images_per_second: answers.images_per_second,
        scores,
        classes,
        confusion: answers.confusion,
        labels: answers.labels,
        predicted: answers.predicted,
        confidence: answers.confidence,
    })
}

/// A fair part of all images together: of each part its share.
fn limited(parts: Vec<Split>, limit: Option<usize>) -> Vec<Split> {
    let Some(limit) = limit else { return parts };
    let (mut left, mut images) = (limit, parts.iter().map(Split::len).sum::<usize>());
    let mut take = |part: Split| {
        let share = (left as u128 * part.len() as u128).div_ceil(images.max(1) as u128) as usize;
        images -= part.len();
        let part = part.take(share.min(left));
        left -= part.len();
        part
    };
    parts.into_iter().map(&mut take).filter(|part| !part.is_empty()).collect()
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Test => "test",
        Part::Train => "training",
        Part::All => "all images",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_shared_by_the_parts() {
        let split = |n: usize| Split::new(vec![0; 3 * n], vec![0; n], 1, 1).unwrap();
        let lens = |limit| limited(vec![split(30), split(10)], limit).iter().map(Split::len).collect::<Vec<_>>();
        assert_eq!((lens(Some(8)), lens(Some(100)), lens(None)), (vec![6, 2], vec![30, 10], vec![30, 10]));
        assert_eq!(lens(Some(1)), [1]);
    }
}
