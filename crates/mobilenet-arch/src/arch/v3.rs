//! MobileNetV3-Large and MobileNetV3-Small: Howard et al., 2019, <https://arxiv.org/abs/1905.02244>, tables 1 and 2, in
//! the form torchvision gives them.

use crate::Activation::{self, HSwish, Relu};
use crate::description::{Description, Hue, Peer, Published, Rate};
use crate::plan::{BlockConfig, BlockPlan, ClassifierPlan, Options, Plan, dense, squeeze};
use crate::{Arch, BatchNormConfig, BottleneckConfig};

#[expect(non_upper_case_globals, reason = "written as variants of an enumeration")]
impl Arch {
    /// MobileNetV3-Large (Howard et al., 2019, <https://arxiv.org/abs/1905.02244>).
    pub const V3Large: Self = Self::new(&Description {
        name: "v3-large",
        title: "MobileNetV3-Large",
        label: "MobileNetV3-Large",
        short: "V3-Large",
        adds: "V3's layer settings",
        hue: Hue { light: "#cf5f0a", dark: "#f5984d" },
        rate: Rate { train: 265.0, eval: 930.0 },
        published: Some(Published {
            params: 5_483_032,
            macs: 216_589_760,
            top1_percent: 75.2,
            source: "https://arxiv.org/abs/1905.02244",
        }),
        peer: Some(Peer { library: "torchvision", model: "mobilenet_v3_large" }),
        norm: NORM,
        in_widths: true,
        has_tail_options: true,
        stage_strides: || stage_strides(&LARGE),
        plan: |options| plan(options, &LARGE, LARGE_LAST),
    });

    /// MobileNetV3-Small, of the same paper.
    pub const V3Small: Self = Self::new(&Description {
        name: "v3-small",
        title: "MobileNetV3-Small",
        label: "MobileNetV3-Small",
        short: "V3-Small",
        adds: "the small variant",
        hue: Hue { light: "#118060", dark: "#4cc79c" },
        rate: Rate { train: 700.0, eval: 2500.0 },
        published: Some(Published {
            params: 2_542_856,
            macs: 56_510_400,
            top1_percent: 67.4,
            source: "https://arxiv.org/abs/1905.02244",
        }),
        peer: Some(Peer { library: "torchvision", model: "mobilenet_v3_small" }),
        stage_strides: || stage_strides(&SMALL),
        plan: |options| plan(options, &SMALL, SMALL_LAST),
        norm: NORM,
        in_widths: true,
        has_tail_options: true,
    });
}

const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.01 };

/// The channels of the stem.
const STEM: usize = 16;

/// The hidden units of the classifiers.
const LARGE_LAST: usize = 1280;
const SMALL_LAST: usize = 1024;

/// One bottleneck; its input is the row above's output.
pub(super) struct Row {
    pub kernel: usize,
    expanded: usize,
    out: usize,
    pub squeeze: bool,
    pub activation: Activation,
    stride: usize,
}

#[rustfmt::skip]
pub(super) const LARGE: [Row; 15] = [
    //   k  exp  out  se     act     s
    row(3, 16,  16,  false, Relu,   1),
    row(3, 64,  24,  false, Relu,   2),
    row(3, 72,  24,  false, Relu,   1),
    row(5, 72,  40,  true,  Relu,   2),
    row(5, 120, 40,  true,  Relu,   1),
    row(5, 120, 40,  true,  Relu,   1),
    row(3, 240, 80,  false, HSwish, 2),
    row(3, 200, 80,  false, HSwish, 1),
    row(3, 184, 80,  false, HSwish, 1),
    row(3, 184, 80,  false, HSwish, 1),
    row(3, 480, 112, true,  HSwish, 1),
    row(3, 672, 112, true,  HSwish, 1),
    row(5, 672, 160, true,  HSwish, 2),
    row(5, 960, 160, true,  HSwish, 1),
    row(5, 960, 160, true,  HSwish, 1),
];

#[rustfmt::skip]
const SMALL: [Row; 11] = [
    //   k  exp  out  se     act     s
    row(3, 16,  16,  true,  Relu,   2),
    row(3, 72,  24,  false, Relu,   2),
    row(3, 88,  24,  false, Relu,   1),
    row(5, 96,  40,  true,  HSwish, 2),
    row(5, 240, 40,  true,  HSwish, 1),
    row(5, 240, 40,  true,  HSwish, 1),
    row(5, 120, 48,  true,  HSwish, 1),
    row(5, 144, 48,  true,  HSwish, 1),
    row(5, 288, 96,  true,  HSwish, 2),
    row(5, 576, 96,  true,  HSwish, 1),
    row(5, 576, 96,  true,  HSwish, 1),
];

const fn row(kernel: usize, expanded: usize, out: usize, squeeze: bool, activation: Activation, stride: usize) -> Row {
    Row { kernel, expanded, out, squeeze, activation, stride }
}

/// For each row, whether it begins a stage: a run of rows with the same output channels.
pub(super) fn stage_starts(rows: &[Row]) -> Vec<bool> {
    (0..rows.len()).map(|i| i == 0 || rows[i].out != rows[i - 1].out).collect()
}

fn stage_strides(rows: &[Row]) -> Vec<usize> {
    let starts = rows.iter().zip(stage_starts(rows)).filter(|(_, starts)| *starts);
    [2].into_iter().chain(starts.map(|(row, _)| row.stride)).collect()
}

fn plan(options: &Options, rows: &[Row], last: usize) -> Plan {
    let strides = &options.strides;
    let stem = dense((3, options.width(STEM)), (3, strides[0]), NORM, HSwish);
    let tail = if options.reduced_tail { 2 } else { 1 };
    let stages = strides.len() - 1;
    let mut c_in = stem.c_out;
    let mut stage = 0;
    let mut blocks = Vec::new();
    for (row, starts) in rows.iter().zip(stage_starts(rows)) {
        stage += usize::from(starts);
        let in_tail = stage == stages;
        let dilated = in_tail && options.dilated;
        // The block that enters the tail still expands its wide input by the full amount.
        let expanded = options.width(if in_tail && !starts { row.expanded / tail } else { row.expanded });
        let c_out = options.width(if in_tail { row.out / tail } else { row.out });
        let block = BottleneckConfig {
            kernel: row.kernel,
            c_in,
            expanded,
            c_out,
            squeeze: row.squeeze.then(|| squeeze(expanded)),
            activation: row.activation,
            stride: if starts && !dilated { strides[stage] } else { 1 },
            dilation: if dilated { 2 } else { 1 },
            norm: NORM,
        };
        let residual = block.has_residual() && row.stride == 1;
        blocks.push(BlockPlan { config: BlockConfig::V3(block), residual });
        c_in = c_out;
    }
    let head = dense((c_in, 6 * c_in), (1, 1), NORM, HSwish);
    let classifier = ClassifierPlan::new(head.c_out, Some(options.width(last / tail)), options);
    Plan { stem, blocks, head: Some(head), classifier }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Preset;

    #[test]
    fn strides_are_those_documented() {
        let cases = [
            (Arch::V3Large, Preset::Imagenet, vec![2, 1, 2, 2, 2, 1, 2]),
            (Arch::V3Large, Preset::Cifar, vec![1, 1, 1, 2, 2, 1, 2]),
            (Arch::V3Small, Preset::Imagenet, vec![2, 2, 2, 2, 1, 2]),
            (Arch::V3Small, Preset::Cifar, vec![1, 1, 2, 2, 1, 2]),
        ];
        for (arch, preset, expected) in cases {
            assert_eq!(preset.stage_strides(arch), expected, "{arch} {preset}");
        }
    }

    #[test]
    fn only_the_first_row_of_a_stage_has_a_stride() {
        for rows in [&LARGE[..], &SMALL] {
            for (row, starts) in rows.iter().zip(stage_starts(rows)) {
                assert!(starts || row.stride == 1);
            }
        }
    }
}
