//! The steps from MobileNetV2 to MobileNetV3-Large, one change at a time: this project's own.
//!
//! Each part goes where V3-Large has it, into the stage in the same place; V2's seventh stage, which V3-Large does not
//! have, follows its sixth. Where V3-Large has ReLU, V2's ReLU6 stays.

use crate::Activation::HSwish;
use crate::Arch;
use crate::arch::v2::{self, Style};
use crate::arch::v3;
use crate::description::{Description, Hue, Rate};
use crate::plan::{Options, Plan};

#[expect(non_upper_case_globals, reason = "written as variants of an enumeration")]
impl Arch {
    /// V2 with h-swish where V3-Large has it: in the stem, the last convolution and the stages from 64 channels on.
    pub const V2HSwish: Self = Self::new(&Description {
        name: "v2-hs",
        title: "MobileNetV2 + h-swish",
        label: "MobileNetV2 + h-swish",
        short: "V2+hs",
        adds: "h-swish",
        hue: Hue { light: "#6a50c0", dark: "#a792f5" },
        rate: Rate { train: 205.0, eval: 820.0 },
        plan: |options| plan(options, H_SWISH),
        ..STEP
    });

    /// [`Arch::V2HSwish`] with squeeze-and-excite where V3-Large has it: in the stages of 32, 96, 160 and 320 channels.
    pub const V2HSwishSe: Self = Self::new(&Description {
        name: "v2-hs-se",
        title: "MobileNetV2 + h-swish + SE",
        label: "MobileNetV2 + h-swish + SE",
        short: "V2+hs+SE",
        adds: "squeeze-and-excite",
        hue: Hue { light: "#a23aa4", dark: "#da8add" },
        rate: Rate { train: 190.0, eval: 780.0 },
        plan: |options| plan(options, SQUEEZE),
        ..STEP
    });

    /// [`Arch::V2HSwishSe`] with 5×5 depthwise windows where V3-Large has them: in the stages of 32, 160 and 320
    /// channels.
    pub const V2HSwishSe5x5: Self = Self::new(&Description {
        name: "v2-hs-se-k5",
        title: "MobileNetV2 + h-swish + SE + 5x5",
        label: "MobileNetV2 + h-swish + SE + 5×5",
        short: "V2+hs+SE+5×5",
        adds: "5×5 windows",
        hue: Hue { light: "#c43560", dark: "#f3829f" },
        rate: Rate { train: 175.0, eval: 720.0 },
        plan: |options| plan(options, WINDOWS),
        ..STEP
    });

    /// From V2 to V3-Large, one change at a time. What the last step changes is the rest: widths and number of blocks,
    /// head, batch norm's numbers, and ReLU for ReLU6.
    pub const LADDER: [Self; 5] = [Self::V2, Self::V2HSwish, Self::V2HSwishSe, Self::V2HSwishSe5x5, Self::V3Large];
}

/// What the steps share.
const STEP: Description = Description {
    name: "",
    title: "",
    label: "",
    short: "",
    adds: "",
    hue: Hue { light: "", dark: "" },
    rate: Rate { train: 0.0, eval: 0.0 },
    published: None,
    peer: None,
    norm: v2::NORM,
    in_widths: false,
    has_tail_options: false,
    stage_strides: v2::stage_strides,
    plan: |options| plan(options, H_SWISH),
};

/// What V2 takes from V3-Large.
#[derive(Clone, Copy)]
struct Taken {
    squeeze: bool,
    window: bool,
}

const H_SWISH: Taken = Taken { squeeze: false, window: false };
const SQUEEZE: Taken = Taken { squeeze: true, window: false };
const WINDOWS: Taken = Taken { squeeze: true, window: true };

fn plan(options: &Options, taken: Taken) -> Plan {
    v2::plan(options, &styles(taken), HSwish)
}

/// Of V2's stages.
fn styles(taken: Taken) -> [Style; v2::ROWS.len()] {
    std::array::from_fn(|stage| {
        let stages = v3::LARGE.iter().zip(v3::stage_starts(&v3::LARGE)).filter(|(_, starts)| *starts);
        let Some((row, _)) = stages.take(stage + 1).last() else { return Style::V2 };
        Style {
            kernel: if taken.window { row.kernel } else { Style::V2.kernel },
            squeeze: taken.squeeze && row.squeeze,
            activation: if row.activation == HSwish { HSwish } else { Style::V2.activation },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation::Relu6;

    /// V2's stages have 16, 24, 32, 64, 96, 160 and 320 channels, V3-Large's 16, 24, 40, 80, 112 and 160.
    #[test]
    fn each_step_adds_what_v3_large_has_in_the_same_place() {
        let check = |taken, squeeze: [bool; 7], kernel: [usize; 7]| {
            let activation = [Relu6, Relu6, Relu6, HSwish, HSwish, HSwish, HSwish];
            for (stage, style) in styles(taken).iter().enumerate() {
                let (kernel, squeeze, activation) = (kernel[stage], squeeze[stage], activation[stage]);
                assert_eq!(*style, Style { kernel, squeeze, activation }, "stage {stage}");
            }
        };
        let squeezed = [false, false, true, false, true, true, true];
        check(H_SWISH, [false; 7], [3; 7]);
        check(SQUEEZE, squeezed, [3; 7]);
        check(WINDOWS, squeezed, [3, 3, 5, 3, 3, 5, 5]);
        for (row, starts) in v3::LARGE.windows(2).zip(&v3::stage_starts(&v3::LARGE)[1..]) {
            let style = |row: &v3::Row| (row.kernel, row.squeeze, row.activation);
            assert!(*starts || style(&row[0]) == style(&row[1]), "a stage of V3-Large is not of one kind");
        }
    }

    #[test]
    fn every_step_has_v2s_strides() {
        for arch in [Arch::V2HSwish, Arch::V2HSwishSe, Arch::V2HSwishSe5x5] {
            assert_eq!((arch.description().stage_strides)(), v2::stage_strides(), "{arch}");
        }
    }
}
