//! The stage of a dense convolution, its batch norm and its activation.

use candle_core::{Result, Tensor};
use mobilenet_kernels::batch_norm::Statistics;
use mobilenet_kernels::conv::ConvShape;
use mobilenet_kernels::conv_norm::{self as kernels, ConvNormShape, Saved};
use mobilenet_kernels::{Buffer, Precision, profile};

use crate::fused::Dims;
use crate::fused::stage::{Gradients, Stage};
use crate::{BatchNorm, Conv2d, Conv2dConfig, ConvBnAct};

pub(super) struct ConvNorm {
    layer: ConvBnAct,
    shape: ConvNormShape,
}

impl ConvNorm {
    /// The stage of a dense convolution, for images that it takes.
    pub(super) fn new(layer: &ConvBnAct, dense: &Conv2d, (n, h, w, c_in): Dims, precision: Precision) -> Self {
        let Conv2dConfig { kernel, stride, .. } = dense.config;
        let c_out = dense.c_out();
        let conv = ConvShape { h, w, c_in, c_out, kernel, stride, padding: kernel / 2 };
        let (activation, eps) = (layer.activation, layer.norm.config.eps);
        Self { layer: layer.clone(), shape: ConvNormShape { n, conv, activation, eps, precision } }
    }
}

impl Stage for ConvNorm {
    type Saved = Saved;

    fn name(&self) -> &str {
        &self.layer.name
    }

    fn output(&self) -> Dims {
        let ConvNormShape { n, conv, .. } = &self.shape;
        (*n, conv.h_out(), conv.w_out(), conv.c_out)
    }

    fn parameters(&self) -> Vec<Tensor> {
        self.layer.parameters()
    }

    fn norms(&self) -> Vec<(&BatchNorm, usize)> {
        let (n, h, w, _) = self.output();
        vec![(&self.layer.norm, n * h * w)]
    }

    fn forward(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
        kernels::forward(&self.shape, x, theta, y)
    }

    fn statistics<'a>(&self, saved: &'a Saved) -> Vec<&'a Statistics> {
        vec![saved.statistics()]
    }

    fn backward(&self, saved: &Saved, x: &[f32], theta: &[&[f32]], gy: &mut [f32], wants_gx: bool) -> Gradients {
        let mut gx = wants_gx.then(|| Buffer::new(x.len()));
        let gtheta = kernels::backward(&self.shape, x, theta, saved, gy, gx.as_deref_mut());
        (gx.unwrap_or_default(), gtheta.into())
    }

    fn infer(&self, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
        kernels::infer(&self.shape, x, theta, running, y);
    }

    fn inference_work(&self) -> profile::Work {
        self.shape.inference_work()
    }

    fn by_operations(&self, xs: &Tensor) -> Result<Tensor> {
        self.layer.by_operations(xs, false)
    }
}
