//! A run on its own images: its `eval.json`.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::{Result, bail};
use candle_nn::ModuleT;
use mobilenet_data::{Dataset, Split};
use mobilenet_schema::{Eval, RunConfig, Scores, to_pretty_json_with_short_arrays};
use mobilenet_train::{Evaluation, MirrorAveraged, evaluate};

use super::answers::Answers;
use super::{page, said};
use crate::args::EvalArgs;
use crate::classifier::{Classifier, Engine};
use crate::output::{print, print_json, write};
use crate::progress::Progress;
use crate::run::{self, EVAL_FILE};

/// Most training images that are evaluated.
const MAX_TRAIN_IMAGES: usize = 10_000;

pub fn judge(args: &EvalArgs, classifier: &Classifier, config: &RunConfig, dataset: Dataset) -> Result<()> {
    let Engine::Candle { model, device } = &classifier.engine else { bail!("a run's network is Candle's") };
    let model = model.as_ref();
    let mut config = config.clone();
    let notes = dataset.notes.clone();
    let data = run::cut(&mut config.data, dataset, config.train.config.seed)?;
    let set = &config.data;

    let mut progress = Progress::new();
    let mut on = |model: &dyn ModuleT, split: &Arc<Split>, what: &str| -> Result<Evaluation> {
        let mut shown = |done: usize, total: usize| {
            progress.at(done as u64, total as u64, || format!("{done} of {total} {what} images evaluated"));
            ControlFlow::Continue(())
        };
        // The batch size of the training, so that the test figures repeat its last epoch's to the last digit.
        let batch_size = config.train.config.batch_size;
        Ok(evaluate(model, split, run::normalization(set), batch_size, device, &mut shown)?)
    };
    let test_images = Arc::new(data.test);
    let test = answers(on(model, &test_images, "test")?);
    let mirrored = on(&MirrorAveraged(model), &test_images, "mirrored test")?;
    let plain = answers(on(model, &Arc::new(data.train.take(MAX_TRAIN_IMAGES)), "training")?);
    progress.finish();

    let scores = Scores::count(&set.classes, &test.labels, &test.predicted, &test.confidence);
    let result = said::Judged { classes: &set.classes, answers: &test, scores: &scores };
    let text = format!("{} on {} ({}), weights: {}\n\n", classifier.title, set.name, set.copy, classifier.weights)
        + &said::table(&[("test", &test), ("training, plain", &plain)], Some(mirrored.top1))
        + &said::scores(&result);
    if let Some(path) = &args.report {
        let data = [&format!("{}, test", set.name), &set.copy];
        page::write(path, classifier, data, &notes, &result, &[test_images])?;
    }
    let report = Eval {
        run: classifier.source.clone(),
        model: classifier.model.clone(),
        data: set.name.clone(),
        copy: set.copy.clone(),
        test_images: test.labels.len() as u64,
        test_loss: test.loss,
        test_top1: test.top1,
        test_top5: test.top5,
        test_top1_mirrored: Some(mirrored.top1),
        train_images: plain.labels.len() as u64,
        train_loss: plain.loss,
        train_top1: plain.top1,
        train_top5: plain.top5,
        classes: set.classes.clone(),
        confusion: test.confusion,
        labels: test.labels,
        predicted: test.predicted,
        confidence: test.confidence,
        images_per_second: test.images_per_second,
        weights: classifier.weights.clone(),
        scores: Some(scores),
    };
    write(&classifier.source.join(EVAL_FILE), &to_pretty_json_with_short_arrays(&report)?)?;
    if args.json { print_json(&report) } else { print(&text) }
}

fn answers(found: Evaluation) -> Answers {
    let classes = |of: Vec<u32>| of.into_iter().map(|class| class as usize).collect();
    Answers {
        labels: classes(found.labels),
        predicted: classes(found.predicted),
        confidence: found.confidence,
        confusion: found.confusion.into_iter().map(|row| row.into_iter().map(u64::from).collect()).collect(),
        loss: found.loss,
        top1: found.top1,
        top5: found.top5,
        images_per_second: found.images_per_second,
    }
}
