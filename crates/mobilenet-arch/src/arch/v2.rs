//! MobileNetV2: Sandler et al., 2018, <https://arxiv.org/abs/1801.04381>, table 2, in the form torchvision gives it.

use crate::description::{Description, Hue, Peer, Published, Rate};
use crate::plan::{BlockConfig, BlockPlan, ClassifierPlan, Options, Plan, dense, scale, squeeze};
use crate::{Activation, Arch, BatchNormConfig, BottleneckConfig, InvertedResidualConfig};

impl Arch {
    /// MobileNetV2 (Sandler et al., 2018, <https://arxiv.org/abs/1801.04381>).
    pub const V2: Self = Self::new(&Description {
        name: "v2",
        title: "MobileNetV2",
        label: "MobileNetV2",
        short: "V2",
        adds: "–",
        hue: Hue { light: "#2868b8", dark: "#6aa9f4" },
        rate: Rate { train: 205.0, eval: 820.0 },
        published: Some(Published {
            params: 3_504_872,
            macs: 300_774_272,
            top1_percent: 72.0,
            source: "https://arxiv.org/abs/1801.04381",
        }),
        peer: Some(Peer { library: "torchvision", model: "mobilenet_v2" }),
        norm: NORM,
        in_widths: true,
        has_tail_options: false,
        stage_strides,
        plan: |options| plan(options, &[Style::V2; ROWS.len()], Activation::Relu6),
    });
}

pub(super) const NORM: BatchNormConfig = BatchNormConfig::TORCH;

/// The channels of the stem.
const STEM: usize = 32;

/// The channels of the last convolution, which no width multiplier makes fewer.
const LAST: usize = 1280;

/// A run of `repeats` inverted residuals: each widens its input `expand` times; the first has the stride.
pub(super) struct Row {
    expand: usize,
    out: usize,
    repeats: usize,
    stride: usize,
}

#[rustfmt::skip]
pub(super) const ROWS: [Row; 7] = [
    //     t  c    n  s
    row(   1, 16,  1, 1),
    row(   6, 24,  2, 2),
    row(   6, 32,  3, 2),
    row(   6, 64,  4, 2),
    row(   6, 96,  3, 1),
    row(   6, 160, 3, 2),
    row(   6, 320, 1, 1),
];

const fn row(expand: usize, out: usize, repeats: usize, stride: usize) -> Row {
    Row { expand, out, repeats, stride }
}

/// How the blocks of a stage work: in V2 itself, and on the steps to V3-Large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Style {
    pub kernel: usize,
    pub squeeze: bool,
    pub activation: Activation,
}

impl Style {
    /// What the published network has everywhere.
    pub const V2: Self = Self { kernel: 3, squeeze: false, activation: Activation::Relu6 };
}

pub(super) fn stage_strides() -> Vec<usize> {
    [2].into_iter().chain(ROWS.iter().map(|row| row.stride)).collect()
}

/// V2, or one of its steps to V3-Large: the style of each stage, and the activation of the stem and the last
/// convolution. A block that V2 does not have, which is one of a step, is built as V3's.
pub(super) fn plan(options: &Options, styles: &[Style; ROWS.len()], outer: Activation) -> Plan {
    let stem = dense((3, options.width(STEM)), (3, options.strides[0]), NORM, outer);
    let mut c_in = stem.c_out;
    let mut blocks = Vec::new();
    for ((row, &style), &stage_stride) in ROWS.iter().zip(styles).zip(&options.strides[1..]) {
        for i in 0..row.repeats {
            let stride = if i == 0 { stage_stride } else { 1 };
            let c_out = options.width(row.out);
            let block = InvertedResidualConfig { c_in, c_out, stride, expand_ratio: row.expand, norm: NORM };
            let residual = block.has_residual() && (i > 0 || row.stride == 1);
            let config =
                if style == Style::V2 { BlockConfig::V2(block) } else { BlockConfig::V3(styled(block, style)) };
            blocks.push(BlockPlan { config, residual });
            c_in = c_out;
        }
    }
    let last = scale(LAST, options.width_mult.max(1.0));
    let head = dense((c_in, last), (1, 1), NORM, outer);
    Plan { stem, blocks, head: Some(head), classifier: ClassifierPlan::new(last, None, options) }
}

/// One of V2's blocks with other insides. The stages that have a style of their own all expand, so that both kinds of
/// block have the same parts but for squeeze-and-excite.
fn styled(block: InvertedResidualConfig, style: Style) -> BottleneckConfig {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn strides_are_those_documented() {
        assert_eq!(Preset::Imagenet.stage_strides(Arch::V2), [2, 1, 2, 2, 2, 1, 2, 1]);
        assert_eq!(Preset::Cifar.stage_strides(Arch::V2), [1, 1, 1, 2, 2, 1, 2, 1]);
    }
}
