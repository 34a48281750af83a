#![doc = include_str!("../README.md")]

use candle_core::{Result, Tensor, bail};
use candle_nn::{ModuleT, VarBuilder};
use mobilenet_layers::LinearBottleneck;

pub use mobilenet_arch::BottleneckConfig;
// What a model of one's own needs beside the block.
pub use mobilenet_layers::{Activate, Activation, BatchNormConfig, global_avg_pool, seeded_var_builder};

/// MobileNetV3's block: MobileNetV2's with a wider window, squeeze-and-excite after the depthwise activation, and
/// h-swish.
///
/// Howard et al., "Searching for MobileNetV3", figure 4; weight names as in torchvision's `InvertedResidual` of
/// `mobilenetv3.py`.
#[derive(Clone, Debug)]
pub struct Bottleneck(LinearBottleneck);

impl Bottleneck {
    /// The block with its variables below `vb`: `block.J.0` (convolution) and `block.J.1` (batch norm), or
    /// `block.J.fc1` and `block.J.fc2`, `J` counting the parts that are there.
    ///
    /// # Errors
    /// An even kernel, a size of 0, numbers that the batch norm refuses, or variables of another shape in `vb`.
    pub fn new(config: &BottleneckConfig, vb: VarBuilder) -> Result<Self> {
        let BottleneckConfig { kernel, c_in, expanded, c_out, squeeze, stride, dilation, .. } = *config;
        if kernel % 2 == 0 {
            bail!("bottleneck: expected an odd kernel, found {kernel}")
        }
        if [c_in, expanded, c_out, stride, dilation, squeeze.unwrap_or(1)].contains(&0) {
            bail!("bottleneck: expected channels, squeeze, stride and dilation of at least 1, found {config:?}")
        }
        Ok(Self(LinearBottleneck::from_plan(&config.layer(), &vb)?))
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.0.forward_channels_last(xs, train)
    }
}

impl From<Bottleneck> for LinearBottleneck {
    /// The chain of layers that the block is, to be stacked or changed.
    fn from(block: Bottleneck) -> Self {
        block.0
    }
}

impl ModuleT for Bottleneck {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']` with `h' = (h - 1) / stride + 1`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.0.forward_t(xs, train)
    }
}
