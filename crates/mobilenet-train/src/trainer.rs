//! The training loop.
//!
//! Everything random is a function of (seed, epoch, step): the data order and augmentation in `mobilenet-data`, the dropout
//! masks by reseeding before each step. So a run that was killed and resumed repeats exactly what it would have done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use candle_core::backprop::GradStore;
use candle_nn::{ModuleT, VarMap};
use mobilenet_data::{Batch, BatchConfig, Split, batches};
use mobilenet_layers::DropoutRng;

use crate::checkpoint::{self, Progress, State};
use crate::config::{Distillation, check};
use crate::files::write_atomically;
use crate::loss::{Targets, Teacher, loss};
use crate::run::{BEST_FILE, Best, CHECKPOINT_FILE, FitData, METRICS_FILE, Outcome, RunOptions};
use crate::{
    Ema, EpochMetrics, Error, EvalMetrics, EvalSplit, Evaluation, Observer, Optimizer, StepReport, TrainConfig,
    evaluate,
};

/// Trains a model. The README shows a whole run.
pub struct Trainer<'a, M> {
    model: &'a M,
    vars: &'a VarMap,
    dropout: DropoutRng,
    teacher: Option<&'a dyn ModuleT>,
    config: TrainConfig,
    device: Device,
}

/// What stays the same during a call of [`Trainer::fit`].
struct Run<'a> {
    data: &'a FitData,
    checkpoint: PathBuf,
    metrics: PathBuf,
    best: PathBuf,
    settings: serde_json::Value,
    steps_per_epoch: usize,
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
    /// A trainer of `model`, whose variables are `vars` and whose dropout layers draw from `dropout` (a new one if it has none).
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
        Ok(Self { model, vars, dropout, teacher: None, config, device: device.clone() })
    }

    /// The same trainer with a model to learn from, as [`TrainConfig::distillation`] says. It sees the same images, in
    /// evaluation mode, and is not changed.
    #[must_use]
    pub fn with_teacher(self, teacher: &'a dyn ModuleT) -> Self {
        Self { teacher: Some(teacher), ..self }
    }

    /// Trains from the variables' present values, or from the checkpoint in `run_dir` if `options` say so.
    ///
    /// Writes into `run_dir` (made if needed), after each epoch and atomically: the weights of the best epoch so far if the
    /// images to judge by are held-out ones, the checkpoint, the metrics. Killed at any moment and resumed with the same
    /// settings it ends in the same weights, bit for bit, as if it had not been. A finished run that is resumed only loads
    /// its weights.
    ///
    /// # Errors
    /// [`Error::EmptySplit`], [`Error::NoBatches`]; [`Error::RunExists`] for a folder that holds a checkpoint when not told to
    /// resume; [`Error::ConfigChanged`], [`Error::ModelMismatch`] and others for a checkpoint that does not fit;
    /// [`Error::NonFiniteLoss`]; [`Error::Stopped`] if the observer says so; [`Error::Io`].
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
        std::fs::create_dir_all(run_dir).map_err(|source| Error::Io {
            action: "create",
            path: run_dir.into(),
            source,
        })?;

        let mut run = Run {
            data,
            checkpoint: run_dir.join(CHECKPOINT_FILE),
            metrics: run_dir.join(METRICS_FILE),
            best: run_dir.join(BEST_FILE),
            settings: self.settings(data, &options.model)?,
            steps_per_epoch,
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
            (Ok(true), true) => progress = checkpoint::load(&run.checkpoint, &mut state, &run.settings)?,
            (Ok(true), false) => return Err(Error::RunExists { path: run.checkpoint }),
            // Written before the first step, so that a folder or disk that cannot hold it shows now.
            (Ok(false), _) => checkpoint::save(&run.checkpoint, &state, &progress, &run.settings)?,
            (Err(source), _) => return Err(Error::Io { action: "read", path: run.checkpoint, source }),
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
        let evaluation = self.judge(run, progress, lr, observer);
        state.ema.as_mut().map_or(Ok(()), Ema::swap)?;
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
            eval: EvalMetrics::new(run.data.eval_split, evaluation.loss, evaluation.top1, evaluation.top5),
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

    /// The epoch's steps that are not done yet. Returns the last one's learning rate.
    fn steps(
        &self,
        run: &Run<'_>,
        state: &mut State<'_>,
        progress: &mut Progress,
        observer: &mut dyn Observer,
    ) -> Result<f64, Error> {
        let config = &self.config;
        let (epoch, steps) = (progress.epochs_done + 1, run.steps_per_epoch);
        let order = BatchConfig {
            batch_size: config.batch_size,
            seed: config.seed,
            epoch: epoch as u64,
            shuffle: true,
            augment: config.augment,
            resize: config.image_size(epoch).map(|size| (size, size)),
            drop_last: config.drop_last,
        };
        let mut batches = batches(Arc::clone(&run.data.train), run.data.normalization, &order, &self.device);
        for _ in 0..progress.steps_done {
            batches.next().transpose()?;
        }

        let mut last_save = Instant::now();
        let mut gradients = None;
        let mut lr = config.lr(progress.epochs_done * steps + progress.steps_done, steps);
        while progress.steps_done < steps {
            let start = Instant::now();
            let Some(batch) = batches.next().transpose()? else { break };
            lr = config.lr(progress.epochs_done * steps + progress.steps_done, steps);
            let loss = self.step(run, state, &batch, &mut gradients, progress, lr)?;
            progress.steps_done += 1;
            progress.epoch_seconds += start.elapsed().as_secs_f64();

            let report = StepReport {
                epoch,
                epochs: config.epochs,
                step: progress.steps_done,
                steps,
                loss,
                mean_loss: progress.tally.loss(),
                mean_top1: progress.tally.top1(),
                lr,
                images_per_second: progress.tally.images as f64 / progress.epoch_seconds,
            };
            if observer.on_step(&report).is_break() {
                return Err(Error::Stopped { epoch, step: progress.steps_done });
            }
            // Not while an update is half gathered: its gradients are in no checkpoint.
            let may_save = gradients.is_none() && progress.steps_done < steps;
            if may_save && last_save.elapsed() >= run.interval {
                progress.elapsed_seconds = run.elapsed_seconds();
                checkpoint::save(&run.checkpoint, state, progress, &run.settings)?;
                last_save = Instant::now();
            }
        }
        Ok(lr)
    }

    /// One batch, and an update of the weights if it is the last of those that make one. Returns the batch's loss.
    fn step(
        &self,
        run: &Run<'_>,
        state: &mut State<'_>,
        batch: &Batch,
        gradients: &mut Option<GradStore>,
        progress: &mut Progress,
        lr: f64,
    ) -> Result<f64, Error> {
        let (epoch, step, steps) = (progress.epochs_done + 1, progress.steps_done + 1, run.steps_per_epoch);
        self.dropout.reseed(mix(&[self.config.seed, epoch as u64, step as u64]));
        let logits = self.model.forward_t(&batch.images, true)?;
        let teacher_logits = self.teacher.map(|teacher| teacher.forward_t(&batch.images, false)).transpose()?;
        let teacher = teacher_logits.as_ref().zip(self.config.distillation);
        let targets = Targets {
            mixed: batch.mixed.as_ref(),
            label_smoothing: self.config.label_smoothing,
            teacher: teacher.map(|(logits, Distillation { temperature, weight })| Teacher {
                logits,
                temperature,
                weight,
            }),
            ..Targets::new(&batch.labels)
        };
        let loss = loss(&logits, &targets)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(Error::NonFiniteLoss { loss: value, epoch, step, steps, lr });
        }

        let images = batch.labels.elem_count();
        let of_update = self.images_of_update(step - 1, steps, run.data.train.len());
        let loss = if images == of_update { loss } else { (loss * (images as f64 / of_update as f64))? };
        let of_batch = loss.backward()?;
        let sum = match gradients.take() {
            None => of_batch,
            Some(mut sum) => {
                state.optimizer.add_gradients(&mut sum, &of_batch)?;
                sum
            }
        };
        if step % self.config.accumulate == 0 || step == steps {
            state.optimizer.step(&sum, lr)?;
            state.ema.as_mut().map_or(Ok(()), Ema::update)?;
        } else {
            *gradients = Some(sum);
        }

        let (_, classes) = logits.dims2()?;
        progress.tally.add(value, &logits.flatten_all()?.to_vec1()?, classes, &batch.labels.to_vec1()?);
        Ok(value)
    }

    /// How many images make the update that batch `step` (from 0) of an epoch is part of.
    fn images_of_update(&self, step: usize, steps: usize, images: usize) -> usize {
        let TrainConfig { accumulate, batch_size, .. } = self.config;
        let first = step - step % accumulate;
        let end = first.saturating_add(accumulate).min(steps);
        (end * batch_size).min(images) - first * batch_size
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
        let evaluation =
            evaluate(self.model, &data.eval, data.normalization, batch_size, &self.device, &mut on_evaluation)?;
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

    /// Refuses settings that do not go with the data or the teacher.
    fn check(&self, data: &FitData) -> Result<(), Error> {
        let TrainConfig { early_stop, distillation, .. } = self.config;
        if let Some(epochs) = early_stop.filter(|_| data.eval_split == EvalSplit::Test) {
            let expected = "held-out images to judge by: nothing is chosen on test images";
            return Err(Error::Config { field: "early_stop", found: epochs.to_string(), expected });
        }
        match (distillation, self.teacher) {
            (Some(_), None) => check(false, "distillation", "set", "a teacher for the trainer"),
            (None, Some(_)) => {
                check(false, "distillation", "none", "a temperature and a weight, as there is a teacher")
            }
            _ => Ok(()),
        }
    }

    /// What must be the same when a run is resumed.
    fn settings(&self, data: &FitData, model: &serde_json::Value) -> Result<serde_json::Value, Error> {
        Ok(serde_json::json!({
            "train": serde_json::to_value(&self.config)?,
            "model": model,
            "data": {
                "train_images": data.train.len(),
                "train_contents": fingerprint(&data.train),
                "eval_images": data.eval.len(),
                "eval_contents": fingerprint(&data.eval),
                "eval_split": data.eval_split,
                "normalization": data.normalization,
            },
        }))
    }
}

fn write_metrics(path: &Path, history: &[EpochMetrics]) -> Result<(), Error> {
    let mut lines = String::new();
    for metrics in history {
        lines += &serde_json::to_string(metrics)?;
        lines.push('\n');
    }
    write_atomically(path, lines.as_bytes())
}

/// A number that tells splits apart (not a cryptographic one): FNV-1a over words of shape, labels and pixels.
fn fingerprint(split: &Split) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |word: u64| hash = (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29);
    add(split.height() as u64);
    add(split.width() as u64);
    split.labels().iter().for_each(|&label| add(u64::from(label)));
    for chunk in split.pixels().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        add(u64::from_le_bytes(word));
    }
    format!("{hash:016x}")
}

/// One well-mixed number from several (SplitMix64, Steele et al. 2014).
fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0, |state, word| {
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
