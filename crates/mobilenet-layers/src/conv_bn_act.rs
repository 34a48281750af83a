//! Convolution, batch norm and activation: the unit both networks are stacked from.

use candle_core::{Result, Tensor, bail};
use candle_nn::{Module, ModuleT, VarBuilder};
use mobilenet_kernels::conv_norm::Geometry;

use mobilenet_kernels::Precision;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::fused::{self, Dims, Fusable, Kernel, Stage};
use crate::parameters::Parameters;
use crate::{Activation, BatchNorm, Conv2d, Conv2dConfig, ConvBnActConfig, DepthwiseConv2d, Window, activation};

#[derive(Clone, Debug)]
pub(crate) enum Conv {
    Dense(Conv2d),
    Depthwise(DepthwiseConv2d),
}

/// `activation(batch_norm(conv(x)))`, the convolution without bias.
#[derive(Clone, Debug)]
pub struct ConvBnAct {
    pub(crate) conv: Conv,
    pub(crate) norm: BatchNorm,
    pub(crate) activation: Activation,
    /// The convolution's path among the variables
    pub(crate) name: String,
    /// All parameters, for the fused operation; `None` where there are no kernels.
    parameters: Option<Parameters>,
}

impl Conv {
    pub(crate) fn weight(&self) -> &Tensor {
        match self {
            Self::Dense(conv) => &conv.weight,
            Self::Depthwise(conv) => &conv.weight,
        }
    }
}

impl ConvBnAct {
    /// The layer with its variables below `conv_vb` and `norm_vb`: torchvision names the two in more than one way.
    ///
    /// # Errors
    /// A depthwise convolution with `c_in != c_out`, a dense one with a dilation, or a geometry the convolution refuses.
    pub fn new(
        c_in: usize,
        c_out: usize,
        config: ConvBnActConfig,
        conv_vb: VarBuilder,
        norm_vb: VarBuilder,
    ) -> Result<Self> {
        let ConvBnActConfig { kernel, stride, dilation, depthwise, norm, activation } = config;
        let name = conv_vb.prefix();
        let conv = if depthwise {
            if c_in != c_out {
                bail!("depthwise convolution: expected as many output as input channels, found {c_in} and {c_out}")
            }
            Conv::Depthwise(DepthwiseConv2d::new(c_in, Window::same(kernel, stride, dilation), conv_vb)?)
        } else {
            if dilation != 1 {
                bail!("dense convolution: expected a dilation of 1, found {dilation}")
            }
            Conv::Dense(Conv2d::new(c_in, c_out, Conv2dConfig { kernel, stride, bias: false }, conv_vb)?)
        };
        let layer = Self { conv, norm: BatchNorm::new(c_out, norm, norm_vb)?, activation, name, parameters: None };
        Ok(Self { parameters: Parameters::for_kernels(layer.tensors())?, ..layer })
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        match fused::run(std::slice::from_ref(self), self.parameters.as_ref(), xs, train, Precision::F32)? {
            Some(ys) => Ok(ys),
            None => to_nhwc(&self.chained(&to_nchw(xs)?, train)?),
        }
    }

    /// The weight, `[c_out, c_in, 1, 1]`, if the convolution is a 1×1 at stride 1.
    pub(crate) fn pointwise_weight(&self) -> Option<&Tensor> {
        match &self.conv {
            Conv::Dense(conv) if conv.config == Conv2dConfig::POINTWISE => Some(&conv.weight),
            _ => None,
        }
    }
}

impl Fusable for ConvBnAct {
    fn tensors(&self) -> Vec<Tensor> {
        [self.conv.weight(), &self.norm.weight, &self.norm.bias].map(Clone::clone).into()
    }

    fn stage(&self, (n, h, w, c): Dims) -> Result<Option<Stage>> {
        let Conv::Dense(conv) = &self.conv else { return Ok(None) };
        let (c_out, c_in, ..) = conv.weight.dims4()?;
        if c != c_in || n * h * w == 0 || conv.bias.is_some() {
            return Ok(None);
        }
        let Conv2dConfig { kernel, stride, .. } = conv.config;
        let conv = mobilenet_kernels::conv::Geometry { h, w, c_in, c_out, kernel, stride, padding: kernel / 2 };
        let (activation, eps) = (activation::kernel(self.activation), self.norm.config.eps);
        let geometry = Geometry { n, conv, activation, eps, precision: Precision::F32 };
        let norms = vec![self.norm.clone()];
        Ok(Some(Stage { kernel: Kernel::ConvNorm(geometry), norms, name: self.name.clone() }))
    }

    fn chained(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let ys = match &self.conv {
            Conv::Dense(conv) => conv.forward(xs)?,
            Conv::Depthwise(conv) => conv.forward(xs)?,
        };
        self.norm.forward_act(&ys, self.activation, train)
    }
}

impl ModuleT for ConvBnAct {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']` with `h' = (h - 1) / stride + 1`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        to_nchw(&self.forward_channels_last(&to_nhwc(xs)?, train)?)
    }
}
