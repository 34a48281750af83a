//! Training learns, and evaluation counts right.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::common::{CLASSES, Mlp, SIZE, config, data};
use candle_core::{DType, Device, Tensor};
use candle_nn::{Module, ModuleT, VarMap, func_t, linear};
use mobilenet_data::{Augment, BatchConfig, Mix, Normalization, Split, batches};
use mobilenet_layers::{DropoutRng, seeded_var_builder};
use mobilenet_train::{
    EpochMetrics, Error, EvalSplit, LowResolution, LrFactor, MirrorAveraged, Observer, OptimizerConfig, RunOptions,
    Schedule, SgdConfig, StepReport, TrainConfig, Trainer, Variables, evaluate,
};

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

/// Without batch norm and dropout, four batches of 4 are one of 16.
#[test]
fn gradients_of_several_batches_are_those_of_a_large_one() {
    // 3 updates of 16 images and one of 3.
    let data = data(51, 20, EvalSplit::Test);
    let weights = |batch_size, accumulate| {
        let vars = VarMap::new();
        let vb = seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu);
        let layer = linear(3 * SIZE * SIZE, CLASSES, vb).unwrap();
        let model = func_t(move |xs: &Tensor, _| layer.forward(&xs.contiguous()?.flatten_from(1)?));
        let config =
            TrainConfig { batch_size, accumulate, schedule: Schedule::Constant, warmup_epochs: 0.0, ..config() };
        let trainer = Trainer::new(&model, &vars, DropoutRng::new(), config, &Device::Cpu).unwrap();
        let folder = tempfile::tempdir().unwrap();
        trainer.fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
        let vars = vars.data().lock().unwrap();
        vars["weight"].flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (large, small, other) = (weights(16, 1), weights(4, 4), weights(4, 1));
    let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(distance(&large, &small) < 1e-5, "{}", distance(&large, &small));
    assert!(distance(&large, &other) > 1e-3, "{}", distance(&large, &other));
}

/// The run ends with the average of the weights after each update, and that is what its metrics are of.
#[test]
fn the_average_is_what_is_kept() {
    let data = data(48, 20, EvalSplit::Test);
    let run = |ema, epochs| {
        let model = Mlp::new(8, 5);
        let folder = tempfile::tempdir().unwrap();
        let config = TrainConfig { epochs, ema, schedule: Schedule::Constant, warmup_epochs: 0.0, ..config() };
        let outcome = model.trainer(config).fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
        let evaluation =
            evaluate(&model, &data.eval, data.normalization, 16, &Device::Cpu, &mut |_, _| ControlFlow::Continue(()));
        assert_eq!(evaluation.unwrap().loss, outcome.history.last().unwrap().eval.loss());
        model.bits()
    };
    // A decay of 0 is no average at all; at nearly 1 it stays at the first update.
    assert_eq!(run(Some(0.0), 2), run(None, 2));
    assert_ne!(run(Some(0.9), 2), run(None, 2));
}

/// Of the average's own activations, over the first batches of each epoch as they are augmented, but not mixed.
#[test]
fn statistics_are_those_of_the_weights_that_are_judged() {
    let data = data(48, 20, EvalSplit::Test);
    let run = |precise_bn, mix| {
        let model = Mlp::new(8, 5);
        let statistics = model.of_last_batch(8);
        let augment = Augment { mix, random_erasing: 0.5, ..config().augment };
        let config = TrainConfig { epochs: 2, ema: Some(0.9), precise_bn, augment, ..config() };
        let folder = tempfile::tempdir().unwrap();
        let trainer = model.trainer(config.clone()).with_statistics(&statistics);
        let outcome = trainer.fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
        let found = norms(&model);

        let augment = Augment { random_erasing: 0.0, mix: Mix::None, ..augment };
        let order = BatchConfig { augment, drop_last: false, ..BatchConfig::train(16, config.seed, 2) };
        let mut expected = vec![0.0; found.len()];
        for batch in batches(Arc::clone(&data.train), data.normalization, &order, &Device::Cpu).take(2) {
            statistics.forward_t(&batch.unwrap().images, true).unwrap();
            expected.iter_mut().zip(norms(&model)).for_each(|(sum, x)| *sum += x / 2.0);
        }
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        (apart, outcome.history[1].eval.loss())
    };
    for mix in [Mix::None, Mix::MixUp { alpha: 1.0 }] {
        let ((apart, loss), (apart_before, loss_before)) = (run(Some(2), mix), run(None, mix));
        assert!(apart < 1e-6 && apart_before > 1e-2, "{apart} {apart_before}");
        assert_ne!(loss, loss_before);
    }
}

/// Batch norm's running mean and variance.
fn norms(model: &Mlp) -> Vec<f32> {
    let vars = model.vars.data().lock().unwrap();
    ["norm.running_mean", "norm.running_var"].iter().flat_map(|name| vars[*name].to_vec1::<f32>().unwrap()).collect()
}

#[test]
fn a_run_that_gets_no_better_ends_early() {
    let data = data(51, 40, EvalSplit::Validation);
    let sgd = SgdConfig { lr: 2.0, momentum: 0.0, nesterov: false, ..Default::default() };
    let run = |early_stop| {
        let model = Mlp::new(8, 5);
        let folder = tempfile::tempdir().unwrap();
        let config = TrainConfig { epochs: 30, optimizer: OptimizerConfig::Sgd(sgd), early_stop, ..config() };
        model.trainer(config).fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap()
    };
    let whole = run(None).history;
    for patience in [1, 3] {
        let stopped = run(Some(patience));
        let (epochs, best) = (stopped.history.len(), stopped.best.unwrap());
        assert!(epochs < 30, "the case must stall");
        assert_eq!(epochs, best.epoch + patience);
        let top1 = |history: &[EpochMetrics]| history.iter().map(|m| m.eval.top1()).collect::<Vec<_>>();
        assert_eq!(top1(&stopped.history), top1(&whole[..epochs]));
    }
}

#[test]
fn some_variables_learn_at_their_own_rate() {
    let data = data(48, 20, EvalSplit::Test);
    let start = Mlp::new(8, 5).bits();
    let after = |lr_factors| {
        let model = Mlp::new(8, 5);
        let folder = tempfile::tempdir().unwrap();
        let config = TrainConfig { epochs: 1, lr_factors, ..config() };
        model.trainer(config).fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
        model.bits()
    };
    let moved = |lr_factors| {
        let names = after(lr_factors).into_iter().zip(&start).filter(|(now, then)| now != *then);
        names.map(|((name, _), _)| name).filter(|name| !name.contains("running")).collect::<Vec<_>>()
    };
    let all = ["hidden.weight", "norm.bias", "norm.weight", "out.bias", "out.weight"];
    let still = |variables| vec![LrFactor { variables, factor: 0.0 }];
    assert_eq!(moved(Vec::new()), all);
    assert_eq!(moved(still(Variables::Below("out".into()))), all[..3]);
    assert_eq!(moved(still(Variables::Below("o".into()))), all);
    assert_eq!(moved(still(Variables::Biases)), ["hidden.weight", "norm.weight", "out.weight"]);
}

/// Logits of an image and of its mirror image, averaged.
#[test]
fn mirrored_answers_are_averaged() {
    let model = func_t(|xs: &Tensor, _| xs.narrow(3, 0, 1)?.flatten_from(1));
    let xs = Tensor::new(&[[[[1f32, 2.0, 7.0]], [[4.0, 5.0, 6.0]]]], &Device::Cpu).unwrap();
    let both = MirrorAveraged(&model).forward_t(&xs, false).unwrap();
    assert_eq!(both.to_vec2::<f32>().unwrap(), [[4.0, 5.0]]);
}

#[test]
fn the_first_epochs_see_smaller_images() {
    let sizes = |epochs, share| {
        let config = TrainConfig { epochs, low_resolution: Some(LowResolution { share, size: 24 }), ..config() };
        (1..=epochs).map(|epoch| config.image_size(epoch).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(sizes(3, 1.0 / 3.0), [true, false, false]);
    assert_eq!(sizes(2, 0.5), [true, false]);
    assert_eq!(sizes(1, 0.25), [false]);
    assert_eq!(sizes(2, 1.0), [true, true]);
    assert_eq!(config().image_size(1), None);
}
