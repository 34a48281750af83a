//! The training loop.
//!
//! Everything random is a function of (seed, epoch, step): the data order and augmentation in `mobilenet-data`, the dropout
//! masks by reseeding before each step. So a run that was killed and resumed repeats exactly what it would have done.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use candle_nn::{ModuleT, VarMap};
use mobilenet_data::{Batch, BatchConfig, Split, batches};
use mobilenet_layers::DropoutRng;

use crate::checkpoint::{self, Progress};
use crate::files::write_atomically;
use crate::loss::cross_entropy;
use crate::run::{BEST_FILE, Best, CHECKPOINT_FILE, FitData, METRICS_FILE, Outcome, RunOptions};
use crate::{EpochMetrics, Error, EvalMetrics, EvalSplit, Observer, Optimizer, StepReport, TrainConfig, evaluate};

/// Trains a model. The README shows a whole run.
pub struct Trainer<'a, M> {
    model: &'a M,
    vars: &'a VarMap,
    dropout: DropoutRng,
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
        Ok(Self { model, vars, dropout, config, device: device.clone() })
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
        let mut optimizer = Optimizer::new(self.vars, self.config.optimizer)?;
        let mut progress = Progress::default();
        match (run.checkpoint.try_exists(), options.resume) {
            (Ok(true), true) => progress = checkpoint::load(&run.checkpoint, self.vars, &mut optimizer, &run.settings)?,
            (Ok(true), false) => return Err(Error::RunExists { path: run.checkpoint }),
            // Written before the first step, so that a folder or disk that cannot hold it shows now.
            (Ok(false), _) => checkpoint::save(&run.checkpoint, self.vars, &optimizer, &progress, &run.settings)?,
            (Err(source), _) => return Err(Error::Io { action: "read", path: run.checkpoint, source }),
        }
        run.clock.0 = progress.elapsed_seconds;
        // A kill between checkpoint and metrics leaves the metrics behind: the checkpoint's history is the truth.
        write_metrics(&run.metrics, &progress.history)?;

        while progress.epochs_done < self.config.epochs {
            self.epoch(&run, &mut optimizer, &mut progress, observer)?;
        }

        if progress.best.is_some() {
            checkpoint::load_weights(&run.best, self.vars)?;
        }
        Ok(Outcome { history: progress.history, best: progress.best, elapsed_seconds: progress.elapsed_seconds })
    }

    /// The epoch that `progress` stands in, from the step it stands at, with its evaluation and files.
    fn epoch(
        &self,
        run: &Run<'_>,
        optimizer: &mut Optimizer,
        progress: &mut Progress,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let config = &self.config;
        let (epoch, steps) = (progress.epochs_done + 1, run.steps_per_epoch);
        let order = BatchConfig {
            batch_size: config.batch_size,
            seed: config.seed,
            epoch: epoch as u64,
            shuffle: true,
            augment: config.augment,
            drop_last: config.drop_last,
        };
        let mut batches = batches(Arc::clone(&run.data.train), run.data.normalization, &order, &self.device);
        for _ in 0..progress.steps_done {
            batches.next().transpose()?;
        }

        let mut last_save = Instant::now();
        let mut lr = config.lr(progress.epochs_done * steps + progress.steps_done, steps);
        while progress.steps_done < steps {
            let start = Instant::now();
            let Some(batch) = batches.next().transpose()? else { break };
            lr = config.lr(progress.epochs_done * steps + progress.steps_done, steps);
            let loss = self.step(optimizer, &batch, progress, lr, steps)?;
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
            if last_save.elapsed() >= run.interval && progress.steps_done < steps {
                progress.elapsed_seconds = run.elapsed_seconds();
                checkpoint::save(&run.checkpoint, self.vars, optimizer, progress, &run.settings)?;
                last_save = Instant::now();
            }
        }
        drop(batches);

        let start = Instant::now();
        let data = run.data;
        let mut on_evaluation = |done, total| observer.on_evaluation(done, total);
        let evaluation =
            evaluate(self.model, &data.eval, data.normalization, config.batch_size, &self.device, &mut on_evaluation)?;
        let (loss, top1) = (evaluation.loss, evaluation.top1);
        if !loss.is_finite() {
            return Err(Error::NonFiniteEvalLoss { loss, split: data.eval_split, epoch, lr });
        }
        let eval_seconds = start.elapsed().as_secs_f64();

        if data.eval_split == EvalSplit::Validation {
            let better = |best: Best| top1 > best.top1 || (top1 == best.top1 && loss < best.loss);
            if progress.best.is_none_or(better) {
                checkpoint::save_weights(&run.best, self.vars)?;
                progress.best = Some(Best { epoch, top1, loss });
            }
        }

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
            eval: EvalMetrics::new(data.eval_split, loss, top1, evaluation.top5),
            images_per_second: tally.images as f64 / seconds,
            seconds,
            eval_seconds,
            elapsed_seconds: progress.elapsed_seconds,
        };
        progress.history.push(metrics.clone());
        checkpoint::save(&run.checkpoint, self.vars, optimizer, progress, &run.settings)?;
        write_metrics(&run.metrics, &progress.history)?;
        match observer.on_epoch(&metrics).is_break() && epoch < config.epochs {
            true => Err(Error::Stopped { epoch, step: steps }),
            false => Ok(()),
        }
    }

    /// One update of the weights. Returns the batch's loss.
    fn step(
        &self,
        optimizer: &mut Optimizer,
        batch: &Batch,
        progress: &mut Progress,
        lr: f64,
        steps: usize,
    ) -> Result<f64, Error> {
        let (epoch, step) = (progress.epochs_done + 1, progress.steps_done + 1);
        self.dropout.reseed(mix(&[self.config.seed, epoch as u64, step as u64]));
        let logits = self.model.forward_t(&batch.images, true)?;
        let loss = cross_entropy(&logits, &batch.labels, self.config.label_smoothing)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(Error::NonFiniteLoss { loss: value, epoch, step, steps, lr });
        }
        optimizer.step(&loss.backward()?, lr)?;

        let (_, classes) = logits.dims2()?;
        progress.tally.add(value, &logits.flatten_all()?.to_vec1()?, classes, &batch.labels.to_vec1()?);
        Ok(value)
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
