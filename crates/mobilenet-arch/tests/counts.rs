//! Parameters and multiply-adds of every network.

use std::collections::BTreeSet;

use mobilenet_arch::{Arch, ModelConfig, Preset, Summary, summary};

fn count(arch: Arch, classes: usize, preset: Preset) -> Summary {
    summary(&ModelConfig::new(arch, classes, preset), (preset.image_size(), preset.image_size())).unwrap()
}

#[test]
fn counts_are_the_published_ones() {
    for arch in Arch::published() {
        let published = arch.description().published.unwrap();
        let found = count(arch, 1000, Preset::Imagenet);
        assert_eq!((found.params, found.macs), (published.params, published.macs), "{arch}");
    }
}

#[test]
fn counts_for_other_classes_and_small_images() {
    #[rustfmt::skip]
    let cases = [
        //                    parameters for 1,000, 100 and 10 classes   MACs: 224x224, 1,000  32x32, 10
        (Arch::V1,            [4_231_976, 3_309_476, 3_217_226],         568_740_352,          175_556_608),
        (Arch::V2,            [3_504_872, 2_351_972, 2_236_682],         300_774_272,          87_976_448),
        (Arch::V2HSwish,      [3_504_872, 2_351_972, 2_236_682],         300_774_272,          87_976_448),
        (Arch::V2HSwishSe,    [5_513_952, 4_361_052, 4_245_762],         302_776_448,          89_978_624),
        (Arch::V2HSwishSe5x5, [5_577_696, 4_424_796, 4_309_506],         312_109_184,          93_026_048),
        (Arch::V3Large,       [5_483_032, 4_330_132, 4_214_842],         216_589_760,          66_459_008),
        (Arch::V3Small,       [2_542_856, 1_620_356, 1_528_106],         56_510_400,           17_507_328),
    ];
    for (arch, params, macs, small_macs) in cases {
        for (classes, expected) in [1000, 100, 10].into_iter().zip(params) {
            for preset in Preset::ALL {
                assert_eq!(count(arch, classes, preset).params, expected, "{arch}, {classes} classes, {preset}");
            }
        }
        assert_eq!(count(arch, 1000, Preset::Imagenet).macs, macs, "{arch}");
        assert_eq!(count(arch, 10, Preset::Cifar).macs, small_macs, "{arch}");
    }
    let counted: BTreeSet<Arch> = cases.iter().map(|case| case.0).collect();
    assert!(Arch::all().all(|arch| counted.contains(&arch)), "a network without counts");
}
