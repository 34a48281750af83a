//! MobileNetV1: Howard et al., 2017, <https://arxiv.org/abs/1704.04861>, table 1.
//!
//! torchvision does not have it. timm's `mobilenetv1_100` is the same network but for ReLU6, where the paper has ReLU.

use crate::Activation::Relu;
use crate::description::{Description, Hue, Peer, Published, Rate};
use crate::plan::{BlockConfig, BlockPlan, ClassifierPlan, ConvPlan, Options, Plan, dense};
use crate::{Arch, BatchNormConfig, ConvBnActConfig};

impl Arch {
    /// MobileNetV1 (Howard et al., 2017, <https://arxiv.org/abs/1704.04861>).
    pub const V1: Self = Self::new(&Description {
        name: "v1",
        title: "MobileNetV1",
        label: "MobileNetV1",
        short: "V1",
        adds: "",
        hue: Hue { light: "#6b7280", dark: "#a8b0bd" },
        rate: Rate { train: 130.0, eval: 420.0 },
        published: Some(Published {
            params: 4_231_976,
            macs: 568_740_352,
            top1_percent: 70.6,
            source: "https://arxiv.org/abs/1704.04861",
        }),
        peer: Some(Peer { library: "timm", model: "mobilenetv1_100" }),
        norm: NORM,
        in_widths: false,
        has_tail_options: false,
        stage_strides,
        plan,
    });
}

const NORM: BatchNormConfig = BatchNormConfig::TORCH;

/// The channels of the stem.
const STEM: usize = 32;

/// A run of `repeats` depthwise separable convolutions; the first has the stride.
struct Row {
    out: usize,
    repeats: usize,
    stride: usize,
}

#[rustfmt::skip]
const ROWS: [Row; 5] = [
    //   c     n  s
    row( 64,   1, 1),
    row( 128,  2, 2),
    row( 256,  2, 2),
    row( 512,  6, 2),
    row( 1024, 2, 2),
];

const fn row(out: usize, repeats: usize, stride: usize) -> Row {
    Row { out, repeats, stride }
}

fn stage_strides() -> Vec<usize> {
    [2].into_iter().chain(ROWS.iter().map(|row| row.stride)).collect()
}

fn plan(options: &Options) -> Plan {
    let stem = dense((3, options.width(STEM)), (3, options.strides[0]), NORM, Relu);
    let mut c_in = stem.c_out;
    let mut blocks = Vec::new();
    for (row, &stage_stride) in ROWS.iter().zip(&options.strides[1..]) {
        for i in 0..row.repeats {
            let c_out = options.width(row.out);
            let config = separable((c_in, c_out), if i == 0 { stage_stride } else { 1 });
            blocks.push(BlockPlan { config, residual: false });
            c_in = c_out;
        }
    }
    Plan { stem, blocks, head: None, classifier: ClassifierPlan::new(c_in, None, options) }
}

/// A 3×3 depthwise convolution and a 1×1 one, each with batch norm and ReLU.
fn separable((c_in, c_out): (usize, usize), stride: usize) -> BlockConfig {
    BlockConfig::Chain(vec![
        ConvPlan::new(c_in, c_in, ConvBnActConfig::depthwise(3, stride, 1, NORM, Relu)),
        ConvPlan::new(c_in, c_out, ConvBnActConfig::pointwise(NORM, Relu)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::LayerPlan;
    use crate::{ModelConfig, Preset, summary};

    #[test]
    fn strides_are_those_documented() {
        assert_eq!(Preset::Imagenet.stage_strides(Arch::V1), [2, 1, 2, 2, 2, 2]);
        assert_eq!(Preset::Cifar.stage_strides(Arch::V1), [1, 1, 1, 2, 2, 2]);
    }

    /// Table 1, whose last stride of 2 is a misprint: 7×7 pixels stay 7×7.
    #[test]
    fn blocks_are_those_of_the_paper() {
        let plan = Plan::new(&ModelConfig::new(Arch::V1, 1000, Preset::Imagenet)).unwrap();
        let layers: Vec<LayerPlan> = plan.layers().into_iter().map(|placed| placed.layer).collect();
        let found: Vec<_> =
            layers[1..].chunks(2).map(|pair| (pair[0].c_in(), pair[1].c_out(), pair[0].stride())).collect();
        #[rustfmt::skip]
        let expected = [
            (32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
            (512, 512, 1), (512, 512, 1), (512, 512, 1), (512, 512, 1), (512, 512, 1), (512, 1024, 2), (1024, 1024, 1),
        ];
        assert_eq!(found, expected);
        assert!(layers[1..].chunks(2).all(|pair| pair[1].stride() == 1 && pair[0].c_out() == pair[1].c_in()));
    }

    /// Those of timm's `mobilenetv1_100` with `stem_size` and channels times the width, for 10 classes.
    #[test]
    fn narrower_networks_have_fewer_channels_everywhere() {
        for (width_mult, stem, params) in [(0.25, 8, 215_642), (0.5, 16, 823_722), (0.75, 24, 1_824_250)] {
            let config = ModelConfig { width_mult, ..ModelConfig::new(Arch::V1, 10, Preset::Cifar) };
            let found = summary(&config, (32, 32)).unwrap();
            assert_eq!((found.layers[0].output[0], found.params), (stem, params), "width {width_mult}");
        }
    }
}
