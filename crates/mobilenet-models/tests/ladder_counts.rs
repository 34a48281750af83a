//! Parameters and multiply-adds of the steps from V2 to V3-Large, worked out from what each step adds to V2's blocks.

use mobilenet_models::{Arch, ModelConfig, Preset, Summary, summary};

/// One of V2's blocks at 32×32 whose stage gets squeeze-and-excite or a 5×5 window on the way.
struct Block {
    /// Channels inside, six times the block's input
    expanded: u64,
    /// Hidden width of squeeze-and-excite: a quarter of that, rounded to a multiple of 8
    squeeze: u64,
    /// Pixels of the output's side
    side: u64,
    /// Whether the window becomes 5×5
    wide: bool,
}

#[rustfmt::skip]
const CHANGED: [Block; 10] = [
    // The stage of 32 channels; its first block's input has 24.
    block(144, 40,  16, true), // 36 rounds up to 40.
    block(192, 48,  16, true),
    block(192, 48,  16, true),
    // 96 channels, from 64.
    block(384, 96,  8, false),
    block(576, 144, 8, false),
    block(576, 144, 8, false),
    // 160 channels, from 96.
    block(576, 144, 4, true),
    block(960, 240, 4, true),
    block(960, 240, 4, true),
    // 320 channels, from 160.
    block(960, 240, 4, true),
];

const fn block(expanded: u64, squeeze: u64, side: u64, wide: bool) -> Block {
    Block { expanded, squeeze, side, wide }
}

fn count(arch: Arch, width_mult: f64, preset: Preset) -> Summary {
    let config = ModelConfig { width_mult, ..ModelConfig::new(arch, 10, preset) };
    let size = preset.image_size();
    summary(&config, (size, size)).unwrap()
}

#[test]
fn each_step_adds_what_its_parts_have() {
    let v2 = count(Arch::V2, 1.0, Preset::Cifar);
    let totals = |summary: &Summary| (summary.params, summary.macs);
    assert_eq!(totals(&count(Arch::V2HSwish, 1.0, Preset::Cifar)), totals(&v2), "an activation has no weights");

    // Two 1×1 convolutions with biases, on one pixel.
    let weights: u64 = CHANGED.iter().map(|b| 2 * b.expanded * b.squeeze).sum();
    let biases: u64 = CHANGED.iter().map(|b| b.expanded + b.squeeze).sum();
    let squeezed = (v2.params + weights + biases, v2.macs + weights);
    assert_eq!(totals(&count(Arch::V2HSwishSe, 1.0, Preset::Cifar)), squeezed);

    // 25 values of each channel's window instead of 9.
    let wide = || CHANGED.iter().filter(|b| b.wide);
    let params: u64 = wide().map(|b| 16 * b.expanded).sum();
    let macs: u64 = wide().map(|b| 16 * b.expanded * b.side * b.side).sum();
    assert_eq!(totals(&count(Arch::V2HSwishSe5x5, 1.0, Preset::Cifar)), (squeezed.0 + params, squeezed.1 + macs));
}

#[test]
fn totals() {
    #[rustfmt::skip]
    let cases = [
        (Arch::V2HSwish,      2_236_682, 87_976_448),
        (Arch::V2HSwishSe,    4_245_762, 89_978_624),
        (Arch::V2HSwishSe5x5, 4_309_506, 93_026_048),
    ];
    for (arch, params, macs) in cases {
        let found = count(arch, 1.0, Preset::Cifar);
        assert_eq!((found.params, found.macs), (params, macs), "{arch}");
    }
}

/// Width and strides are V2's: both scale every step as they scale it, and shapes between the blocks stay V2's.
#[test]
fn every_step_has_v2s_shapes() {
    for preset in Preset::ALL {
        for width_mult in [0.35, 0.5, 0.75, 1.0, 1.4] {
            let outputs = |arch| {
                let summary = count(arch, width_mult, preset);
                let last = |block| summary.layers.iter().rfind(|layer| layer.block == Some(block));
                (0..=18).filter_map(|block| last(block).map(|layer| layer.output.clone())).collect::<Vec<_>>()
            };
            let v2 = outputs(Arch::V2);
            assert_eq!(v2.len(), 19);
            for arch in [Arch::V2HSwish, Arch::V2HSwishSe, Arch::V2HSwishSe5x5] {
                assert_eq!(outputs(arch), v2, "{arch} {preset} {width_mult}");
            }
        }
    }
}
