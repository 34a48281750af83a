//! The steps of an epoch: batches, losses, updates.

use std::sync::Arc;
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_nn::ModuleT;
use mobilenet_common::random::mix;
use mobilenet_data::{Batch, BatchConfig, batches};

use super::{Run, Trainer};
use crate::Distillation;
use crate::checkpoint::{self, Progress, State};
use crate::loss::{Targets, Teacher, loss};
use crate::{Balance, Ema, Error, Observer, StepReport, TrainConfig};

impl<M: ModuleT> Trainer<'_, M> {
    /// The epoch's steps that are not done yet. Returns the last one's learning rate.
    pub(super) fn steps(
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
            balanced: config.balance == Balance::Sampler,
            skip: progress.steps_done,
        };
        let mut batches = batches(Arc::clone(&run.data.train), run.data.normalization, &order, &self.device);

        let mut last_save = Instant::now();
        let mut gradients = None;
        // Of the last step that is done, if all are.
        let mut lr = config.lr(progress.epochs_done * steps + progress.steps_done.min(steps - 1), steps);
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
            let stop = observer.on_step(&report).is_break();
            // Not while an update is half gathered: its gradients are in no checkpoint.
            let may_save = gradients.is_none() && (stop || progress.steps_done < steps);
            if may_save && (stop || last_save.elapsed() >= run.interval) {
                progress.elapsed_seconds = run.elapsed_seconds();
                checkpoint::save(&run.checkpoint, state, progress, &run.settings)?;
                last_save = Instant::now();
            }
            if stop {
                return Err(Error::Stopped { epoch, step: progress.steps_done });
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
            class_weights: &run.class_weights,
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
}
