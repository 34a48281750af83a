//! A model as a list of layer and block configurations: what a [`ModelConfig`](crate::ModelConfig) and the tables come
//! to.
//!
//! [`Plan::layers`] gives its layers with the paths of their variables: networks are assembled from them, and the list
//! of operations ([`crate::graph`]) is made of them, so that nothing is written twice.

pub use crate::units::{BottleneckPlan, ConvPlan, LayerPlan, SqueezeExcitePlan};
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

/// A whole model: `features.0` (stem), `features.1..=n` (blocks), `features.n+1` (head, if there is one), mean over the
/// pixels, classifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The first convolution, 3×3, from 3 channels.
    pub stem: ConvPlan,
    /// The blocks, first to last.
    pub blocks: Vec<BlockPlan>,
    /// The last convolution, 1×1; MobileNetV1 has none.
    pub head: Option<ConvPlan>,
    /// What follows the mean over the pixels.
    pub classifier: ClassifierPlan,
}

/// A block and whether its input is added to its output.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockPlan {
    /// The block.
    pub config: BlockConfig,
    /// Whether it has a shortcut: those blocks do whose published stride is 1 and whose shapes agree.
    ///
    /// A stride made 1 by a preset, by the user or by a dilation adds no shortcut: weights mean the same whatever the
    /// strides. (torchvision does so for a dilation. Built with other strides, its blocks get a shortcut wherever the
    /// shapes agree: V3-Small's first block, the second stage's first one in V2 below width 0.75 and in V3-Large at
    /// 0.25, 0.35 and 0.6.)
    pub residual: bool,
}

/// A block.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockConfig {
    /// MobileNetV2's.
    V2(InvertedResidualConfig),
    /// MobileNetV3's, and those of the steps from V2 to it.
    V3(BottleneckConfig),
    /// Convolutions one after the other, such as MobileNetV1's depthwise one and the 1×1 after it.
    Chain(Vec<ConvPlan>),
}

/// A part of a network, with something of the same name in a summary's blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The first convolution.
    Stem,
    /// A block, counted from 1.
    Block(usize),
    /// The last convolution.
    Head,
    /// The mean over the pixels and what follows it.
    Classifier,
}

/// A layer of the features and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedLayer {
    /// The part that it belongs to.
    pub part: Part,
    /// The path that its own paths are below: `features.3`.
    pub path: String,
    /// The layer.
    pub layer: LayerPlan,
}

/// `[linear, h-swish,] dropout, linear`
#[derive(Clone, Debug, PartialEq)]
pub struct ClassifierPlan {
    /// The features' channels.
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

    /// The paths that the last linear layer can have.
    pub const LAST_PATHS: [&'static str; 2] = ["classifier.3", "classifier.1"];

    /// The path of the last linear layer, the one whose shape depends on the number of classes.
    pub fn last_path(&self) -> &'static str {
        let [after_hidden, alone] = Self::LAST_PATHS;
        if self.hidden.is_some() { after_hidden } else { alone }
    }
}

impl Plan {
    /// The layers of the features with their places, in the order they run. Each runs as one, and is one layer of a
    /// stack.
    pub fn layers(&self) -> Vec<PlacedLayer> {
        let path = |i: usize| format!("features.{i}");
        let mut layers = vec![PlacedLayer { part: Part::Stem, path: path(0), layer: self.stem.clone().into() }];
        for (i, block) in (1..).zip(&self.blocks) {
            let (part, residual) = (Part::Block(i), block.residual);
            match &block.config {
                BlockConfig::V2(config) => {
                    let layer = BottleneckPlan { residual, ..config.layer() }.into();
                    layers.push(PlacedLayer { part, path: path(i), layer });
                }
                BlockConfig::V3(config) => {
                    let layer = BottleneckPlan { residual, ..config.layer() }.into();
                    layers.push(PlacedLayer { part, path: path(i), layer });
                }
                BlockConfig::Chain(convs) => layers.extend(convs.iter().enumerate().map(|(j, conv)| PlacedLayer {
                    part,
                    path: format!("{}.{j}", path(i)),
                    layer: conv.clone().into(),
                })),
            }
        }
        let head = self.head.iter().map(|head| PlacedLayer {
            part: Part::Head,
            path: path(self.blocks.len() + 1),
            layer: head.clone().into(),
        });
        layers.extend(head);
        layers
    }

    /// The settings of every batch norm.
    pub(crate) fn norms(&mut self) -> impl Iterator<Item = &mut BatchNormConfig> {
        let blocks = self.blocks.iter_mut().flat_map(|block| match &mut block.config {
            BlockConfig::V2(config) => vec![&mut config.norm],
            BlockConfig::V3(config) => vec![&mut config.norm],
            BlockConfig::Chain(convs) => convs.iter_mut().map(|conv| &mut conv.config.norm).collect(),
        });
        let head = self.head.iter_mut().map(|head| &mut head.config.norm);
        std::iter::once(&mut self.stem.config.norm).chain(blocks).chain(head)
    }
}

/// A k×k convolution over all channels.
pub(crate) fn dense(
    (c_in, c_out): (usize, usize),
    (kernel, stride): (usize, usize),
    norm: BatchNormConfig,
    activation: Activation,
) -> ConvPlan {
    ConvPlan::new(c_in, c_out, ConvBnActConfig::dense(kernel, stride, norm, activation))
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
