//! The stage of a depthwise convolution, its batch norm and its activation.

use candle_core::{Result, Tensor};
use mobilenet_kernels::batch_norm::Statistics;
use mobilenet_kernels::depthwise::DepthwiseShape;
use mobilenet_kernels::depthwise_norm::{self as kernels, DepthwiseNormShape, Saved};
use mobilenet_kernels::{Buffer, Precision, profile};

use crate::fused::Dims;
use crate::fused::stage::{Gradients, Stage};
use crate::{BatchNorm, ConvBnAct, DepthwiseConv2d, Window};

pub(super) struct DepthwiseNorm {
    layer: ConvBnAct,
    shape: DepthwiseNormShape,
}

impl DepthwiseNorm {
    /// The stage of a depthwise convolution, for images that it takes.
    pub(super) fn new(layer: &ConvBnAct, conv: &DepthwiseConv2d, (n, h, w, c): Dims, precision: Precision) -> Self {
        let Window { kernel, stride, dilation, padding } = conv.window;
        let depthwise = DepthwiseShape { h, w, c, kernel, stride, dilation, padding };
        let (activation, eps) = (layer.activation, layer.norm.config.eps);
        let shape = DepthwiseNormShape { n, depthwise, activation, eps, precision };
        Self { layer: layer.clone(), shape }
    }
}

impl Stage for DepthwiseNorm {
    type Saved = Saved;

    fn name(&self) -> &str {
        &self.layer.name
    }

    fn output(&self) -> Dims {
        let DepthwiseNormShape { n, depthwise, .. } = &self.shape;
        (*n, depthwise.h_out(), depthwise.w_out(), depthwise.c)
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
