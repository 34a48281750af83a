//! The architectures as tables, one row per block (V3) or per run of equal blocks (V2).
//!
//! Sources: table 2 of <https://arxiv.org/abs/1801.04381> and tables 1 and 2 of <https://arxiv.org/abs/1905.02244>, in the
//! form torchvision gives them.

use mobilenet_layers::Activation::{self, HSwish, Relu, Relu6};

use crate::{Arch, Preset};

/// The stem's stride for 224×224 images.
const STEM_STRIDE: usize = 2;

/// The stem's channels, V2 and V3.
pub(crate) const V2_STEM: usize = 32;
pub(crate) const V3_STEM: usize = 16;

/// The channels of V2's last convolution, which no width multiplier makes fewer.
pub(crate) const V2_LAST: usize = 1280;

/// The hidden units of V3's classifiers.
pub(crate) const V3_LARGE_LAST: usize = 1280;
pub(crate) const V3_SMALL_LAST: usize = 1024;

/// A run of `repeats` inverted residuals: each widens its input `expand` times; the first has the stride.
pub(crate) struct V2Row {
    pub expand: usize,
    pub out: usize,
    pub repeats: usize,
    pub stride: usize,
}

#[rustfmt::skip]
pub(crate) const V2: [V2Row; 7] = [
    //    t  c    n  s
    v2(   1, 16,  1, 1),
    v2(   6, 24,  2, 2),
    v2(   6, 32,  3, 2),
    v2(   6, 64,  4, 2),
    v2(   6, 96,  3, 1),
    v2(   6, 160, 3, 2),
    v2(   6, 320, 1, 1),
];

const fn v2(expand: usize, out: usize, repeats: usize, stride: usize) -> V2Row {
    V2Row { expand, out, repeats, stride }
}

/// One bottleneck; its input is the row above's output.
pub(crate) struct V3Row {
    pub kernel: usize,
    pub expanded: usize,
    pub out: usize,
    pub squeeze: bool,
    pub activation: Activation,
    pub stride: usize,
}

#[rustfmt::skip]
pub(crate) const V3_LARGE: [V3Row; 15] = [
    //  k  exp  out  se     act     s
    v3(3, 16,  16,  false, Relu,   1),
    v3(3, 64,  24,  false, Relu,   2),
    v3(3, 72,  24,  false, Relu,   1),
    v3(5, 72,  40,  true,  Relu,   2),
    v3(5, 120, 40,  true,  Relu,   1),
    v3(5, 120, 40,  true,  Relu,   1),
    v3(3, 240, 80,  false, HSwish, 2),
    v3(3, 200, 80,  false, HSwish, 1),
    v3(3, 184, 80,  false, HSwish, 1),
    v3(3, 184, 80,  false, HSwish, 1),
    v3(3, 480, 112, true,  HSwish, 1),
    v3(3, 672, 112, true,  HSwish, 1),
    v3(5, 672, 160, true,  HSwish, 2),
    v3(5, 960, 160, true,  HSwish, 1),
    v3(5, 960, 160, true,  HSwish, 1),
];

#[rustfmt::skip]
pub(crate) const V3_SMALL: [V3Row; 11] = [
    //  k  exp  out  se     act     s
    v3(3, 16,  16,  true,  Relu,   2),
    v3(3, 72,  24,  false, Relu,   2),
    v3(3, 88,  24,  false, Relu,   1),
    v3(5, 96,  40,  true,  HSwish, 2),
    v3(5, 240, 40,  true,  HSwish, 1),
    v3(5, 240, 40,  true,  HSwish, 1),
    v3(5, 120, 48,  true,  HSwish, 1),
    v3(5, 144, 48,  true,  HSwish, 1),
    v3(5, 288, 96,  true,  HSwish, 2),
    v3(5, 576, 96,  true,  HSwish, 1),
    v3(5, 576, 96,  true,  HSwish, 1),
];

const fn v3(kernel: usize, expanded: usize, out: usize, squeeze: bool, activation: Activation, stride: usize) -> V3Row {
    V3Row { kernel, expanded, out, squeeze, activation, stride }
}

/// How the blocks of one of V2's stages work: in V2 itself, and on the steps to V3-Large.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct V2Style {
    pub kernel: usize,
    pub squeeze: bool,
    pub activation: Activation,
}

impl V2Style {
    /// What the published network has everywhere.
    pub const V2: Self = Self { kernel: 3, squeeze: false, activation: Relu6 };

    /// That of a stage, counted from 0: as far as the network has come, it is that of V3-Large's stage in the same place. V2's
    /// seventh stage, which V3-Large does not have, follows its sixth; where V3-Large has ReLU, V2's ReLU6 stays.
    pub fn of_stage(arch: Arch, stage: usize) -> Self {
        let stages = V3_LARGE.iter().zip(stage_starts(&V3_LARGE)).filter(|(_, starts)| *starts);
        let Some((row, _)) = stages.take(stage + 1).last() else { return Self::V2 };
        let mut style = Self::V2;
        if matches!(arch, Arch::V2HSwish | Arch::V2HSwishSe | Arch::V2HSwishSe5x5) && row.activation == HSwish {
            style.activation = HSwish;
        }
        if matches!(arch, Arch::V2HSwishSe | Arch::V2HSwishSe5x5) {
            style.squeeze = row.squeeze;
        }
        if arch == Arch::V2HSwishSe5x5 {
            style.kernel = row.kernel;
        }
        style
    }

    /// The activation of the stem and of the last convolution, which is h-swish in V3.
    pub fn outer_activation(arch: Arch) -> Activation {
        if arch == Arch::V2 { Relu6 } else { HSwish }
    }
}

/// For each V3 row, whether it begins a stage: a run of rows with the same output channels.
pub(crate) fn stage_starts(rows: &[V3Row]) -> Vec<bool> {
    (0..rows.len()).map(|i| i == 0 || rows[i].out != rows[i - 1].out).collect()
}

/// The strides of the stem and of each stage's first block under a preset.
pub(crate) fn stage_strides(arch: Arch, preset: Preset) -> Vec<usize> {
    let mut strides = vec![STEM_STRIDE];
    match arch {
        Arch::V2 | Arch::V2HSwish | Arch::V2HSwishSe | Arch::V2HSwishSe5x5 => {
            strides.extend(V2.iter().map(|row| row.stride));
        }
        Arch::V3Large => strides.extend(v3_stage_strides(&V3_LARGE)),
        Arch::V3Small => strides.extend(v3_stage_strides(&V3_SMALL)),
    }
    if preset == Preset::Cifar {
        strides[0] = 1;
        if let Some(first) = strides[1..].iter_mut().find(|stride| **stride == 2) {
            *first = 1;
        }
    }
    strides
}

fn v3_stage_strides(rows: &[V3Row]) -> impl Iterator<Item = usize> {
    rows.iter().zip(stage_starts(rows)).filter(|(_, starts)| *starts).map(|(row, _)| row.stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_are_those_documented() {
        let cases = [
            (Arch::V2, Preset::Imagenet, vec![2, 1, 2, 2, 2, 1, 2, 1]),
            (Arch::V2, Preset::Cifar, vec![1, 1, 1, 2, 2, 1, 2, 1]),
            (Arch::V3Large, Preset::Imagenet, vec![2, 1, 2, 2, 2, 1, 2]),
            (Arch::V3Large, Preset::Cifar, vec![1, 1, 1, 2, 2, 1, 2]),
            (Arch::V3Small, Preset::Imagenet, vec![2, 2, 2, 2, 1, 2]),
            (Arch::V3Small, Preset::Cifar, vec![1, 1, 2, 2, 1, 2]),
        ];
        for (arch, preset, expected) in cases {
            assert_eq!(stage_strides(arch, preset), expected, "{arch} {preset}");
        }
    }

    /// V2's stages have 16, 24, 32, 64, 96, 160 and 320 channels, V3-Large's 16, 24, 40, 80, 112 and 160.
    #[test]
    fn each_step_adds_what_v3_large_has_in_the_same_place() {
        let check = |arch, squeeze: [bool; 7], kernel: [usize; 7]| {
            let styles: Vec<_> = (0..7).map(|stage| V2Style::of_stage(arch, stage)).collect();
            let activation = [Relu6, Relu6, Relu6, HSwish, HSwish, HSwish, HSwish];
            for (stage, style) in styles.iter().enumerate() {
                let (kernel, squeeze, activation) = (kernel[stage], squeeze[stage], activation[stage]);
                assert_eq!(*style, V2Style { kernel, squeeze, activation }, "{arch}, stage {stage}");
            }
        };
        let squeezed = [false, false, true, false, true, true, true];
        check(Arch::V2HSwish, [false; 7], [3; 7]);
        check(Arch::V2HSwishSe, squeezed, [3; 7]);
        check(Arch::V2HSwishSe5x5, squeezed, [3, 3, 5, 3, 3, 5, 5]);
        assert!((0..7).all(|stage| V2Style::of_stage(Arch::V2, stage) == V2Style::V2));
        for (row, starts) in V3_LARGE.windows(2).zip(&stage_starts(&V3_LARGE)[1..]) {
            let style = |row: &V3Row| (row.kernel, row.squeeze, row.activation);
            assert!(*starts || style(&row[0]) == style(&row[1]), "a stage of V3-Large is not of one kind");
        }
    }

    #[test]
    fn only_the_first_row_of_a_stage_has_a_stride() {
        for rows in [&V3_LARGE[..], &V3_SMALL] {
            for (row, starts) in rows.iter().zip(stage_starts(rows)) {
                assert!(starts || row.stride == 1);
            }
        }
    }
}
