//! A model as a list of layer and block configurations: what a [`ModelConfig`](crate::ModelConfig) and the tables come to.
//!
//! The networks are assembled from it and [`summary`](crate::summary()) counted from it, so that nothing is written twice.

use crate::{Activation, BatchNormConfig, BottleneckConfig, ConvBnActConfig, InvertedResidualConfig, make_divisible};

/// What a plan is made of beside the network's table: a [`ModelConfig`](crate::ModelConfig) that was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The number of classes.
    pub num_classes: usize,
    /// Scales the channels of every layer.
    pub width_mult: f64,
    /// Half the channels in the last stage and the classifier.
    pub reduced_tail: bool,
    /// The last stage with stride 1 and dilation 2.
    pub dilated: bool,
    /// The probability of dropout.
    pub dropout: f64,
    /// The strides of the stem and of each stage's first block.
    pub strides: Vec<usize>,
}

impl Options {
    /// So many published channels at this width.
    pub fn width(&self, channels: usize) -> usize {
        scale(channels, self.width_mult)
    }
}

/// A whole model: `features.0` (stem), `features.1..=n` (blocks), `features.n+1` (head), mean over the pixels, classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The first convolution, 3×3, from 3 channels.
    pub stem: ConvPlan,
    /// The blocks, first to last.
    pub blocks: Vec<BlockPlan>,
    /// The last convolution, 1×1.
    pub head: ConvPlan,
    /// What follows the mean over the pixels.
    pub classifier: ClassifierPlan,
}

/// A convolution with batch norm and activation.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvPlan {
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Everything else.
    pub config: ConvBnActConfig,
}

/// A block and whether its input is added to its output.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockPlan {
    /// The block.
    pub config: BlockConfig,
    /// Whether it has a shortcut: those blocks do whose published stride is 1 and whose shapes agree.
    ///
    /// A stride made 1 by a preset, by the user or by a dilation adds no shortcut: weights mean the same whatever the strides.
    /// (torchvision does so for a dilation. Built with other strides, its blocks get a shortcut wherever the shapes agree:
    /// V3-Small's first block, the second stage's first one in V2 below width 0.75 and in V3-Large at 0.25, 0.35 and 0.6.)
    pub residual: bool,
}

/// A block of either network.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockConfig {
    /// MobileNetV2's.
    V2(InvertedResidualConfig),
    /// MobileNetV3's, and those of the steps from V2 to it.
    V3(BottleneckConfig),
}

/// `[linear, h-swish,] dropout, linear`
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierPlan {
    /// The head's channels.
    pub c_in: usize,
    /// The units of V3's hidden layer; V2 has none.
    pub hidden: Option<usize>,
    /// The number of classes.
    pub num_classes: usize,
    /// The probability of dropout.
    pub dropout: f64,
}

impl ClassifierPlan {
    /// The path of V3's hidden linear layer.
    pub const HIDDEN_PATH: &'static str = "classifier.0";

    /// The path of the last linear layer, the one whose shape depends on the number of classes.
    pub fn last_path(&self) -> &'static str {
        if self.hidden.is_some() { "classifier.3" } else { "classifier.1" }
    }
}

impl Plan {
    /// The settings of every batch norm.
    pub(crate) fn norms(&mut self) -> impl Iterator<Item = &mut BatchNormConfig> {
        let blocks = self.blocks.iter_mut().map(|block| match &mut block.config {
            BlockConfig::V2(config) => &mut config.norm,
            BlockConfig::V3(config) => &mut config.norm,
        });
        [&mut self.stem.config.norm, &mut self.head.config.norm].into_iter().chain(blocks)
    }
}

impl ConvPlan {
    /// A k×k convolution over all channels.
    pub(crate) fn dense(
        (c_in, c_out): (usize, usize),
        (kernel, stride): (usize, usize),
        norm: BatchNormConfig,
        activation: Activation,
    ) -> Self {
        Self { c_in, c_out, config: ConvBnActConfig::dense(kernel, stride, norm, activation) }
    }
}

impl ClassifierPlan {
    /// Of `c_in` channels, with V3's hidden layer or without.
    pub(crate) fn new(c_in: usize, hidden: Option<usize>, options: &Options) -> Self {
        Self { c_in, hidden, num_classes: options.num_classes, dropout: options.dropout }
    }
}

/// The hidden width of a block's squeeze-and-excite.
pub(crate) fn squeeze(expanded: usize) -> usize {
    make_divisible((expanded / 4) as f64)
}

/// So many channels, times `factor`, rounded.
pub(crate) fn scale(channels: usize, factor: f64) -> usize {
    make_divisible(channels as f64 * factor)
}
