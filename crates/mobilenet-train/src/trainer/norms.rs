//! Batch norm's statistics, taken anew for the weights that are judged (Wu & Johnson 2021,
//! <https://arxiv.org/abs/2105.07576>, "precise batch norm"; as `torch.optim.swa_utils.update_bn`).
//!
//! The running statistics are those of weights that were passed through, and their average is not that of the averaged
//! weights: what is noise in the weights is gone from the average, and with it its share of the activations' variance.
//! So some batches of training images go through the network as it is, augmented as in training but neither mixed nor
//! erased, which no image to be judged is either; the statistics are the mean of theirs.

use std::sync::Arc;

use candle_core::{Tensor, Var};
use candle_nn::ModuleT;
use mobilenet_data::{Augment, BatchConfig, Mix, batches};

use super::{Run, Trainer};
use crate::variables::{host_values, sorted_vars};
use crate::{Error, Observer};

/// A running statistic, and the sum of the batches' over their images.
struct Sum {
    running: Var,
    sum: Vec<f64>,
}

impl<M: ModuleT> Trainer<'_, M> {
    /// Sets the running statistics of `epoch`'s weights, from 1, if the settings ask for it.
    pub(super) fn take_statistics(
        &self,
        run: &Run<'_>,
        epoch: usize,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let Some((count, model)) = self.config.precise_bn.zip(self.statistics) else { return Ok(()) };
        let mut sums: Vec<Sum> = sorted_vars(self.vars)?
            .into_iter()
            .filter(|(name, _)| name.ends_with("running_mean") || name.ends_with("running_var"))
            .map(|(_, running)| Sum { sum: vec![0.0; running.elem_count()], running })
            .collect();
        let augment = Augment { mix: Mix::None, random_erasing: 0.0, ..self.config.augment };
        let order = BatchConfig { augment, ..self.order(epoch) };
        let mut images = 0;
        for batch in batches(Arc::clone(&run.data.train), run.data.normalization, &order, &self.device).take(count) {
            let batch = batch?;
            model.forward_t(&batch.images, true)?;
            let of_batch = batch.labels.elem_count();
            images += of_batch;
            for Sum { running, sum } in &mut sums {
                let values = host_values(running)?;
                sum.iter_mut().zip(&*values).for_each(|(sum, &x)| *sum += of_batch as f64 * f64::from(x));
            }
            if observer.on_evaluation(0, run.data.eval.len()).is_break() {
                return Err(Error::EvaluationStopped);
            }
        }
        for Sum { running, sum } in sums {
            let mean: Vec<f32> = sum.into_iter().map(|sum| (sum / images as f64) as f32).collect();
            running.set(&Tensor::from_vec(mean, running.shape(), running.device())?)?;
        }
        Ok(())
    }
}
