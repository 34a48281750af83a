//! The CPU's kernels, stage after stage, as what the emulated ones are compared with.

use mobilenet_arch::plan::{ConvPlan, LayerPlan};
use mobilenet_arch::{ConvBnActConfig, Precision};
use mobilenet_kernels::batch_norm::Statistics;
use mobilenet_kernels::conv::ConvShape;
use mobilenet_kernels::conv_norm::{self, ConvNormShape};
use mobilenet_kernels::depthwise::DepthwiseShape;
use mobilenet_kernels::depthwise_norm::{self, DepthwiseNormShape};
use mobilenet_kernels::inverted_residual::{self, BottleneckShape};

/// A layer for images of one size.
pub enum Stage {
    Conv(ConvNormShape),
    Depthwise(DepthwiseNormShape),
    Block(BottleneckShape),
}

pub enum Saved {
    Conv(conv_norm::Saved),
    Depthwise(depthwise_norm::Saved),
    Block(Box<inverted_residual::Saved>),
}

fn depthwise(config: &ConvBnActConfig, h: usize, w: usize, c: usize) -> DepthwiseShape {
    let ConvBnActConfig { kernel, stride, dilation, .. } = *config;
    DepthwiseShape { h, w, c, kernel, stride, dilation, padding: dilation * (kernel / 2) }
}

/// A layer's convolutions, by their paths, and the names of its parameters in the order of `theta`.
pub fn names(layer: &LayerPlan, path: &str) -> (Vec<ConvPlan>, Vec<String>) {
    let of = |conv: &ConvPlan| {
        [format!("{}.weight", conv.conv), format!("{}.weight", conv.norm), format!("{}.bias", conv.norm)]
    };
    match layer {
        LayerPlan::Conv(conv) => {
            let conv = conv.clone().below(path);
            let names = of(&conv).into();
            (vec![conv], names)
        }
        LayerPlan::Bottleneck(block) => {
            let convs: Vec<ConvPlan> =
                block.expand.iter().chain([&block.depthwise, &block.project]).map(|c| c.clone().below(path)).collect();
            let mut names: Vec<String> = convs[..convs.len() - 1].iter().flat_map(of).collect();
            if let Some(se) = &block.squeeze_excite {
                let of = |name: &str| format!("{path}.{}.{name}", se.path);
                names.extend(["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"].map(of));
            }
            names.extend(of(&convs[convs.len() - 1]));
            (convs, names)
        }
    }
}

impl Stage {
    pub fn new(layer: &LayerPlan, (n, h, w): (usize, usize, usize), precision: Precision) -> Self {
        match layer {
            LayerPlan::Conv(ConvPlan { c_in, c_out, config, .. }) => {
                let (activation, eps) = (config.activation, config.norm.eps);
                if config.depthwise {
                    let depthwise = depthwise(config, h, w, *c_out);
                    return Self::Depthwise(DepthwiseNormShape { n, depthwise, activation, eps, precision });
                }
                let (kernel, stride) = (config.kernel, config.stride);
                let conv = ConvShape { h, w, c_in: *c_in, c_out: *c_out, kernel, stride, padding: kernel / 2 };
                Self::Conv(ConvNormShape { n, conv, activation, eps, precision })
            }
            LayerPlan::Bottleneck(block) => Self::Block(BottleneckShape {
                n,
                c_in: layer.c_in(),
                c_out: layer.c_out(),
                has_expand: block.expand.is_some(),
                depthwise: depthwise(&block.depthwise.config, h, w, block.depthwise.c_out),
                squeeze: block.squeeze_excite.as_ref().map(|se| se.squeeze),
                activation: block.depthwise.config.activation,
                has_residual: block.residual,
                eps: block.depthwise.config.norm.eps,
                precision,
            }),
        }
    }

    /// The sizes of the output: `n`, `h`, `w`, `c`.
    pub fn output(&self) -> (usize, usize, usize, usize) {
        match self {
            Self::Conv(g) => (g.n, g.conv.h_out(), g.conv.w_out(), g.conv.c_out),
            Self::Depthwise(g) => (g.n, g.depthwise.h_out(), g.depthwise.w_out(), g.depthwise.c),
            Self::Block(g) => (g.n, g.depthwise.h_out(), g.depthwise.w_out(), g.c_out),
        }
    }

    pub fn forward(&self, x: &[f32], theta: &[&[f32]]) -> (Vec<f32>, Saved) {
        let (n, h, w, c) = self.output();
        let mut y = vec![0.; n * h * w * c];
        let saved = match self {
            Self::Conv(g) => Saved::Conv(conv_norm::forward(g, x, theta, &mut y)),
            Self::Depthwise(g) => Saved::Depthwise(depthwise_norm::forward(g, x, theta, &mut y)),
            Self::Block(g) => Saved::Block(inverted_residual::forward(g, x, theta, &mut y).into()),
        };
        (y, saved)
    }

    /// The gradient of the input, empty for a convolution that is not a 1×1, and those of the parameters.
    pub fn backward(&self, x: &[f32], theta: &[&[f32]], saved: &Saved, gy: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
        let mut gx = vec![0.; x.len()];
        match (self, saved) {
            (Self::Conv(g), Saved::Conv(saved)) => {
                let pointwise = g.conv.kernel == 1;
                let mut gy = gy.to_vec();
                let gtheta = conv_norm::backward(g, x, theta, saved, &mut gy, pointwise.then_some(&mut gx[..]));
                (if pointwise { gx } else { Vec::new() }, gtheta.into())
            }
            (Self::Depthwise(g), Saved::Depthwise(saved)) => {
                let gtheta = depthwise_norm::backward(g, x, theta, saved, gy, Some(&mut gx));
                (gx, gtheta.into())
            }
            (Self::Block(g), Saved::Block(saved)) => {
                let (gx, gtheta) = inverted_residual::backward(g, x, theta, saved, gy);
                (gx.to_vec(), gtheta)
            }
            _ => panic!("saved by another stage"),
        }
    }

    pub fn infer(&self, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])]) -> Vec<f32> {
        let (n, h, w, c) = self.output();
        let mut y = vec![0.; n * h * w * c];
        match self {
            Self::Conv(g) => conv_norm::infer(g, x, theta, running, &mut y),
            Self::Depthwise(g) => depthwise_norm::infer(g, x, theta, running, &mut y),
            Self::Block(g) => inverted_residual::infer(g, x, theta, running, &mut y),
        }
        y
    }

    /// Over how many values of each channel the statistics are, norm by norm.
    pub fn counts(&self, norms: usize) -> Vec<usize> {
        let (n, h, w, _) = self.output();
        let mut counts = vec![n * h * w; norms];
        if let Self::Block(g) = self
            && g.has_expand
        {
            counts[0] = n * g.depthwise.h * g.depthwise.w;
        }
        counts
    }
}

impl Saved {
    pub fn statistics(&self) -> Vec<&Statistics> {
        match self {
            Self::Conv(saved) => vec![saved.statistics()],
            Self::Depthwise(saved) => vec![saved.statistics()],
            Self::Block(saved) => {
                let (expand, depthwise, project) = saved.statistics();
                expand.into_iter().chain([depthwise, project]).collect()
            }
        }
    }
}

/// Running statistics that were 0 (mean) and 1 (variance), moved by a batch's: means and variances.
pub fn running(statistics: &Statistics, count: usize, momentum: f64) -> [Vec<f32>; 2] {
    let momentum = momentum as f32;
    let unbiasing = if count > 1 { count as f64 / (count - 1) as f64 } else { 1. } as f32;
    let mean = statistics.mean.iter().map(|mean| mean * momentum).collect();
    let var = statistics.var.iter().map(|var| (1. - momentum) + var * (momentum * unbiasing)).collect();
    [mean, var]
}
