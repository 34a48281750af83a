//! The block's names, shapes and residual.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_blocks_v3::{Bottleneck, BottleneckConfig};
use mobilenet_layers::{Activation, BatchNormConfig, seeded_var_builder};

const BASE: BottleneckConfig = BottleneckConfig {
    kernel: 5,
    c_in: 8,
    expanded: 24,
    c_out: 8,
    squeeze: Some(8),
    activation: Activation::HSwish,
    stride: 1,
    dilation: 1,
    norm: BatchNormConfig { eps: 1e-3, momentum: 0.01 },
};

fn block(config: BottleneckConfig) -> Result<(Bottleneck, VarMap)> {
    let vars = VarMap::new();
    let block = Bottleneck::new(&config, seeded_var_builder(&vars, 3, DType::F32, &Device::Cpu))?;
    Ok((block, vars))
}

fn weights(vars: &VarMap) -> Vec<String> {
    let mut names: Vec<String> =
        vars.data().lock().unwrap().keys().filter(|k| k.ends_with("weight")).cloned().collect();
    names.sort();
    names
}

#[test]
fn variables_have_torchvisions_names() -> Result<()> {
    assert_eq!(
        weights(&block(BASE)?.1),
        [
            "block.0.0.weight",
            "block.0.1.weight",
            "block.1.0.weight",
            "block.1.1.weight",
            "block.2.fc1.weight",
            "block.2.fc2.weight",
            "block.3.0.weight",
            "block.3.1.weight",
        ]
    );
    let plain = BottleneckConfig { expanded: 8, squeeze: None, ..BASE };
    assert_eq!(
        weights(&block(plain)?.1),
        ["block.0.0.weight", "block.0.1.weight", "block.1.0.weight", "block.1.1.weight"]
    );
    Ok(())
}

#[test]
fn kernel_stride_and_dilation_keep_or_halve_the_image() -> Result<()> {
    for (kernel, stride, dilation, expected) in [(3, 1, 1, 7), (5, 1, 1, 7), (5, 2, 1, 4), (3, 2, 1, 4), (5, 1, 2, 7)] {
        let xs = Tensor::zeros((2, 8, 7, 7), DType::F32, &Device::Cpu)?;
        let ys = block(BottleneckConfig { kernel, stride, dilation, ..BASE })?.0.forward_t(&xs, true)?;
        assert_eq!(ys.dims(), [2, 8, expected, expected], "{kernel} {stride} {dilation}");
    }
    Ok(())
}

#[test]
fn the_input_is_added_where_shapes_agree() -> Result<()> {
    let xs = Tensor::randn(0f32, 1., (2, 8, 4, 4), &Device::Cpu)?;
    for (c_out, stride, added) in [(8, 1, true), (8, 2, false), (16, 1, false)] {
        let (block, vars) = block(BottleneckConfig { c_out, stride, ..BASE })?;
        let data = vars.data().lock().unwrap();
        data["block.3.1.weight"].set(&data["block.3.1.weight"].zeros_like()?)?;
        let ys = block.forward_t(&xs, true)?;
        let expected = if added { xs.clone() } else { ys.zeros_like()? };
        assert_eq!((ys - expected)?.abs()?.max_all()?.to_scalar::<f32>()?, 0., "c_out {c_out}, stride {stride}");
    }
    Ok(())
}

#[test]
fn impossible_sizes_are_errors() {
    let eps = BatchNormConfig { eps: 0., ..BASE.norm };
    let momentum = BatchNormConfig { momentum: 2., ..BASE.norm };
    for (config, words) in [
        (BottleneckConfig { kernel: 0, ..BASE }, "odd kernel, found 0"),
        (BottleneckConfig { kernel: 4, ..BASE }, "odd kernel, found 4"),
        (BottleneckConfig { c_in: 0, ..BASE }, "of at least 1"),
        (BottleneckConfig { expanded: 0, ..BASE }, "of at least 1"),
        (BottleneckConfig { c_out: 0, ..BASE }, "of at least 1"),
        (BottleneckConfig { squeeze: Some(0), ..BASE }, "of at least 1"),
        (BottleneckConfig { stride: 0, ..BASE }, "of at least 1"),
        (BottleneckConfig { dilation: 0, ..BASE }, "of at least 1"),
        (BottleneckConfig { norm: eps, ..BASE }, "positive eps"),
        (BottleneckConfig { norm: momentum, ..BASE }, "momentum in [0, 1]"),
    ] {
        let error = block(config).map(drop).expect_err("an impossible size").to_string();
        assert!(error.contains(words), "{config:?}: {error}");
    }
}

#[test]
fn no_images_give_no_rows() -> Result<()> {
    let xs = Tensor::zeros((0, 8, 5, 5), DType::F32, &Device::Cpu)?;
    let block = block(BottleneckConfig { stride: 2, c_out: 12, ..BASE })?.0;
    assert_eq!(block.forward_t(&xs, false)?.dims(), [0, 12, 3, 3]);
    assert!(block.forward_t(&xs, true).is_err());
    Ok(())
}
