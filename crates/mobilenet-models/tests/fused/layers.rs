//! The layers of a plan, one by one.

use candle_core::Result;
use candle_nn::VarBuilder;
use mobilenet_blocks::v2::{InvertedResidual, InvertedResidualConfig};
use mobilenet_blocks::v3::{Bottleneck, BottleneckConfig};
use mobilenet_layers::{Activation, ConvBnAct, Layer, LinearBottleneck};
use mobilenet_models::plan::{BlockConfig, BlockPlan, ConvPlan, Plan};

#[derive(Clone, Debug, PartialEq)]
pub enum LayerPlan {
    Conv(ConvPlan),
    Block(BlockPlan),
}

impl LayerPlan {
    /// The stem, the blocks, the last convolution.
    pub fn all(plan: &Plan) -> Vec<Self> {
        let blocks = plan.blocks.iter().cloned().map(Self::Block);
        std::iter::once(Self::Conv(plan.stem.clone())).chain(blocks).chain([Self::Conv(plan.head.clone())]).collect()
    }

    pub fn c_in(&self) -> usize {
        match self {
            Self::Conv(plan) => plan.c_in,
            Self::Block(plan) => sizes(plan).c_in,
        }
    }

    /// Height and width of the output.
    pub fn output(&self, (h, w): (usize, usize)) -> (usize, usize) {
        let stride = match self {
            Self::Conv(plan) => plan.config.stride,
            Self::Block(plan) => sizes(plan).stride,
        };
        (h.div_ceil(stride), w.div_ceil(stride))
    }

    /// The layer as `MobileNet` has it.
    pub fn build(&self, vb: VarBuilder) -> Result<Layer> {
        let plan = match self {
            Self::Conv(plan) => return conv(plan, &vb).map(Layer::from),
            Self::Block(plan) => plan,
        };
        let block: LinearBottleneck = match &plan.config {
            BlockConfig::V2(config) => InvertedResidual::new(config, vb)?.into(),
            BlockConfig::V3(config) => Bottleneck::new(config, vb)?.into(),
        };
        Ok(if plan.residual { block } else { block.without_residual() }.into())
    }
}

pub fn conv(plan: &ConvPlan, vb: &VarBuilder) -> Result<ConvBnAct> {
    ConvBnAct::new(plan.c_in, plan.c_out, plan.config, vb.pp(0), vb.pp(1))
}

/// Either network's block in the terms of V3's, which has more of them.
pub fn sizes(plan: &BlockPlan) -> BottleneckConfig {
    match plan.config {
        BlockConfig::V2(config) => {
            let InvertedResidualConfig { c_in, c_out, stride, norm, .. } = config;
            let (expanded, activation) = (config.expanded(), Activation::Relu6);
            BottleneckConfig { kernel: 3, c_in, expanded, c_out, squeeze: None, activation, stride, dilation: 1, norm }
        }
        BlockConfig::V3(config) => config,
    }
}
