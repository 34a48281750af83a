//! The block's names, shapes and residual.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_blocks_v2::{InvertedResidual, InvertedResidualConfig};
use mobilenet_layers::{BatchNormConfig, seeded_var_builder};

fn block(c_in: usize, c_out: usize, stride: usize, expand_ratio: usize) -> Result<(InvertedResidual, VarMap)> {
    let vars = VarMap::new();
    let config = InvertedResidualConfig { c_in, c_out, stride, expand_ratio, norm: BatchNormConfig::default() };
    let block = InvertedResidual::new(&config, seeded_var_builder(&vars, 3, DType::F32, &Device::Cpu))?;
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
        weights(&block(8, 8, 1, 6)?.1),
        ["conv.0.0.weight", "conv.0.1.weight", "conv.1.0.weight", "conv.1.1.weight", "conv.2.weight", "conv.3.weight"]
    );
    assert_eq!(
        weights(&block(8, 4, 1, 1)?.1),
        ["conv.0.0.weight", "conv.0.1.weight", "conv.1.weight", "conv.2.weight"]
    );
    Ok(())
}

#[test]
fn the_stride_divides_the_image_rounding_up() -> Result<()> {
    for (stride, len, expected) in [(1, 7, 7), (2, 7, 4), (2, 8, 4), (2, 1, 1)] {
        let xs = Tensor::zeros((2, 8, len, len), DType::F32, &Device::Cpu)?;
        let ys = block(8, 12, stride, 6)?.0.forward_t(&xs, true)?;
        assert_eq!(ys.dims(), [2, 12, expected, expected]);
    }
    Ok(())
}

#[test]
fn the_input_is_added_where_shapes_agree() -> Result<()> {
    // With the projection's batch norm scaled to 0 the block is its residual alone.
    let xs = Tensor::randn(0f32, 1., (2, 8, 4, 4), &Device::Cpu)?;
    for (c_out, stride, added) in [(8, 1, true), (8, 2, false), (12, 1, false)] {
        let (block, vars) = block(8, c_out, stride, 6)?;
        let data = vars.data().lock().unwrap();
        data["conv.3.weight"].set(&data["conv.3.weight"].zeros_like()?)?;
        let ys = block.forward_t(&xs, true)?;
        let expected = if added { xs.clone() } else { ys.zeros_like()? };
        assert_eq!((ys - expected)?.abs()?.max_all()?.to_scalar::<f32>()?, 0., "c_out {c_out}, stride {stride}");
    }
    Ok(())
}

#[test]
fn impossible_sizes_are_errors() {
    for (c_in, c_out, stride, expand_ratio) in [(0, 8, 1, 6), (8, 0, 1, 6), (8, 8, 0, 6), (8, 8, 1, 0)] {
        let error = block(c_in, c_out, stride, expand_ratio).map(drop).expect_err("an impossible size").to_string();
        assert!(error.contains("of at least 1"), "{error}");
    }
}

#[test]
fn no_images_give_no_rows() -> Result<()> {
    let xs = Tensor::zeros((0, 8, 5, 5), DType::F32, &Device::Cpu)?;
    let block = block(8, 12, 2, 6)?.0;
    assert_eq!(block.forward_t(&xs, false)?.dims(), [0, 12, 3, 3]);
    assert!(block.forward_t(&xs, true).is_err());
    Ok(())
}
