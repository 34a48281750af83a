//! A run that is cut off anywhere and resumed ends as one that is not: the same bits, the same metrics.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use crate::common::{Mlp, StopAfter, config, data};
use mobilenet_train::{
    AdamWConfig, CHECKPOINT_FILE, EpochMetrics, Error, EvalSplit, FitData, METRICS_FILE, MuonConfig, Observer,
    OptimizerConfig, Outcome, RunOptions, SgdConfig, TrainConfig,
};

/// 51 images in batches of 16: 3 full ones and one of 3.
const STEPS: usize = 4;

fn metrics(folder: &Path) -> Vec<EpochMetrics> {
    let text = std::fs::read_to_string(folder.join(METRICS_FILE)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn without_times(mut metrics: Vec<EpochMetrics>) -> Vec<EpochMetrics> {
    for m in &mut metrics {
        (m.images_per_second, m.seconds, m.eval_seconds, m.elapsed_seconds) = (0.0, 0.0, 0.0, 0.0);
    }
    metrics
}

/// With a second model of the same variables, for the settings that take statistics with it.
fn fit(
    model: &Mlp,
    config: &TrainConfig,
    data: &FitData,
    folder: &Path,
    options: &RunOptions,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let statistics = model.of_last_batch(8);
    model.trainer(config.clone()).with_statistics(&statistics).fit(data, folder, options, observer)
}

/// Trains without a stop; then with stops after each number of steps in `stops`, resumed by a new model each time.
fn check(config: &TrainConfig, eval_split: EvalSplit, interval: Duration, stops: &[usize]) {
    let data = data(51, 20, eval_split);
    let whole = tempfile::tempdir().unwrap();
    let expected = Mlp::new(8, 5);
    let fit = |model: &Mlp, folder: &Path, options: &RunOptions, observer: &mut dyn Observer| {
        fit(model, config, &data, folder, options, observer)
    };
    let outcome = fit(&expected, whole.path(), &RunOptions::default(), &mut ()).unwrap();
    assert_eq!(outcome.history, metrics(whole.path()));
    assert_eq!(outcome.history.len(), config.epochs);

    let cut = tempfile::tempdir().unwrap();
    let options = |resume| RunOptions { resume, checkpoint_interval: interval, ..RunOptions::default() };
    for (i, &steps) in stops.iter().enumerate() {
        // The seed of the initial weights is another: they must come from the checkpoint.
        let model = Mlp::new(8, if i == 0 { 5 } else { 99 });
        let result = fit(&model, cut.path(), &options(i > 0), &mut StopAfter(steps));
        assert!(matches!(result, Err(Error::Stopped { .. })), "{result:?}");
    }
    let model = Mlp::new(8, 99);
    let resumed = fit(&model, cut.path(), &options(true), &mut ()).unwrap();
    assert_eq!(model.bits(), expected.bits());
    assert_eq!(without_times(metrics(cut.path())), without_times(outcome.history));
    assert_eq!(resumed.best, outcome.best);

    // A finished run only loads its weights.
    let again = Mlp::new(8, 99);
    let loaded = fit(&again, cut.path(), &options(true), &mut StopAfter(1)).unwrap();
    assert_eq!(again.bits(), expected.bits());
    assert_eq!(loaded, resumed);
}

fn adamw() -> TrainConfig {
    let adamw = AdamWConfig { lr: 0.01, decay_norm_and_bias: false, ..AdamWConfig::default() };
    TrainConfig { optimizer: OptimizerConfig::AdamW(adamw), ..config() }
}

const NEVER: Duration = Duration::MAX;

#[test]
fn adamw_from_the_last_epoch() {
    check(&adamw(), EvalSplit::Test, NEVER, &[STEPS + 2]);
}

#[test]
fn sgd_from_the_last_epoch() {
    let sgd = OptimizerConfig::Sgd(SgdConfig { lr: 0.05, ..SgdConfig::default() });
    check(&TrainConfig { optimizer: sgd, ..config() }, EvalSplit::Test, NEVER, &[STEPS + 3, 1, STEPS]);
}

/// Whose matrix and other variables have states of different kinds.
#[test]
fn muon_from_within_an_epoch() {
    let muon = TrainConfig { optimizer: OptimizerConfig::Muon(MuonConfig::default()), ..config() };
    check(&muon, EvalSplit::Test, Duration::ZERO, &[1, 2, STEPS + 1, 1]);
}

/// Checkpoints after every step: cut off within an epoch, also before its first and after its last step.
#[test]
fn adamw_from_within_an_epoch() {
    check(&adamw(), EvalSplit::Test, Duration::ZERO, &[1, 2, STEPS + 1, 1]);
    check(&adamw(), EvalSplit::Test, Duration::ZERO, &[STEPS, 3]);
}

/// An average of the weights is state too, and an update of several batches is saved whole or not at all.
#[test]
fn with_an_average_and_gradients_of_several_batches() {
    let config = TrainConfig { ema: Some(0.9), accumulate: 3, ..adamw() };
    check(&config, EvalSplit::Test, NEVER, &[STEPS + 2]);
    check(&config, EvalSplit::Test, Duration::ZERO, &[2, 1, 3, STEPS + 1]);
    check(&config, EvalSplit::Validation, Duration::ZERO, &[STEPS + 3]);
}

/// Statistics that are taken for an evaluation leave no trace in what follows, with an average of the weights or
/// without.
#[test]
fn with_statistics_of_the_judged_weights() {
    for ema in [None, Some(0.9)] {
        let config = TrainConfig { ema, precise_bn: Some(2), ..adamw() };
        check(&config, EvalSplit::Test, NEVER, &[STEPS + 2]);
        check(&config, EvalSplit::Validation, Duration::ZERO, &[STEPS, 1, STEPS + 1]);
    }
}

#[test]
fn with_weights_chosen_on_held_out_images() {
    // A learning rate at which the last epoch is not the best.
    let sgd = SgdConfig { lr: 2.0, momentum: 0.0, nesterov: false, ..SgdConfig::default() };
    let config = TrainConfig { epochs: 5, optimizer: OptimizerConfig::Sgd(sgd), ..config() };
    check(&config, EvalSplit::Validation, Duration::ZERO, &[2 * STEPS + 1, STEPS + 1]);
}

/// A kill between checkpoint and metrics leaves the metrics without the last line, or with a line too many.
#[test]
fn metrics_follow_the_checkpoint() {
    let data = data(51, 20, EvalSplit::Test);
    let folder = tempfile::tempdir().unwrap();
    let model = Mlp::new(8, 5);
    let trainer = model.trainer(adamw());
    let stopped = trainer.fit(&data, folder.path(), &RunOptions::default(), &mut StopAfter(2 * STEPS + 1));
    assert!(matches!(stopped, Err(Error::Stopped { epoch: 3, step: 1 })), "{stopped:?}");
    let path = folder.path().join(METRICS_FILE);
    let lines = std::fs::read_to_string(&path).unwrap();
    let first = lines.split_inclusive('\n').next().unwrap();
    let checkpoint = folder.path().join(CHECKPOINT_FILE);
    let stopped_there = std::fs::read(&checkpoint).unwrap();
    for wrong in [first.to_string(), format!("{lines}{first}"), String::new(), "{\"epo".to_string()] {
        std::fs::write(&path, wrong).unwrap();
        std::fs::write(&checkpoint, &stopped_there).unwrap();
        let options = RunOptions { resume: true, ..RunOptions::default() };
        let stopped = trainer.fit(&data, folder.path(), &options, &mut StopAfter(1));
        assert!(matches!(stopped, Err(Error::Stopped { .. })), "{stopped:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);
    }
}

/// A finished run goes on for more epochs: those are of the schedule of all, and what was done stays.
#[test]
fn a_finished_run_goes_on_for_more_epochs() {
    let data = data(51, 20, EvalSplit::Test);
    let folder = tempfile::tempdir().unwrap();
    let first = Mlp::new(8, 5).trainer(config()).fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap();
    let longer = TrainConfig { epochs: 5, ..config() };
    let model = Mlp::new(8, 9);
    let options = RunOptions { resume: true, ..RunOptions::default() };
    let refused = model.trainer(longer.clone()).fit(&data, folder.path(), &options, &mut ()).unwrap_err();
    assert!(matches!(refused, Error::ConfigChanged { .. }), "{refused}");
    let options = RunOptions { more_epochs: true, ..options };
    let outcome = model.trainer(longer.clone()).fit(&data, folder.path(), &options, &mut ()).unwrap();
    assert_eq!(outcome.history[..3], first.history);
    assert_eq!(outcome.history.len(), 5);
    assert_eq!(outcome.history[3].lr, longer.lr(4 * STEPS - 1, STEPS));
    assert_eq!(metrics(folder.path()), outcome.history);
    // Fewer than there were is another run.
    let fewer = TrainConfig { epochs: 4, ..config() };
    let refused = model.trainer(fewer).fit(&data, folder.path(), &options, &mut ()).unwrap_err();
    assert!(matches!(refused, Error::ConfigChanged { .. }), "{refused}");
}

/// Stops in the evaluation that ends an epoch, after so many batches of it.
struct StopInEvaluation(usize);

impl Observer for StopInEvaluation {
    fn on_evaluation(&mut self, _: usize, _: usize) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What was done when the observer asked to stop is in the checkpoint, and is not done again.
#[test]
fn a_stop_leaves_a_checkpoint_of_what_was_done() {
    let data = data(51, 40, EvalSplit::Test);
    let config = TrainConfig { ema: Some(0.9), precise_bn: Some(2), ..config() };
    let expected = Mlp::new(8, 5);
    let whole = tempfile::tempdir().unwrap();
    let fit = |model: &Mlp, folder: &Path, options: &RunOptions, observer: &mut dyn Observer| {
        fit(model, &config, &data, folder, options, observer)
    };
    let outcome = fit(&expected, whole.path(), &RunOptions::default(), &mut ()).unwrap();

    let cut = tempfile::tempdir().unwrap();
    let options = |resume| RunOptions { resume, ..RunOptions::default() };
    let begun = fit(&Mlp::new(8, 5), cut.path(), &options(false), &mut StopAfter(2));
    assert!(matches!(begun, Err(Error::Stopped { epoch: 1, step: 2 })), "{begun:?}");
    // Three stops further on, none of which repeats a step: of 4 steps an epoch, 2 are left, then an evaluation of
    // three batches.
    let ended = fit(&Mlp::new(8, 9), cut.path(), &options(true), &mut StopAfter(1));
    assert!(matches!(ended, Err(Error::Stopped { epoch: 1, step: 3 })), "{ended:?}");
    let ended = fit(&Mlp::new(8, 9), cut.path(), &options(true), &mut StopInEvaluation(2));
    assert!(matches!(ended, Err(Error::EvaluationStopped)), "{ended:?}");
    let ended = fit(&Mlp::new(8, 9), cut.path(), &options(true), &mut StopInEvaluation(1));
    assert!(matches!(ended, Err(Error::EvaluationStopped)), "{ended:?}");
    let model = Mlp::new(8, 9);
    let resumed = fit(&model, cut.path(), &options(true), &mut ()).unwrap();
    assert_eq!(model.bits(), expected.bits());
    assert_eq!(without_times(resumed.history), without_times(outcome.history));
}
