//! A profile tells which layers are not fused, and why.
//!
//! A process records one profile at a time, so this is the only test here.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_kernels::profile::{self, NotFused, Profile};
use mobilenet_layers::{
    Activation, BatchNormConfig, ConvBnAct, ConvBnActConfig, LinearBottleneck, Stack, seeded_var_builder,
};

#[test]
fn a_profile_names_the_layers_without_a_kernel() -> Result<()> {
    let vb = seeded_var_builder(&VarMap::new(), 1, DType::F32, &Device::Cpu);
    let norm = BatchNormConfig::default();
    let unit = |c_in, c_out, config, name: &str| {
        ConvBnAct::new(c_in, c_out, config, vb.pp(name).pp("conv"), vb.pp(name).pp("norm"))
    };
    let relu = ConvBnActConfig::pointwise(norm, Activation::Relu);
    let block = LinearBottleneck::new(
        Some(unit(8, 24, relu, "block.expand")?),
        unit(24, 24, ConvBnActConfig::depthwise(3, 1, 1, norm, Activation::Relu), "block.depthwise")?,
        None,
        unit(24, 8, relu, "block.project")?, // with an activation
        true,
    )?;
    let stem = unit(3, 8, ConvBnActConfig::dense(3, 1, norm, Activation::Relu), "stem")?;
    let stack = Stack::new(vec![stem.into(), block.into(), unit(8, 16, relu, "last")?.into()])?;
    let images = Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
    for train in [true, false] {
        let step = || stack.forward_t(&images, train)?.sum_all()?.backward();
        let (steps, Profile { records, not_fused }) = profile::record(|| [step(), step()]);
        for step in steps {
            step?;
        }
        let expected = NotFused { layer: "block".into(), why: "the projection has an activation" };
        assert_eq!(not_fused, [expected], "training {train}: once, however often it ran");
        for fused in ["stem.conv", "block.expand.conv", "block.project.conv", "last.conv"] {
            assert!(records.iter().any(|record| record.scope == fused), "training {train}: {fused}");
        }
    }
    Ok(())
}
