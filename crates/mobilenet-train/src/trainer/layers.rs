//! Steps by the model's layers.

use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_nn::ModuleT;
use mobilenet_common::random::mix;
use mobilenet_data::{Batch, BatchConfig, Batches, batches};

use super::steps::{Done, Steps};
use super::{Run, Trainer};
use crate::Distillation;
use crate::checkpoint::{Progress, State};
use crate::loss::{Targets, Teacher, loss};
use crate::{Ema, Error, TrainConfig};

/// The batches of an epoch, and the gradients of those that make an update together with batches to come.
pub(super) struct LayerSteps<'s, 'a, M> {
    trainer: &'s Trainer<'a, M>,
    run: &'s Run<'s>,
    batches: Batches,
    gradients: Option<GradStore>,
}

impl<'s, 'a, M: ModuleT> LayerSteps<'s, 'a, M> {
    pub fn new(trainer: &'s Trainer<'a, M>, run: &'s Run<'s>, order: &BatchConfig) -> Self {
        let batches = batches(Arc::clone(&run.data.train), run.data.normalization, order, &trainer.device);
        Self { trainer, run, batches, gradients: None }
    }

    /// One batch, and an update of the weights if it is the last of those that make one. Returns the batch's loss.
    fn compute(
        &mut self,
        state: &mut State<'_>,
        batch: &Batch,
        progress: &mut Progress,
        lr: f64,
    ) -> Result<f64, Error> {
        let (trainer, run) = (self.trainer, self.run);
        let config = &trainer.config;
        let (epoch, step, steps) = (progress.epochs_done + 1, progress.steps_done + 1, run.steps_per_epoch);
        trainer.dropout.reseed(mix(&[config.seed, epoch as u64, step as u64]));
        let logits = trainer.model.forward_t(&batch.images, true)?;
        let teacher_logits = trainer.teacher.map(|teacher| teacher.forward_t(&batch.images, false)).transpose()?;
        let teacher = teacher_logits.as_ref().zip(config.distillation);
        let targets = Targets {
            mixed: batch.mixed.as_ref(),
            label_smoothing: config.label_smoothing,
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
        let sum = match self.gradients.take() {
            None => of_batch,
            Some(mut sum) => {
                state.optimizer.add_gradients(&mut sum, &of_batch)?;
                sum
            }
        };
        if step % config.accumulate == 0 || step == steps {
            state.optimizer.step(&sum, lr)?;
            state.ema.as_mut().map_or(Ok(()), Ema::update)?;
        } else {
            self.gradients = Some(sum);
        }

        let (_, classes) = logits.dims2()?;
        progress.tally.add(value, &logits.flatten_all()?.to_vec1()?, classes, &batch.labels.to_vec1()?);
        Ok(value)
    }

    /// How many images make the update that batch `step` (from 0) of an epoch is part of.
    fn images_of_update(&self, step: usize, steps: usize, images: usize) -> usize {
        let TrainConfig { accumulate, batch_size, .. } = self.trainer.config;
        let first = step - step % accumulate;
        let end = first.saturating_add(accumulate).min(steps);
        (end * batch_size).min(images) - first * batch_size
    }
}

impl<M: ModuleT> Steps for LayerSteps<'_, '_, M> {
    fn step(&mut self, state: &mut State<'_>, progress: &mut Progress, lr: f64) -> Result<Option<Done>, Error> {
        let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
        let loss = self.compute(state, &batch, progress, lr)?;
        Ok(Some(Done { loss, images: batch.labels.elem_count() }))
    }

    fn is_whole(&self) -> bool {
        self.gradients.is_none()
    }

    fn settle(&mut self, _: &mut State<'_>, _: &mut Progress) -> Result<(), Error> {
        Ok(())
    }
}
