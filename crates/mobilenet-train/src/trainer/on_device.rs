//! Steps by a device's kernels, whose results come late.

use std::cell::RefMut;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_nn::ModuleT;
use mobilenet_common::random::mix;
use mobilenet_data::{BatchConfig, Pictures, pictures};

use super::steps::{Done, Steps};
use super::{Run, Trainer};
use crate::checkpoint::{Progress, State};
use crate::device::{self, STEPS_BEFORE_RESULTS, StepSettings};
use crate::{DeviceTraining, Error, TrainConfig};

/// How long the results of steps may stay on the device: as often as a reader's eye wants them.
const INTERVAL: Duration = Duration::from_millis(250);

/// The batches of an epoch as bytes, and the steps whose results are still on the device.
pub(super) struct DeviceSteps<'s, 'a, M> {
    trainer: &'s Trainer<'a, M>,
    run: &'s Run<'s>,
    device: RefMut<'s, Box<dyn device::DeviceNetwork>>,
    pictures: Pictures,
    waiting: VecDeque<Waiting>,
    taken: Option<Instant>,
    /// The newest that is known.
    loss: f64,
}

/// A step: its number from 1, its images and its learning rate.
struct Waiting {
    step: usize,
    images: usize,
    lr: f64,
}

impl<'s, 'a, M: ModuleT> DeviceSteps<'s, 'a, M> {
    pub fn new(
        trainer: &'s Trainer<'a, M>,
        run: &'s Run<'s>,
        device: &'s DeviceTraining,
        order: &BatchConfig,
    ) -> Result<Self, Error> {
        let pictures = pictures(Arc::clone(&run.data.train), order);
        let device = device.steps()?;
        Ok(Self { trainer, run, device, pictures, waiting: VecDeque::new(), taken: None, loss: 0.0 })
    }

    /// Adds what the steps came to, and waits for them.
    fn take(&mut self, progress: &mut Progress) -> Result<(), Error> {
        let (epoch, steps) = (progress.epochs_done + 1, self.run.steps_per_epoch);
        for result in self.device.results()? {
            let Some(Waiting { step, images, lr }) = self.waiting.pop_front() else { break };
            let loss = f64::from(result.loss);
            if !loss.is_finite() {
                return Err(Error::NonFiniteLoss { loss, epoch, step, steps, lr });
            }
            progress.tally.add_counts(images as u64, loss, result.top1 as u64, result.top5 as u64);
            self.loss = loss;
        }
        self.taken = Some(Instant::now());
        Ok(())
    }
}

impl<M: ModuleT> Steps for DeviceSteps<'_, '_, M> {
    fn step(&mut self, _: &mut State<'_>, progress: &mut Progress, lr: f64) -> Result<Option<Done>, Error> {
        let Some(batch) = self.pictures.next().transpose()? else { return Ok(None) };
        let TrainConfig { seed, label_smoothing, distillation, .. } = self.trainer.config;
        let (epoch, step, images) = (progress.epochs_done + 1, progress.steps_done + 1, batch.labels.len());
        let dropout = &self.trainer.dropout;
        dropout.reseed(mix(&[seed, epoch as u64, step as u64]));
        self.device.step(&batch, &StepSettings { lr, label_smoothing, distillation, dropout })?;
        self.waiting.push_back(Waiting { step, images, lr });
        let is_due = self.taken.is_none_or(|taken| taken.elapsed() >= INTERVAL);
        if is_due || self.waiting.len() >= STEPS_BEFORE_RESULTS {
            self.take(progress)?;
        }
        Ok(Some(Done { loss: self.loss, images }))
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn settle(&mut self, state: &mut State<'_>, progress: &mut Progress) -> Result<(), Error> {
        self.take(progress)?;
        self.device.store(state)
    }
}
