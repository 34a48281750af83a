//! The steps of an epoch: batches, losses, updates, by the model's layers or by a device.

use std::time::Instant;

use candle_nn::ModuleT;
use mobilenet_data::BatchConfig;

use super::layers::LayerSteps;
use super::on_device::DeviceSteps;
use super::{Run, Trainer};
use crate::checkpoint::{self, Progress, State};
use crate::{Balance, Error, Observer, StepReport, TrainConfig};

/// What computes an epoch's steps, batch after batch.
pub(super) trait Steps {
    /// The next batch's step, at this learning rate; `None` without a batch.
    fn step(&mut self, state: &mut State<'_>, progress: &mut Progress, lr: f64) -> Result<Option<Done>, Error>;

    /// Whether the steps so far make whole updates: no checkpoint holds half of one.
    fn is_whole(&self) -> bool;

    /// Brings the state and what the steps came to up to date.
    fn settle(&mut self, state: &mut State<'_>, progress: &mut Progress) -> Result<(), Error>;
}

/// A step that is done, or under way.
pub(super) struct Done {
    /// Its loss, or the newest that is known.
    pub loss: f64,
    /// Images of its batch.
    pub images: usize,
}

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
        let resize = config.image_size(epoch).map(|size| (size, size));
        let order = BatchConfig { resize, skip: progress.steps_done, ..self.order(epoch) };
        let mut computed: Box<dyn Steps + '_> = match &self.on_device {
            None => Box::new(LayerSteps::new(self, run, &order)),
            Some(device) => Box::new(DeviceSteps::new(self, run, device, &order)?),
        };

        let mut last_save = Instant::now();
        let mut images = progress.tally.images;
        // Of the last step that is done, if all are.
        let mut lr = config.lr(progress.epochs_done * steps + progress.steps_done.min(steps - 1), steps);
        while progress.steps_done < steps {
            let start = Instant::now();
            let next_lr = config.lr(progress.epochs_done * steps + progress.steps_done, steps);
            let Some(done) = computed.step(state, progress, next_lr)? else { break };
            lr = next_lr;
            progress.steps_done += 1;
            progress.epoch_seconds += start.elapsed().as_secs_f64();
            images += done.images as u64;

            let report = StepReport {
                epoch,
                epochs: config.epochs,
                step: progress.steps_done,
                steps,
                loss: done.loss,
                mean_loss: progress.tally.loss(),
                mean_top1: progress.tally.top1(),
                lr,
                images_per_second: images as f64 / progress.epoch_seconds,
            };
            let stop = observer.on_step(&report).is_break();
            // Not while an update is half gathered: its gradients are in no checkpoint.
            let may_save = computed.is_whole() && (stop || progress.steps_done < steps);
            if may_save && (stop || last_save.elapsed() >= run.interval) {
                computed.settle(state, progress)?;
                progress.elapsed_seconds = run.elapsed_seconds();
                checkpoint::save(&run.checkpoint, state, progress, &run.settings)?;
                last_save = Instant::now();
            }
            if stop {
                return Err(Error::Stopped { epoch, step: progress.steps_done });
            }
        }
        let start = Instant::now();
        computed.settle(state, progress)?;
        progress.epoch_seconds += start.elapsed().as_secs_f64();
        Ok(lr)
    }

    /// The whole of an epoch's images, in its order and augmented, at their own size.
    pub(super) fn order(&self, epoch: usize) -> BatchConfig {
        let TrainConfig { batch_size, seed, augment, drop_last, balance, .. } = self.config;
        BatchConfig {
            batch_size,
            seed,
            epoch: epoch as u64,
            shuffle: true,
            augment,
            resize: None,
            drop_last,
            balanced: balance == Balance::Sampler,
            skip: 0,
        }
    }
}
