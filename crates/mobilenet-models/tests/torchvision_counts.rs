//! Parameters, multiply-adds, shapes and names are torchvision's, for every width, preset and tail.

use std::collections::BTreeMap;

use candle_core::{DType, Device};
use candle_nn::{VarBuilder, VarMap};
use mobilenet_models::{Arch, LayerKind, MobileNet, ModelConfig, Preset, summary};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    arch: Arch,
    preset: Preset,
    num_classes: usize,
    #[serde(default = "one")]
    width_mult: f64,
    #[serde(default)]
    reduced_tail: bool,
    #[serde(default)]
    dilated: bool,
    params: u64,
    macs: u64,
    /// `name shape macs` of each convolution and linear layer outside squeeze-and-excite.
    #[serde(default)]
    layers: Vec<String>,
}

/// The networks that torchvision has.
fn torchvisions() -> impl Iterator<Item = Arch> {
    Arch::all().filter(|arch| arch.description().peer.is_some_and(|peer| peer.library == "torchvision"))
}

fn one() -> f64 {
    1.0
}

#[test]
fn params_macs_and_layers_are_torchvisions() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("fixtures/torchvision_counts.json")).unwrap();
    let mut widths = BTreeMap::new();
    let mut with_layers = 0;
    for case in &cases {
        let config = ModelConfig {
            width_mult: case.width_mult,
            reduced_tail: case.reduced_tail,
            dilated: case.dilated,
            ..ModelConfig::new(case.arch, case.num_classes, case.preset)
        };
        let size = case.preset.image_size();
        let summary = summary(&config, (size, size)).unwrap();
        assert_eq!((summary.params, summary.macs), (case.params, case.macs), "{config:?}");
        *widths.entry(format!("{}", case.width_mult)).or_insert(0) += 1;
        if !case.layers.is_empty() {
            with_layers += 1;
            let kinds = [LayerKind::Conv, LayerKind::Depthwise, LayerKind::Linear];
            let layers = summary.layers.iter().filter(|layer| kinds.contains(&layer.kind)).map(|layer| {
                let shape = layer.output.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
                format!("{} {shape} {}", layer.name, layer.macs)
            });
            assert_eq!(layers.collect::<Vec<_>>(), case.layers, "{config:?}");
        }
    }
    let counted: Vec<&str> = widths.keys().map(String::as_str).collect();
    assert_eq!(counted, ["0.05", "0.35", "0.5", "0.75", "1", "1.4", "2"]);
    assert_eq!(with_layers, 6 + 16);
}

#[test]
fn totals_are_the_published_ones() {
    #[rustfmt::skip]
    let cases = [
        (Arch::V2,      [3_504_872, 2_351_972, 2_236_682], "300.77", "87.98"),
        (Arch::V3Large, [5_483_032, 4_330_132, 4_214_842], "216.59", "66.46"),
        (Arch::V3Small, [2_542_856, 1_620_356, 1_528_106], "56.51",  "17.51"),
    ];
    for (arch, params, imagenet_macs, cifar_macs) in cases {
        let count = |classes, preset: Preset| {
            let size = preset.image_size();
            summary(&ModelConfig::new(arch, classes, preset), (size, size)).unwrap()
        };
        for (classes, expected) in [1000, 100, 10].into_iter().zip(params) {
            assert_eq!(count(classes, Preset::Imagenet).params, expected, "{arch}, {classes} classes");
        }
        assert_eq!(format!("{:.2}", count(1000, Preset::Imagenet).macs as f64 / 1e6), imagenet_macs, "{arch}");
        assert_eq!(format!("{:.2}", count(10, Preset::Cifar).macs as f64 / 1e6), cifar_macs, "{arch}");
    }
}

#[test]
fn names_and_shapes_are_those_of_torchvisions_state_dict() {
    let fixture = include_str!("fixtures/torchvision_state_dict.json");
    let expected: BTreeMap<Arch, BTreeMap<String, Vec<usize>>> = serde_json::from_str(fixture).unwrap();
    for arch in torchvisions() {
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
        MobileNet::new(&ModelConfig::new(arch, 10, Preset::Cifar), vb).unwrap();
        let vars = vars.data().lock().unwrap();
        let found: BTreeMap<String, Vec<usize>> =
            vars.iter().map(|(name, var)| (name.clone(), var.dims().to_vec())).collect();
        assert_eq!(found, expected[&arch], "{arch}");
    }
}

/// The summary names and counts layers on its own; the model's variables must agree with it, layer by layer.
#[test]
fn every_variable_is_counted_under_its_layers_name() {
    let tail = |arch| ModelConfig { reduced_tail: true, ..ModelConfig::new(arch, 7, Preset::Cifar) };
    let mut configs: Vec<ModelConfig> = Arch::all().map(|arch| ModelConfig::new(arch, 7, Preset::Cifar)).collect();
    configs.extend([tail(Arch::V3Large), tail(Arch::V3Small)]);
    for mut config in configs {
        config.width_mult = 0.5;
        let vars = VarMap::new();
        let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
        MobileNet::new(&config, vb).unwrap();
        let summary = summary(&config, (32, 32)).unwrap();
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        for layer in summary.layers.iter().filter(|layer| layer.params > 0) {
            *counted.entry(&layer.name).or_default() += layer.params;
        }
        let vars = vars.data().lock().unwrap();
        let mut found: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, var) in vars.iter().filter(|(name, _)| !name.contains(".running_")) {
            let layer = name.rsplit_once('.').unwrap().0;
            let layer = layer.strip_suffix(".fc1").or(layer.strip_suffix(".fc2")).unwrap_or(layer);
            *found.entry(layer).or_default() += var.elem_count() as u64;
        }
        assert_eq!(found, counted, "{config:?}");
    }
}
