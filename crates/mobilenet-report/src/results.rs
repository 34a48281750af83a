//! `results.json`: the figures, for programs.

use std::collections::BTreeMap;

use mobilenet_schema::{
    AdviceResult, AdvisedTraining, ClassCounts, Comparison, DataInfo, Estimate, NetworkResult, PairResult, Results,
    ResultsData, RunResult, RunsResults, SeedsResult, ShippedResult, TrainingResult,
};

use crate::agreement::Agreement;
use crate::audit::Claim;
use crate::document::{Document, Inline};
use crate::gather::{Gathered, Model, Pair, ShippedForm, Tried};
use crate::runs::{Runs, Training};
use crate::{content, stats};

/// Those of a comparison.
pub fn of_comparison(gathered: &Gathered, claims: &[Claim], document: &Document, created: &str) -> Results {
    let settings = &gathered.settings;
    let sizes = gathered.sizes();
    let pairs: Vec<_> = gathered.comparisons.iter().filter_map(pair).collect();
    let DataInfo { name, copy, classes, train_images, test_images, fallback, .. } = gathered.data.clone();
    Results {
        title: document.title.plain(),
        created: created.to_owned(),
        profile: Some(settings.profile),
        settings: settings.clone(),
        share_of_article: gathered.share_of_article(),
        warning: document.warning.as_ref().map(Inline::source),
        verdict: document.verdict.iter().map(Inline::source).collect(),
        caveats: document.caveats.iter().map(Inline::source).collect(),
        notes: gathered.notes.clone(),
        data: ResultsData {
            name,
            copy,
            fallback,
            classes,
            train_images,
            test_images,
            train_images_used: sizes.train,
            test_images_used: sizes.test,
        },
        environment: gathered.environment.clone(),
        commands: gathered.commands.clone(),
        origins: gathered.origins.clone(),
        models: gathered.models.iter().map(model).collect(),
        roofline: gathered.roofline.clone(),
        difference: pairs.first().cloned(),
        pairs,
        disagreement: disagreement(gathered),
        advice: gathered.tried.as_ref().map(tried),
        claims: claims.iter().map(Claim::result).collect(),
        against: None,
    }
}

/// Two networks against each other; the first of these is the verdict's.
fn pair(pair: &Pair) -> Option<PairResult> {
    let found = pair.comparison.as_ref()?;
    Some(PairResult {
        first: pair.first.network,
        second: pair.second.network,
        variants: pair.first.variant().zip(pair.second.variant()).map(|(a, b)| (a.to_owned(), b.to_owned())),
        test_top1: found.difference,
        seeds: found.seeds,
        interval: found.interval(),
        p_value: found.p_value(),
        test: found.test(),
        within_noise: found.is_noise(),
        welch: found.welch.clone(),
        mcnemar: found.mcnemar.clone(),
        bootstrap: found.bootstrap.clone(),
    })
}

/// By class on how many images only one of the verdict's networks is right in all its seeds.
fn disagreement(gathered: &Gathered) -> Option<Vec<ClassCounts>> {
    let (first, second) = gathered.pair()?;
    Some(Agreement::new(&first.evals_beside(second), Some(&second.evals_beside(first)))?.by_class())
}

fn model(model: &Model) -> NetworkResult {
    let runs = model.runs.iter().map(|run| RunResult {
        seed: run.seed,
        run: run.name.clone(),
        epochs: run.record.epochs,
        test_top1: run.eval.test_top1,
        test_top5: run.eval.test_top5,
        test_loss: run.eval.test_loss,
        train_top1: run.eval.train_top1,
        seconds: run.record.seconds,
        seconds_per_epoch: run.seconds_per_epoch(),
        images_per_second: run.images_per_second(),
        peak_rss_bytes: run.record.peak_rss_bytes,
        weights: run.record.weights.clone(),
        processor: run.processor.clone(),
    });
    let bench = model.bench.as_ref();
    NetworkResult {
        model: model.network(),
        label: Some(model.network().label()),
        arch: Some(model.network().arch),
        width_mult: Some(model.network().width.factor()),
        epochs: model.runs.iter().map(|run| run.record.epochs).min(),
        params: model.params,
        macs: model.macs,
        test_top1: model.test_top1(),
        figures: figures(model),
        test_top1_deviation: (model.runs.len() > 1).then(|| model.deviation(|run| run.eval.test_top1)),
        test_top1_interval: Some(stats::wilson(model.test_top1(), model.runs[0].eval.test_images).into()),
        runs: runs.collect(),
        latency_ms: bench.map(|b| b.latency_ms),
        latency_rounds_ms: model.rounds.clone(),
        threads: bench.and_then(|b| b.threads),
        processor: bench.map(|b| b.environment.computed_on().to_owned()),
        images_per_second: bench.map(|b| b.images_per_second),
        throughput: bench.map(|b| b.throughput.clone()),
        peak_rss_bytes: bench.and_then(|b| b.peak_rss_bytes),
        blocks: model.blocks.clone(),
        training_images_per_second: model.training_speed(),
        shipped: model.shipped.iter().map(shipped).collect(),
    }
}

/// A network in one form.
fn shipped(shipped: &ShippedForm) -> ShippedResult {
    let (eval, bench, beside) = (&shipped.eval, shipped.bench.as_ref(), shipped.beside_float32.as_ref());
    ShippedResult {
        form: shipped.form,
        changes: eval.shipped.changes.clone(),
        bytes: eval.shipped.bytes,
        test_images: eval.test_images,
        test_top1: eval.test_top1,
        test_top1_interval: stats::wilson(eval.test_top1, eval.test_images).into(),
        difference: beside.map(|found| found.difference),
        interval: beside.and_then(Comparison::interval),
        mcnemar: beside.and_then(|found| found.mcnemar.first().cloned()),
        images_per_second: eval.images_per_second,
        latency_ms: bench.map(|bench| bench.latency_ms),
        latency_rounds_ms: shipped.rounds.clone(),
        peak_rss_bytes: bench.and_then(|bench| bench.peak_rss_bytes),
        threads: bench.map(|bench| bench.threads),
        processor: bench.map(|bench| bench.environment.processor.clone()),
        instructions: bench.map(|bench| bench.instructions.clone()),
    }
}

/// A network with and without advice.
fn tried(tried: &Tried) -> AdviceResult {
    let trainings = tried.twins().map(|twin| {
        let beside = twin.beside_plain.as_ref();
        AdvisedTraining {
            advice: twin.advice.name().to_owned(),
            test_top1: twin.eval.test_top1,
            test_loss: twin.eval.test_loss,
            train_top1: twin.eval.train_top1,
            difference: beside.map(|found| found.difference),
            interval: beside.and_then(Comparison::interval),
            mcnemar: beside.and_then(|found| found.mcnemar.first().cloned()),
        }
    });
    let plain = &tried.plain.training;
    AdviceResult {
        network: plain.network(),
        seed: plain.seed,
        epochs: plain.record.epochs,
        teacher: tried.teacher.as_ref().map(Inline::plain),
        trainings: trainings.collect(),
    }
}

/// Those of single runs.
pub fn of_runs(runs: &Runs, document: &Document, created: &str) -> RunsResults {
    RunsResults {
        title: document.title.plain(),
        created: created.to_owned(),
        warning: document.warning.as_ref().map(Inline::source),
        verdict: document.verdict.iter().map(Inline::source).collect(),
        notes: runs.notes.clone(),
        origins: runs.trainings.iter().map(|training| training.origin.clone()).collect(),
        trainings: runs.trainings.iter().map(training).collect(),
        models: runs.models.iter().map(seeds).collect(),
        pairs: runs.pairs.iter().filter_map(pair).collect(),
    }
}

/// One run of [`of_runs`], evaluated or not.
fn training(training: &Training) -> TrainingResult {
    let (record, eval) = (&training.record, training.eval.as_ref());
    TrainingResult {
        run: training.name.clone(),
        model: training.network(),
        seed: training.seed,
        epochs: record.epochs,
        test_top1: eval.map(|eval| eval.test_top1),
        test_top5: eval.map(|eval| eval.test_top5),
        test_loss: eval.map(|eval| eval.test_loss),
        train_top1: eval.map(|eval| eval.train_top1),
        seconds: record.seconds,
        images_per_second: record.images_per_second,
        peak_rss_bytes: record.peak_rss_bytes,
        weights: record.weights.clone(),
    }
}

/// A network of [`of_runs`] over its evaluated seeds.
fn seeds(model: &Model) -> SeedsResult {
    SeedsResult {
        model: model.network(),
        label: model.subject.label(),
        seeds: model.runs.iter().map(|run| run.seed).collect(),
        test_top1: model.test_top1(),
        figures: figures(model),
    }
}

/// The estimates over the seeds by name.
fn figures(model: &Model) -> BTreeMap<String, Estimate> {
    content::figures(model).into_iter().map(|(key, estimate)| (key.to_owned(), estimate)).collect()
}
