//! The sizes of the blocks of MobileNetV2 and MobileNetV3.

use crate::units::{BottleneckPlan, ConvPlan, SqueezeExcitePlan};
use crate::{Activation, BatchNormConfig, ConvBnActConfig};

/// The sizes of MobileNetV2's block, the inverted residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvertedResidualConfig {
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Step of the depthwise convolution.
    pub stride: usize,
    /// How many times wider than the input the block is inside; 1 leaves the expansion out.
    pub expand_ratio: usize,
    /// Batch norm's numbers.
    pub norm: BatchNormConfig,
}

impl InvertedResidualConfig {
    /// Channels inside the block.
    pub fn expanded(&self) -> usize {
        self.c_in.saturating_mul(self.expand_ratio)
    }

    /// Whether the input is added to the output: the shapes agree.
    pub fn has_residual(&self) -> bool {
        self.stride == 1 && self.c_in == self.c_out
    }

    /// The block's layers under the names of torchvision's `InvertedResidual`: `conv.0.0` (convolution) and `conv.0.1`
    /// (batch norm), …, and the projection's two without a level of their own.
    pub fn layer(&self) -> BottleneckPlan {
        let &Self { c_in, c_out, stride, expand_ratio, norm } = self;
        let (expanded, relu6) = (self.expanded(), Activation::Relu6);
        let has_expand = expand_ratio != 1;
        let next = usize::from(has_expand);
        let expand = ConvPlan::new(c_in, expanded, ConvBnActConfig::pointwise(norm, relu6)).below("conv.0");
        let depthwise = ConvBnActConfig::depthwise(3, stride, 1, norm, relu6);
        BottleneckPlan {
            expand: has_expand.then_some(expand),
            depthwise: ConvPlan::new(expanded, expanded, depthwise).below(&format!("conv.{next}")),
            squeeze_excite: None,
            project: ConvPlan {
                conv: format!("conv.{}", next + 1),
                norm: format!("conv.{}", next + 2),
                ..ConvPlan::new(expanded, c_out, ConvBnActConfig::pointwise(norm, Activation::Identity))
            },
            residual: self.has_residual(),
        }
    }
}

/// The sizes of MobileNetV3's block, the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BottleneckConfig {
    /// Height and width of the depthwise window: odd; 3 or 5 in the networks.
    pub kernel: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels inside the block; equal to `c_in`, it leaves the expansion out.
    pub expanded: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Hidden width of the squeeze-and-excite; `None` leaves it out.
    pub squeeze: Option<usize>,
    /// ReLU or h-swish, after the expansion and after the depthwise convolution.
    pub activation: Activation,
    /// Step of the depthwise convolution.
    pub stride: usize,
    /// Distance of the depthwise window's taps.
    pub dilation: usize,
    /// Batch norm's numbers.
    pub norm: BatchNormConfig,
}

impl BottleneckConfig {
    /// Whether the input is added to the output: the shapes agree.
    pub fn has_residual(&self) -> bool {
        self.stride == 1 && self.c_in == self.c_out
    }

    /// The block's layers under the names of `InvertedResidual` in torchvision's `mobilenetv3.py`: `block.J.0`
    /// (convolution) and `block.J.1` (batch norm), or `block.J.fc1` and `block.J.fc2`, `J` counting the parts that are
    /// there.
    pub fn layer(&self) -> BottleneckPlan {
        let &Self { kernel, c_in, expanded, c_out, squeeze, activation, stride, dilation, norm } = self;
        let mut parts = (0..).map(|j| format!("block.{j}"));
        let mut part = || parts.next().unwrap_or_default();
        let has_expand = expanded != c_in;
        let expand = ConvPlan::new(c_in, expanded, ConvBnActConfig::pointwise(norm, activation));
        let depthwise = ConvBnActConfig::depthwise(kernel, stride, dilation, norm, activation);
        let project = ConvBnActConfig::pointwise(norm, Activation::Identity);
        BottleneckPlan {
            expand: has_expand.then(|| expand.below(&part())),
            depthwise: ConvPlan::new(expanded, expanded, depthwise).below(&part()),
            squeeze_excite: squeeze.map(|squeeze| SqueezeExcitePlan { channels: expanded, squeeze, path: part() }),
            project: ConvPlan::new(expanded, c_out, project).below(&part()),
            residual: self.has_residual(),
        }
    }
}
