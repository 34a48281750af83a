//! The training loop.
//!
//! Everything random is a function of (seed, epoch, step): the data order and augmentation in `mobilenet-data`, the
//! dropout masks by reseeding before each step. So a run that was killed and resumed repeats exactly what it would have
//! done.

mod layers;
mod norms;
mod on_device;
mod settings;
mod steps;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use candle_nn::{ModuleT, VarMap};
use mobilenet_common::files;
use mobilenet_layers::DropoutRng;

use crate::checkpoint::{self, Progress, State};
use crate::room;
use crate::run::{BEST_FILE, Best, CHECKPOINT_FILE, FitData, METRICS_FILE, Outcome, RunOptions};
use crate::{
    DeviceTraining, Ema, EpochMetrics, Error, EvalSplit, Evaluation, Observer, Optimizer, TrainConfig, evaluate,
};

/// Trains a model. The README shows a whole run.
pub struct Trainer<'a, M> {
    model: &'a M,
    vars: &'a VarMap,
    dropout: DropoutRng,
    teacher: Option<&'a dyn ModuleT>,
    /// The model with batch norm whose statistics are always the last batch's.
    statistics: Option<&'a dyn ModuleT>,
    config: TrainConfig,
    device: Device,
    /// What computes the steps in the layers' place, if anything does.
    on_device: Option<DeviceTraining>,
}

/// What stays the same during a call of [`Trainer::fit`].
struct Run<'a> {
    data: &'a FitData,
    checkpoint: PathBuf,
    metrics: PathBuf,
    best: PathBuf,
    settings: serde_json::Value,
    steps_per_epoch: usize,
    /// What each class counts in the loss; empty: all alike.
    class_weights: Vec<f64>,
    interval: Duration,
    /// The run's wall time before this call, and this call's beginning.
    clock: (f64, Instant),
}

impl Run<'_> {
    fn elapsed_seconds(&self) -> f64 {
        self.clock.0 + self.clock.1.elapsed().as_secs_f64()
    }
}

impl<'a, M: ModuleT> Trainer<'a, M> {
    /// A trainer of `model`, whose variables are `vars` and whose dropout layers draw from `dropout` (a new one if it
    /// has none).
    ///
    /// # Errors
    /// [`Error::Config`] for settings that no training can be done with.
    pub fn new(
        model: &'a M,
        vars: &'a VarMap,
        dropout: DropoutRng,
        config: TrainConfig,
        device: &Device,
    ) -> Result<Self, Error> {
        config.validate()?;
        let (device, teacher, statistics, on_device) = (device.clone(), None, None, None);
        Ok(Self { model, vars, dropout, teacher, statistics, config, device, on_device })
    }

    /// The same trainer with a model to learn from, as [`TrainConfig::distillation`] says. It sees the same images, in
    /// evaluation mode, and is not changed.
    #[must_use]
    pub fn with_teacher(self, teacher: &'a dyn ModuleT) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// The same trainer with a second model of the same variables whose batch norm has momentum 1, for
    /// [`TrainConfig::precise_bn`]: in training mode it leaves each batch's statistics as the running ones.
    #[must_use]
    pub fn with_statistics(self, model: &'a dyn ModuleT) -> Self {
        Self { statistics: Some(model), ..self }
    }

    /// The same trainer, whose steps and evaluations are computed by a device's kernels and not by the model's layers. The
    /// variables are those of the network that the device knows, and on the host; what is written is the same, and either can
    /// go on with what the other has begun. A teacher is given to the device, and not to the trainer.
    ///
    /// Loss and accuracy come from the device some steps late. A loss that is no number is found as late; what was saved
    /// before stays.
    #[must_use]
    pub fn on_device(self, device: DeviceTraining) -> Self {
        Self { on_device: Some(device), ..self }
    }

    /// Trains from the variables' present values, or from the checkpoint in `run_dir` if `options` say so.
    ///
    /// Writes into `run_dir` (made if needed), after each epoch and atomically: the weights of the best epoch so far if
    /// the images to judge by are held-out ones, the checkpoint, the metrics. Killed at any moment and resumed with the
    /// same settings it ends in the same weights, bit for bit, as if it had not been. A finished run that is resumed
    /// only loads its weights.
    ///
    /// # Errors
    /// [`Error::EmptySplit`], [`Error::NoBatches`]; [`Error::RunExists`] for a folder that holds a checkpoint when not
    /// told to resume; [`Error::ConfigChanged`], [`Error::ModelMismatch`] and others for a checkpoint that does not
    /// fit; [`Error::NonFiniteLoss`]; [`Error::Stopped`] if the observer says so; [`Error::Io`].
    pub fn fit(
        &self,
        data: &FitData,
        run_dir: &Path,
        options: &RunOptions,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, Error> {
        self.check(data)?;
        for (name, split) in [("training", &data.train), ("evaluation", &data.eval)] {
            if split.is_empty() {
                return Err(Error::EmptySplit(name));
            }
        }
        let steps_per_epoch = self.config.steps_per_epoch(data.train.len());
        if steps_per_epoch == 0 {
            return Err(Error::NoBatches { images: data.train.len(), batch_size: self.config.batch_size });
        }
        std::fs::create_dir_all(run_dir).map_err(Error::io("create", run_dir))?;

        let mut run = Run {
            data,
            checkpoint: run_dir.join(CHECKPOINT_FILE),
            metrics: run_dir.join(METRICS_FILE),
            best: run_dir.join(BEST_FILE),
            settings: self.settings(data, &options.model)?,
            steps_per_epoch,
            class_weights: settings::class_weights(self.config.balance, data.train.labels()),
            interval: options.checkpoint_interval,
            clock: (0.0, Instant::now()),
        };
        let mut state = State {
            vars: self.vars,
            optimizer: Optimizer::new(self.vars, self.config.optimizer)?.with_lr_factors(&self.config.lr_factors),
            ema: self.config.ema.map(|decay| Ema::new(self.vars, decay).map(Ema::with_warm_up)).transpose()?,
        };
        let mut progress = Progress::default();
        match (run.checkpoint.try_exists(), options.resume) {
            (Ok(true), true) => {
                let expected = checkpoint::Expected {
                    settings: &run.settings,
                    epochs: self.config.epochs,
                    steps: steps_per_epoch,
                    may_have_fewer_epochs: options.more_epochs,
                };
                progress = checkpoint::load(&run.checkpoint, &mut state, expected)?;
            }
            (Ok(true), false) => return Err(Error::RunExists { path: run.checkpoint }),
            (Ok(false), _) => {
                // A folder or disk that cannot hold what the run will leave shows now: two checkpoints while one takes
                // the other's place, and the weights of the best epoch and the last.
                let (checkpoint, weights) = checkpoint::sizes(&state)?;
                let sizes = [checkpoint, checkpoint, weights, weights];
                room::check(run_dir, &sizes).map_err(Error::io("write", &run.checkpoint))?;
                checkpoint::save(&run.checkpoint, &state, &progress, &run.settings)?;
            }
            (Err(error), _) => return Err(Error::io("read", &run.checkpoint)(error)),
        }
        if let Some(device) = &self.on_device {
            let shape = (self.config.batch_size, (data.train.height(), data.train.width()));
            device.steps()?.load(&state, &self.config, data.normalization, &run.class_weights, shape)?;
        }
        run.clock.0 = progress.elapsed_seconds;
        // A kill between checkpoint and metrics leaves the metrics behind: the checkpoint's history is the truth.
        write_metrics(&run.metrics, &progress.history)?;

        while progress.epochs_done < self.config.epochs && !self.has_stalled(&progress) {
            self.epoch(&run, &mut state, &mut progress, observer)?;
        }

        if progress.best.is_some() {
            checkpoint::load_weights(&run.best, self.vars)?;
        } else if let Some(ema) = &mut state.ema {
            ema.swap()?;
        }
        Ok(Outcome { history: progress.history, best: progress.best, elapsed_seconds: progress.elapsed_seconds })
    }

    /// The epoch that `progress` stands in, from the step it stands at, with its evaluation and files.
    fn epoch(
        &self,
        run: &Run<'_>,
        state: &mut State<'_>,
        progress: &mut Progress,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let epoch = progress.epochs_done + 1;
        let lr = self.steps(run, state, progress, observer)?;

        let start = Instant::now();
        // What is judged is what the run would end with: the average, if there is one.
        state.ema.as_mut().map_or(Ok(()), Ema::swap)?;
        let evaluation =
            self.take_statistics(run, epoch, observer).and_then(|()| self.judge(run, progress, lr, observer));
        state.ema.as_mut().map_or(Ok(()), Ema::swap)?;
        if let Err(Error::EvaluationStopped) = evaluation {
            progress.elapsed_seconds = run.elapsed_seconds();
            checkpoint::save(&run.checkpoint, state, progress, &run.settings)?;
        }
        let evaluation = evaluation?;
        let eval_seconds = start.elapsed().as_secs_f64();

        let tally = std::mem::take(&mut progress.tally);
        let seconds = std::mem::take(&mut progress.epoch_seconds);
        progress.epochs_done = epoch;
        progress.steps_done = 0;
        progress.elapsed_seconds = run.elapsed_seconds();
        let metrics = EpochMetrics {
            epoch,
            lr,
            train_loss: tally.loss(),
            train_top1: tally.top1(),
            train_top5: tally.top5(),
            eval: run.data.eval_split.metrics(evaluation.loss, evaluation.top1, evaluation.top5),
            images_per_second: tally.images as f64 / seconds,
            seconds,
            eval_seconds,
            elapsed_seconds: progress.elapsed_seconds,
        };
        progress.history.push(metrics.clone());
        checkpoint::save(&run.checkpoint, state, progress, &run.settings)?;
        write_metrics(&run.metrics, &progress.history)?;
        match observer.on_epoch(&metrics).is_break() && epoch < self.config.epochs {
            true => Err(Error::Stopped { epoch, step: run.steps_per_epoch }),
            false => Ok(()),
        }
    }

    /// Evaluates the weights as they are; keeps them if they are the best so far on held-out images.
    fn judge(
        &self,
        run: &Run<'_>,
        progress: &mut Progress,
        lr: f64,
        observer: &mut dyn Observer,
    ) -> Result<Evaluation, Error> {
        let (data, epoch) = (run.data, progress.epochs_done + 1);
        let mut on_evaluation = |done, total| observer.on_evaluation(done, total);
        let batch_size = self.config.batch_size;
        let (split, norm) = (&data.eval, data.normalization);
        let evaluation = match &self.on_device {
            None => evaluate(self.model, split, norm, batch_size, &self.device, &mut on_evaluation)?,
            Some(device) => {
                let model = device.steps()?.evaluation(self.vars)?;
                evaluate(&*model, split, norm, batch_size, &Device::Cpu, &mut on_evaluation)?
            }
        };
        let (loss, top1) = (evaluation.loss, evaluation.top1);
        if !loss.is_finite() {
            return Err(Error::NonFiniteEvalLoss { loss, split: data.eval_split, epoch, lr });
        }
        if data.eval_split == EvalSplit::Validation {
            let better = |best: Best| top1 > best.top1 || (top1 == best.top1 && loss < best.loss);
            if progress.best.is_none_or(better) {
                checkpoint::save_weights(&run.best, self.vars)?;
                progress.best = Some(Best { epoch, top1, loss });
            }
        }
        Ok(evaluation)
    }

    /// Whether the held-out images have seen nothing better for as long as the settings allow.
    fn has_stalled(&self, progress: &Progress) -> bool {
        let waited = |best: Best| progress.epochs_done - best.epoch;
        self.config.early_stop.zip(progress.best.map(waited)).is_some_and(|(patience, waited)| waited >= patience)
    }
}

fn write_metrics(path: &Path, history: &[EpochMetrics]) -> Result<(), Error> {
    let mut lines = String::new();
    for metrics in history {
        lines += &serde_json::to_string(metrics)?;
        lines.push('\n');
    }
    files::write(path, lines.as_bytes()).map_err(Error::io("write", path))
}
