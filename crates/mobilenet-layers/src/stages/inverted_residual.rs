//! The stage of a whole block: expansion, depthwise convolution, squeeze-and-excite, projection, shortcut.

use candle_core::{Result, Tensor};
use mobilenet_kernels::batch_norm::Statistics;
use mobilenet_kernels::depthwise::DepthwiseShape;
use mobilenet_kernels::inverted_residual::{self as kernels, BottleneckShape, Saved};
use mobilenet_kernels::{Precision, profile};

use crate::conv_bn_act::Conv;
use crate::fused::Dims;
use crate::fused::stage::{Gradients, Stage};
use crate::{Activation, BatchNorm, ConvBnAct, LinearBottleneck, Window};

pub(super) struct InvertedResidual {
    layer: LinearBottleneck,
    shape: BottleneckShape,
}

impl InvertedResidual {
    /// The stage of a whole block, for images that it takes; where there is no kernel for it, what the kernel lacks.
    pub(super) fn new(
        layer: &LinearBottleneck,
        (n, h, w, c_in): Dims,
        precision: Precision,
    ) -> std::result::Result<Self, &'static str> {
        let LinearBottleneck { expand, depthwise: filter, squeeze_excite, project, residual, .. } = layer;
        let Conv::Depthwise(conv) = &filter.conv else { return Err("the middle convolution is not depthwise") };
        if !project.is_pointwise() || !expand.iter().all(ConvBnAct::is_pointwise) {
            return Err("a convolution beside the depthwise one is not a 1×1");
        }
        if project.activation != Activation::Identity {
            return Err("the projection has an activation");
        }
        if expand.iter().any(|expand| expand.activation != filter.activation) {
            return Err("two activations in one block");
        }
        let eps = filter.norm.config.eps;
        if expand.iter().chain([project]).any(|unit| unit.norm.config.eps != eps) {
            return Err("batch norms with more than one eps in one block");
        }
        let Window { kernel, stride, dilation, padding } = conv.window;
        let shape = BottleneckShape {
            n,
            c_in,
            c_out: project.c_out(),
            has_expand: expand.is_some(),
            depthwise: DepthwiseShape { h, w, c: filter.c_out(), kernel, stride, dilation, padding },
            squeeze: squeeze_excite.as_ref().map(|se| se.squeeze()),
            activation: filter.activation,
            has_residual: *residual,
            eps,
            precision,
        };
        Ok(Self { layer: layer.clone(), shape })
    }
}

impl Stage for InvertedResidual {
    type Saved = Box<Saved>;

    fn name(&self) -> &str {
        &self.layer.name
    }

    fn output(&self) -> Dims {
        let BottleneckShape { n, depthwise, c_out, .. } = &self.shape;
        (*n, depthwise.h_out(), depthwise.w_out(), *c_out)
    }

    fn parameters(&self) -> Vec<Tensor> {
        self.layer.parameters()
    }

    fn norms(&self) -> Vec<(&BatchNorm, usize)> {
        let BottleneckShape { n, depthwise, .. } = &self.shape;
        let (pixels_in, pixels_out) = (depthwise.h * depthwise.w, depthwise.h_out() * depthwise.w_out());
        let expand = self.layer.expand.iter().map(|expand| (&expand.norm, n * pixels_in));
        let others = [&self.layer.depthwise, &self.layer.project].map(|unit| (&unit.norm, n * pixels_out));
        expand.chain(others).collect()
    }

    fn forward(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Box<Saved> {
        kernels::forward(&self.shape, x, theta, y).into()
    }

    fn statistics<'a>(&self, saved: &'a Box<Saved>) -> Vec<&'a Statistics> {
        let (expand, depthwise, project) = saved.statistics();
        expand.into_iter().chain([depthwise, project]).collect()
    }

    /// The gradient of the input falls out of the kernel, asked for or not.
    fn backward(&self, saved: &Box<Saved>, x: &[f32], theta: &[&[f32]], gy: &mut [f32], _: bool) -> Gradients {
        kernels::backward(&self.shape, x, theta, saved, gy)
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
