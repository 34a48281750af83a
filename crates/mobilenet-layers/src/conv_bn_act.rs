//! Convolution, batch norm and activation: the unit both networks are stacked from.

use candle_core::{Result, Tensor, bail};
use candle_nn::{Module, ModuleT, VarBuilder};
use mobilenet_kernels::Precision;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::fused;
use crate::{Activation, BatchNorm, Conv2d, Conv2dConfig, ConvBnActConfig, DepthwiseConv2d, Window};

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
    /// An even kernel, a depthwise convolution with `c_in != c_out`, a dense one with a dilation, or what the
    /// convolution or the batch norm refuses.
    pub fn new(
        c_in: usize,
        c_out: usize,
        config: ConvBnActConfig,
        conv_vb: VarBuilder,
        norm_vb: VarBuilder,
    ) -> Result<Self> {
        let ConvBnActConfig { kernel, stride, dilation, depthwise, norm, activation } = config;
        let name = conv_vb.prefix();
        if kernel % 2 == 0 {
            bail!("convolution: expected an odd kernel, found {kernel}: an even one does not keep the size of an image")
        }
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
        Ok(Self { conv, norm: BatchNorm::new(c_out, norm, norm_vb)?, activation, name })
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        fused::forward(&[self], xs, train, Precision::F32)
    }

    /// `[n, c_in, h, w] -> [n, c_out, h', w']`: the convolution, and batch norm with the activation.
    pub(crate) fn by_operations(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let ys = match &self.conv {
            Conv::Dense(conv) => conv.forward(xs)?,
            Conv::Depthwise(conv) => conv.forward(xs)?,
        };
        self.norm.forward_act(&ys, self.activation, train)
    }

    pub(crate) fn parameters(&self) -> Vec<Tensor> {
        [self.conv.weight(), &self.norm.weight, &self.norm.bias].map(Clone::clone).into()
    }

    pub(crate) fn c_in(&self) -> usize {
        match &self.conv {
            Conv::Dense(conv) => conv.c_in(),
            Conv::Depthwise(conv) => conv.channels(),
        }
    }

    pub(crate) fn c_out(&self) -> usize {
        match &self.conv {
            Conv::Dense(conv) => conv.c_out(),
            Conv::Depthwise(conv) => conv.channels(),
        }
    }

    pub(crate) fn window(&self) -> Window {
        match &self.conv {
            Conv::Dense(conv) => conv.window(),
            Conv::Depthwise(conv) => conv.window,
        }
    }

    /// Whether the convolution is a 1×1 over all channels at stride 1.
    pub(crate) fn is_pointwise(&self) -> bool {
        matches!(&self.conv, Conv::Dense(conv) if conv.config == Conv2dConfig::POINTWISE)
    }
}

impl ModuleT for ConvBnAct {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']` with `h' = (h - 1) / stride + 1`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        to_nchw(&self.forward_channels_last(&to_nhwc(xs)?, train)?)
    }
}
