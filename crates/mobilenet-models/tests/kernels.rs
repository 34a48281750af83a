//! Every layer of the networks has a kernel: what holds the fused operation to its composition does compare the two.
//!
//! A process records one profile at a time, so this is the only test here.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use mobilenet_kernels::profile;
use mobilenet_models::plan::{LayerPlan, PlacedLayer, Plan};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};

#[test]
fn every_layer_runs_whole() -> Result<()> {
    for arch in Arch::all() {
        for preset in Preset::ALL {
            let config = ModelConfig::new(arch, 10, preset);
            let plan = Plan::new(&config).unwrap();
            let layers = plan.layers();
            let scope = |placed: &PlacedLayer| match &placed.layer {
                LayerPlan::Conv(conv) => format!("{}.{}", placed.path, conv.conv),
                LayerPlan::Bottleneck(block) => {
                    let module = block.depthwise.conv.split('.').next().unwrap();
                    format!("{}.{module}", placed.path)
                }
            };
            let expected: BTreeSet<String> = layers.iter().map(scope).collect();
            assert_eq!(expected.len(), layers.len());

            let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu);
            let model = MobileNet::new(&config, vb).unwrap();
            let images = Tensor::ones((1, 3, 32, 32), DType::F32, &Device::Cpu)?;
            let (ys, profile::Profile { records, not_fused }) = profile::record(|| model.features(&images, true));
            ys?;
            assert_eq!(not_fused, [], "{arch} {preset}");
            // A block that runs as its layers has records of theirs, `features.2.conv.0.0`, and none of its own.
            let found: BTreeSet<String> = records.into_iter().map(|record| record.scope).collect();
            assert_eq!(found, expected, "{arch} {preset}");

            let (ys, profile::Profile { records, .. }) = profile::record(|| model.features(&images, false));
            ys?;
            assert!(records.iter().all(|record| record.phase == "inference"), "{arch} {preset}");
            let found: Vec<&str> = records.iter().map(|record| record.scope.as_str()).collect();
            assert_eq!(found.len(), layers.len(), "{arch} {preset}: one record a layer");
            assert_eq!((found[0], found[1].starts_with("features.1.")), ("features.0.0", true), "{arch} {preset}");
        }
    }
    Ok(())
}
