//! A model as a list of layer and block configurations: what a [`ModelConfig`] and the tables come to.
//!
//! [`MobileNet`](crate::MobileNet) is assembled from it and [`summary`](crate::summary()) counted from it, so that nothing is
//! written twice.

use mobilenet_blocks::v2::InvertedResidualConfig;
use mobilenet_blocks::v3::BottleneckConfig;
use mobilenet_layers::{Activation, BatchNormConfig, ConvBnActConfig, make_divisible};

use crate::tables::{
    V2, V2_LAST, V2_STEM, V2Style, V3_LARGE, V3_LARGE_LAST, V3_SMALL, V3_SMALL_LAST, V3_STEM, V3Row, stage_starts,
};
use crate::{Arch, Error, ModelConfig};

/// The V3 networks' normalization; V2 has the layers' defaults.
const V3_NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.01 };

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
    /// A stride made 1 by a preset, by the user or by a dilation adds no shortcut, as in torchvision: weights mean the same
    /// whatever the strides.
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
    /// The plan of a model.
    ///
    /// # Errors
    /// Those of [`ModelConfig::validate`].
    pub fn new(config: &ModelConfig) -> Result<Self, Error> {
        config.validate()?;
        let mut plan = match config.arch {
            Arch::V2 | Arch::V2HSwish | Arch::V2HSwishSe | Arch::V2HSwishSe5x5 => v2(config),
            Arch::V3Large => v3(config, &V3_LARGE, V3_LARGE_LAST),
            Arch::V3Small => v3(config, &V3_SMALL, V3_SMALL_LAST),
        };
        if let Some(momentum) = config.bn_momentum {
            plan.norms().for_each(|norm| norm.momentum = momentum);
        }
        Ok(plan)
    }

    /// The settings of every batch norm.
    fn norms(&mut self) -> impl Iterator<Item = &mut BatchNormConfig> {
        let blocks = self.blocks.iter_mut().map(|block| match &mut block.config {
            BlockConfig::V2(config) => &mut config.norm,
            BlockConfig::V3(config) => &mut config.norm,
        });
        [&mut self.stem.config.norm, &mut self.head.config.norm].into_iter().chain(blocks)
    }
}

/// V2 and its steps to V3-Large. A block that V2 does not have, which is one of a step, is built as V3's.
fn v2(config: &ModelConfig) -> Plan {
    let width = |channels: usize| scale(channels, config.width_mult);
    let norm = BatchNormConfig::default();
    let strides = config.stage_strides();
    let outer = V2Style::outer_activation(config.arch);
    let stem = conv(3, width(V2_STEM), 3, strides[0], norm, outer);
    let mut c_in = stem.c_out;
    let mut blocks = Vec::new();
    for (stage, (row, &stage_stride)) in V2.iter().zip(&strides[1..]).enumerate() {
        let style = V2Style::of_stage(config.arch, stage);
        for i in 0..row.repeats {
            let stride = if i == 0 { stage_stride } else { 1 };
            let c_out = width(row.out);
            let block = InvertedResidualConfig { c_in, c_out, stride, expand_ratio: row.expand, norm };
            let residual = block.has_residual() && (i > 0 || row.stride == 1);
            let config =
                if style == V2Style::V2 { BlockConfig::V2(block) } else { BlockConfig::V3(styled(block, style)) };
            blocks.push(BlockPlan { config, residual });
            c_in = c_out;
        }
    }
    let last = scale(V2_LAST, config.width_mult.max(1.0));
    Plan { stem, blocks, head: conv(c_in, last, 1, 1, norm, outer), classifier: classifier(last, None, config) }
}

/// One of V2's blocks with other insides. The stages that have a style of their own all expand, so that both kinds of block have
/// the same parts but for squeeze-and-excite.
fn styled(block: InvertedResidualConfig, style: V2Style) -> BottleneckConfig {
    let expanded = block.expanded();
    BottleneckConfig {
        kernel: style.kernel,
        c_in: block.c_in,
        expanded,
        c_out: block.c_out,
        squeeze: style.squeeze.then(|| squeeze(expanded)),
        activation: style.activation,
        stride: block.stride,
        dilation: 1,
        norm: block.norm,
    }
}

/// The hidden width of a block's squeeze-and-excite.
fn squeeze(expanded: usize) -> usize {
    make_divisible((expanded / 4) as f64)
}

fn v3(config: &ModelConfig, rows: &[V3Row], last: usize) -> Plan {
    let width = |channels: usize| scale(channels, config.width_mult);
    let strides = config.stage_strides();
    let stem = conv(3, width(V3_STEM), 3, strides[0], V3_NORM, Activation::HSwish);
    let tail = if config.reduced_tail { 2 } else { 1 };
    let stages = strides.len() - 1;
    let mut c_in = stem.c_out;
    let mut stage = 0;
    let mut blocks = Vec::new();
    for (row, starts) in rows.iter().zip(stage_starts(rows)) {
        stage += usize::from(starts);
        let in_tail = stage == stages;
        let dilated = in_tail && config.dilated;
        // The block that enters the tail still expands its wide input by the full amount.
        let expanded = width(if in_tail && !starts { row.expanded / tail } else { row.expanded });
        let c_out = width(if in_tail { row.out / tail } else { row.out });
        let block = BottleneckConfig {
            kernel: row.kernel,
            c_in,
            expanded,
            c_out,
            squeeze: row.squeeze.then(|| squeeze(expanded)),
            activation: row.activation,
            stride: if starts && !dilated { strides[stage] } else { 1 },
            dilation: if dilated { 2 } else { 1 },
            norm: V3_NORM,
        };
        let residual = block.has_residual() && row.stride == 1;
        blocks.push(BlockPlan { config: BlockConfig::V3(block), residual });
        c_in = c_out;
    }
    let head = conv(c_in, 6 * c_in, 1, 1, V3_NORM, Activation::HSwish);
    let classifier = classifier(head.c_out, Some(width(last / tail)), config);
    Plan { stem, blocks, head, classifier }
}

fn scale(channels: usize, width_mult: f64) -> usize {
    make_divisible(channels as f64 * width_mult)
}

fn conv(
    c_in: usize,
    c_out: usize,
    kernel: usize,
    stride: usize,
    norm: BatchNormConfig,
    activation: Activation,
) -> ConvPlan {
    ConvPlan { c_in, c_out, config: ConvBnActConfig::dense(kernel, stride, norm, activation) }
}

fn classifier(c_in: usize, hidden: Option<usize>, config: &ModelConfig) -> ClassifierPlan {
    ClassifierPlan { c_in, hidden, num_classes: config.num_classes, dropout: config.dropout }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn every_batch_norm_gets_the_momentum_that_is_asked_for() {
        for (arch, published) in [(Arch::V2, 0.1), (Arch::V3Large, 0.01), (Arch::V3Small, 0.01)] {
            for (asked, expected) in [(None, published), (Some(0.3), 0.3)] {
                let config = ModelConfig { bn_momentum: asked, ..ModelConfig::new(arch, 10, Preset::Cifar) };
                let mut plan = Plan::new(&config).unwrap();
                let count = plan.blocks.len() + 2;
                let found: Vec<f64> = plan.norms().map(|norm| norm.momentum).collect();
                assert_eq!(found, vec![expected; count], "{arch} {asked:?}");
            }
        }
    }
}
