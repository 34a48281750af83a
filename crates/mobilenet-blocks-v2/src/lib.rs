#![doc = include_str!("../README.md")]

use candle_core::{Result, Tensor, bail};
use candle_nn::{ModuleT, VarBuilder};
use mobilenet_layers::LinearBottleneck;

pub use mobilenet_arch::InvertedResidualConfig;
// What a model of one's own needs beside the block.
pub use mobilenet_layers::{Activate, Activation, BatchNormConfig, global_avg_pool, seeded_var_builder};

/// MobileNetV2's block: 1×1 expansion, 3×3 depthwise, linear 1×1 projection, and the input added where shapes agree.
///
/// Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", figure 4; weight names as in torchvision's
/// `InvertedResidual`.
#[derive(Clone, Debug)]
pub struct InvertedResidual(LinearBottleneck);

impl InvertedResidual {
    /// The block with its variables below `vb`: `conv.0.0` (convolution) and `conv.0.1` (batch norm), …, and the
    /// projection's two without a level of their own.
    ///
    /// # Errors
    /// A size of 0, numbers that the batch norm refuses, or variables of another shape in `vb`.
    pub fn new(config: &InvertedResidualConfig, vb: VarBuilder) -> Result<Self> {
        let InvertedResidualConfig { c_in, c_out, stride, expand_ratio, .. } = *config;
        if [c_in, c_out, stride, expand_ratio].contains(&0) {
            bail!("inverted residual: expected channels, stride and expand ratio of at least 1, found {config:?}")
        }
        Ok(Self(LinearBottleneck::from_plan(&config.layer(), &vb)?))
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.0.forward_channels_last(xs, train)
    }
}

impl From<InvertedResidual> for LinearBottleneck {
    /// The chain of layers that the block is, to be stacked or changed.
    fn from(block: InvertedResidual) -> Self {
        block.0
    }
}

impl ModuleT for InvertedResidual {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']` with `h' = (h - 1) / stride + 1`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.0.forward_t(xs, train)
    }
}
