//! A layer that kernels compute whole, for images of given sizes.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use mobilenet_kernels::batch_norm::Statistics;
use mobilenet_kernels::{Buffer, profile};

use super::Dims;
use crate::BatchNorm;

/// The gradient of the input, empty where it was not asked for, and that of each parameter.
pub(crate) type Gradients = (Buffer, Vec<Vec<f32>>);

/// What a kernel needs to compute a layer. Images are `[n, h, w, c]`, parameters ("theta") lie as in PyTorch.
///
/// There is one file for each kind of stage; a new kind implements this trait and nothing else changes.
pub(crate) trait Stage: Send + Sync + 'static {
    /// What a forward leaves for its backward.
    type Saved: Send + Sync + 'static;

    /// The layer's path among the variables: its name in a profile.
    fn name(&self) -> &str;

    /// The sizes of the output.
    fn output(&self) -> Dims;

    /// The parameters, in the order of `theta`.
    fn parameters(&self) -> Vec<Tensor>;

    /// The batch norms, in the order of the kernel's statistics, and over how many values of each channel they take
    /// them.
    fn norms(&self) -> Vec<(&BatchNorm, usize)>;

    /// Computes `y` with the batch's statistics.
    fn forward(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Self::Saved;

    /// The batch's statistics, one for each of the [`norms`](Self::norms).
    fn statistics<'a>(&self, saved: &'a Self::Saved) -> Vec<&'a Statistics>;

    /// The gradients, that of the input if `wants_gx`. Uses up `gy`.
    fn backward(&self, saved: &Self::Saved, x: &[f32], theta: &[&[f32]], gy: &mut [f32], wants_gx: bool) -> Gradients;

    /// Computes `y` with given means and variances, one pair for each of the [`norms`](Self::norms).
    fn infer(&self, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]);

    /// What [`infer`](Self::infer) has to do.
    fn inference_work(&self) -> profile::Work;

    /// `[n, c, h, w] -> [n, c', h', w']`: what [`infer`](Self::infer) computes, by operations that have a gradient.
    fn by_operations(&self, xs: &Tensor) -> Result<Tensor>;
}

/// A stage of any kind.
pub(crate) type AnyStage = Arc<dyn Run>;

/// What a run of stages asks of each, whatever its kind: [`Stage`] with its memory bound to it.
pub(crate) trait Run: Send + Sync {
    fn name(&self) -> &str;

    fn output(&self) -> Dims;

    fn parameters(&self) -> Vec<Tensor>;

    /// Computes `y` and moves the running statistics.
    fn forward(self: Arc<Self>, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Result<Box<dyn Ran>>;

    /// Computes `y` with the running statistics.
    fn infer(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Result<()>;

    fn by_operations(&self, xs: &Tensor) -> Result<Tensor>;
}

/// A stage that has run forward.
pub(crate) trait Ran: Send + Sync {
    /// As [`Stage::backward`].
    fn backward(&self, x: &[f32], theta: &[&[f32]], gy: &mut [f32], wants_gx: bool) -> Gradients;
}

struct Memory<S: Stage> {
    stage: Arc<S>,
    saved: S::Saved,
}

impl<S: Stage> Ran for Memory<S> {
    fn backward(&self, x: &[f32], theta: &[&[f32]], gy: &mut [f32], wants_gx: bool) -> Gradients {
        let stage = &*self.stage;
        profile::scope(Stage::name(stage), || stage.backward(&self.saved, x, theta, gy, wants_gx))
    }
}

impl<S: Stage> Run for S {
    fn name(&self) -> &str {
        Stage::name(self)
    }

    fn output(&self) -> Dims {
        Stage::output(self)
    }

    fn parameters(&self) -> Vec<Tensor> {
        Stage::parameters(self)
    }

    fn forward(self: Arc<Self>, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Result<Box<dyn Ran>> {
        let saved = profile::scope(Stage::name(&*self), || Stage::forward(&*self, x, theta, y));
        for ((norm, count), statistics) in self.norms().into_iter().zip(self.statistics(&saved)) {
            norm.track(statistics, count)?;
        }
        Ok(Box::new(Memory { stage: self, saved }))
    }

    /// One phase of a profile: what is between a layer's convolutions never leaves the cache.
    fn infer(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Result<()> {
        let whole = || {
            let running = self.norms().into_iter().map(|(norm, _)| norm.running()).collect::<Result<Vec<_>>>()?;
            let running: Vec<_> = running.iter().map(|s| (s.mean.as_slice(), s.var.as_slice())).collect();
            Stage::infer(self, x, theta, &running, y);
            Ok(())
        };
        profile::scope(Stage::name(self), || profile::phase("inference", self.inference_work(), whole))
    }

    fn by_operations(&self, xs: &Tensor) -> Result<Tensor> {
        Stage::by_operations(self, xs)
    }
}
