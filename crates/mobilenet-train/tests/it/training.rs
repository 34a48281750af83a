//! Training learns, and evaluation counts right.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::{Mlp, config, data};
use candle_core::{Device, Tensor};
use candle_nn::func_t;
use mobilenet_data::{Normalization, Split};
use mobilenet_train::{EpochMetrics, Error, EvalSplit, Observer, RunOptions, StepReport, evaluate};

#[derive(Default)]
struct Record {
    steps: Vec<StepReport>,
    evaluated: Vec<(usize, usize)>,
    epochs: Vec<EpochMetrics>,
}

impl Observer for Record {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.steps.push(*report);
        ControlFlow::Continue(())
    }

    fn on_evaluation(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.evaluated.push((done, total));
        ControlFlow::Continue(())
    }

    fn on_epoch(&mut self, metrics: &EpochMetrics) -> ControlFlow<()> {
        self.epochs.push(metrics.clone());
        ControlFlow::Continue(())
    }
}

#[test]
fn learns_and_reports() {
    let data = data(96, 30, EvalSplit::Test);
    let model = Mlp::new(16, 1);
    let folder = tempfile::tempdir().unwrap();
    let mut record = Record::default();
    let mut config = config();
    config.epochs = 6;
    config.optimizer =
        mobilenet_train::OptimizerConfig::AdamW(mobilenet_train::AdamWConfig { lr: 0.01, ..Default::default() });
    let outcome = model.trainer(config.clone()).fit(&data, folder.path(), &RunOptions::default(), &mut record).unwrap();

    let (first, last) = (&outcome.history[0], &outcome.history[5]);
    assert!(last.eval.top1() > 0.9, "{last:?}");
    assert!(last.train_loss < 0.8 * first.train_loss, "{first:?} {last:?}");
    assert!(last.elapsed_seconds >= 6.0 * 1e-9 && last.images_per_second > 0.0 && last.eval.top5() == 1.0);
    assert_eq!(outcome.history, record.epochs);
    assert_eq!(outcome.best, None);

    assert_eq!(record.steps.len(), 36);
    assert_eq!(record.evaluated[..2], [(16, 30), (30, 30)]);
    for (i, report) in record.steps.iter().enumerate() {
        assert_eq!((report.epoch, report.step, report.epochs, report.steps), (i / 6 + 1, i % 6 + 1, 6, 6));
        assert_eq!(report.lr, config.lr(i, 6));
    }
    let mean = record.steps[..6].iter().map(|r| r.loss).sum::<f64>() / 6.0;
    assert!((mean - first.train_loss).abs() < 1e-12);
    assert_eq!(record.steps[5].mean_top1, first.train_top1);

    // The last line is what evaluating the final weights gives.
    let again =
        evaluate(&model, &data.eval, data.normalization, 7, &Device::Cpu, &mut |_, _| ControlFlow::Continue(()))
            .unwrap();
    assert_eq!(again.top1, last.eval.top1());
    assert!((again.loss - last.eval.loss()).abs() < 1e-6);
}

#[test]
fn same_seed_same_bits_and_another_seed_others() {
    let data = data(51, 20, EvalSplit::Test);
    let run = |seed| {
        let model = Mlp::new(8, 1);
        let folder = tempfile::tempdir().unwrap();
        let config = mobilenet_train::TrainConfig { epochs: 1, seed, ..config() };
        model.trainer(config).fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
        model.bits()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn validation_ends_in_the_best_epochs_weights() {
    let data = data(51, 40, EvalSplit::Validation);
    let model = Mlp::new(8, 5);
    let folder = tempfile::tempdir().unwrap();
    let sgd = mobilenet_train::SgdConfig { lr: 2.0, momentum: 0.0, nesterov: false, ..Default::default() };
    let mut config = config();
    (config.epochs, config.optimizer) = (5, mobilenet_train::OptimizerConfig::Sgd(sgd));
    let outcome = model.trainer(config).fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
    let best = outcome.best.unwrap();
    let top1s: Vec<_> = outcome.history.iter().map(|m| m.eval.top1()).collect();
    assert_eq!(best.top1, top1s.iter().copied().fold(0.0, f64::max), "{top1s:?}");
    assert!(best.epoch < 5, "the case must have its best epoch before the last: {top1s:?}");
    let again =
        evaluate(&model, &data.eval, data.normalization, 16, &Device::Cpu, &mut |_, _| ControlFlow::Continue(()))
            .unwrap();
    assert_eq!((again.top1, again.loss), (best.top1, best.loss));
    let lines = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    assert!(lines.contains("\"valid_top1\":") && !lines.contains("test_"), "{lines}");
}

/// A model whose logits are the first pixel's channels, over pictures made so that every answer is known.
#[test]
fn evaluation_counts() {
    let pixels = [[9, 1, 0], [0, 9, 1], [1, 9, 0], [5, 5, 0], [0, 0, 3]].concat();
    let split = Arc::new(Split::new(pixels, vec![0, 1, 0, 1, 2], 1, 1).unwrap());
    let norm = Normalization { mean: [0.0; 3], std: [1.0 / 255.0; 3] };
    let model = func_t(|xs: &Tensor, train| {
        assert!(!train);
        xs.flatten_from(1)
    });
    let mut calls = Vec::new();
    let mut progress = |done, total| {
        calls.push((done, total));
        ControlFlow::Continue(())
    };
    let e = evaluate(&model, &split, norm, 2, &Device::Cpu, &mut progress).unwrap();
    assert_eq!(calls, [(2, 5), (4, 5), (5, 5)]);
    assert_eq!(e.labels, [0, 1, 0, 1, 2]);
    assert_eq!(e.predicted, [0, 1, 1, 0, 2]);
    assert_eq!(e.confusion, [[1, 1, 0], [1, 1, 0], [0, 0, 1]]);
    assert_eq!((e.top1, e.top5), (0.6, 1.0));
    let softmax = |x: f64, row: [f64; 3]| x.exp() / row.iter().map(|v| v.exp()).sum::<f64>();
    let expected = [
        softmax(9.0, [9.0, 1.0, 0.0]),
        softmax(9.0, [0.0, 9.0, 1.0]),
        softmax(1.0, [1.0, 9.0, 0.0]),
        softmax(5.0, [5.0, 5.0, 0.0]),
        softmax(3.0, [0.0, 0.0, 3.0]),
    ];
    let loss = expected.iter().map(|p| -p.ln()).sum::<f64>() / 5.0;
    assert!((e.loss - loss).abs() < 1e-5, "{} {loss}", e.loss);
    assert!((f64::from(e.confidence[0]) - expected[0]).abs() < 1e-6);

    let stopped = evaluate(&model, &split, norm, 2, &Device::Cpu, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::EvaluationStopped)));
}
