//! Global average pooling as a layer among others, and its stage.

use candle_core::{Result, Tensor, bail};
use mobilenet_kernels::batch_norm::Statistics;
use mobilenet_kernels::{Buffer, Precision, pool as kernels, profile};

use crate::fused::stage::{Gradients, Stage};
use crate::fused::{Dims, Fusable, Part};
use crate::{BatchNorm, global_avg_pool};

/// `[n, h, w, c] -> [n, 1, 1, c]`, the mean over the pixels.
pub(crate) struct GlobalAvgPool;

impl Fusable for GlobalAvgPool {
    fn parameters(&self) -> Vec<Tensor> {
        Vec::new()
    }

    fn output(&self, (n, h, w, c): Dims) -> Result<Dims> {
        if h * w == 0 {
            bail!("global average pool: expected at least one pixel, found {:?}", [n, c, h, w])
        }
        Ok((n, 1, 1, c))
    }

    fn parts(&self, dims: Dims, _: Precision) -> Result<Vec<Part>> {
        self.output(dims)?;
        Ok(vec![Part::stage(Pool { dims })])
    }

    fn by_operations(&self, xs: &Tensor, _: bool) -> Result<Tensor> {
        by_operations(xs)
    }
}

fn by_operations(xs: &Tensor) -> Result<Tensor> {
    let (n, c, ..) = xs.dims4()?;
    global_avg_pool(xs)?.reshape((n, c, 1, 1))
}

struct Pool {
    dims: Dims,
}

impl Pool {
    fn pixels(&self) -> usize {
        let (_, h, w, _) = self.dims;
        h * w
    }

    fn mean(&self, x: &[f32], y: &mut [f32]) {
        kernels::mean(x, self.pixels(), self.dims.3, y);
    }
}

impl Stage for Pool {
    type Saved = ();

    /// As in torchvision; there are no variables.
    fn name(&self) -> &str {
        "avgpool"
    }

    fn output(&self) -> Dims {
        let (n, _, _, c) = self.dims;
        (n, 1, 1, c)
    }

    fn parameters(&self) -> Vec<Tensor> {
        Vec::new()
    }

    fn norms(&self) -> Vec<(&BatchNorm, usize)> {
        Vec::new()
    }

    fn forward(&self, x: &[f32], _: &[&[f32]], y: &mut [f32]) {
        profile::phase("forward mean", self.inference_work(), || self.mean(x, y));
    }

    fn statistics<'a>(&self, (): &'a ()) -> Vec<&'a Statistics> {
        Vec::new()
    }

    fn backward(&self, (): &(), x: &[f32], _: &[&[f32]], gy: &mut [f32], wants_gx: bool) -> Gradients {
        let mut gx = Buffer::default();
        if wants_gx {
            gx = Buffer::new(x.len());
            profile::phase("backward mean", self.inference_work(), || {
                kernels::mean_backward(gy, self.pixels(), self.dims.3, &mut gx);
            });
        }
        (gx, Vec::new())
    }

    fn infer(&self, x: &[f32], _: &[&[f32]], _: &[(&[f32], &[f32])], y: &mut [f32]) {
        self.mean(x, y);
    }

    fn inference_work(&self) -> profile::Work {
        let (n, _, _, c) = self.dims;
        profile::Work { flops: 0, bytes: 4 * (n * c * (self.pixels() + 1)) as u64 }
    }

    fn by_operations(&self, xs: &Tensor) -> Result<Tensor> {
        by_operations(xs)
    }
}
