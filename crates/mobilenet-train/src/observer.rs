//! What a trainer reports while it works.

use std::ops::ControlFlow;

use crate::EpochMetrics;

/// State of a training after one step.
#[derive(Copy, Clone, Debug)]
pub struct StepReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Steps of this epoch that are done.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Loss of this step's batch.
    pub loss: f64,
    /// Mean loss over the epoch's images so far.
    pub mean_loss: f64,
    /// Share of the epoch's images so far whose label the model put first.
    pub mean_top1: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Training speed over the epoch so far.
    pub images_per_second: f64,
}

/// Follows a training, and may stop it: `ControlFlow::Break(())` ends [`Trainer::fit`](crate::Trainer::fit) with an
/// error, after a checkpoint is written. A stopped run can be resumed.
///
/// `()` is the observer that does nothing.
pub trait Observer {
    /// After every step.
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let _ = report;
        ControlFlow::Continue(())
    }

    /// During the evaluation that ends an epoch, after every batch: `done` of `total` images;
    /// none while batch norm's statistics are taken for it.
    fn on_evaluation(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        let _ = (done, total);
        ControlFlow::Continue(())
    }

    /// After every epoch, when its checkpoint and metrics are written.
    fn on_epoch(&mut self, metrics: &EpochMetrics) -> ControlFlow<()> {
        let _ = metrics;
        ControlFlow::Continue(())
    }
}

impl Observer for () {}
