//! A batch of no images: no rows in evaluation, as in PyTorch; in training an error that says so.

use candle_core::{DType, Device, Module, Result, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use mobilenet_layers::{
    Activate, Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvBnAct, ConvBnActConfig,
    DepthwiseConv2d, Dropout, DropoutRng, Linear, LinearBottleneck, SqueezeExcite, Stack, Window, global_avg_pool,
};

const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.1 };

fn unit(c_in: usize, c_out: usize, config: ConvBnActConfig, vb: VarBuilder) -> Result<ConvBnAct> {
    ConvBnAct::new(c_in, c_out, config, vb.pp("conv"), vb.pp("norm"))
}

fn bottleneck(vb: &VarBuilder, last: Activation, residual: bool) -> Result<LinearBottleneck> {
    LinearBottleneck::new(
        Some(unit(8, 24, ConvBnActConfig::pointwise(NORM, Activation::HSwish), vb.pp("expand"))?),
        unit(24, 24, ConvBnActConfig::depthwise(5, 1, 2, NORM, Activation::HSwish), vb.pp("depthwise"))?,
        Some(SqueezeExcite::new(24, 8, vb.pp("se"))?),
        unit(24, 8, ConvBnActConfig::pointwise(NORM, last), vb.pp("project"))?,
        residual,
    )
}

#[test]
fn layers_without_statistics_give_no_rows() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let vb = VarBuilder::from_varmap(&VarMap::new(), dtype, &Device::Cpu);
        let xs = Tensor::zeros((0, 8, 7, 6), dtype, &Device::Cpu)?;
        for activation in Activation::ALL {
            assert_eq!(Activate(activation).forward(&xs)?.dims(), [0, 8, 7, 6], "{activation:?}");
        }
        for (kernel, stride, bias, size) in [(1, 1, true, (7, 6)), (3, 2, false, (4, 3)), (3, 1, true, (7, 6))] {
            let name = format!("dense{kernel}{stride}{bias}");
            let layer = Conv2d::new(8, 5, Conv2dConfig { kernel, stride, bias }, vb.pp(name))?;
            assert_eq!(layer.forward(&xs)?.dims4()?, (0, 5, size.0, size.1));
        }
        let depthwise = DepthwiseConv2d::new(8, Window::same(5, 2, 1), vb.pp("depthwise"))?;
        assert_eq!(depthwise.forward(&xs)?.dims(), [0, 8, 4, 3]);
        assert_eq!(SqueezeExcite::new(8, 4, vb.pp("se"))?.forward(&xs)?.dims(), xs.dims());
        let mean = global_avg_pool(&xs)?;
        assert_eq!((mean.dims(), mean.dtype()), (&[0, 8][..], dtype));
        let classes = Linear::new(8, 10, vb.pp("linear"))?.forward(&mean)?;
        assert_eq!((classes.dims(), classes.dtype()), (&[0, 10][..], dtype));
        let dropout = Dropout::new(0.5, DropoutRng::new())?;
        assert_eq!(dropout.forward_t(&mean, true)?.dims(), [0, 8]);
    }
    Ok(())
}

#[test]
fn layers_with_statistics_give_no_rows_in_evaluation_and_an_error_in_training() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let vb = VarBuilder::from_varmap(&VarMap::new(), dtype, &Device::Cpu);
        let xs = Tensor::zeros((0, 8, 7, 6), dtype, &Device::Cpu)?;
        let dense = unit(8, 12, ConvBnActConfig::dense(3, 2, NORM, Activation::Relu), vb.pp("dense"))?;
        let depthwise = ConvBnActConfig::depthwise(3, 2, 1, NORM, Activation::Relu);
        let stack = Stack::new(vec![
            bottleneck(&vb.pp("first"), Activation::Identity, false)?.into(),
            unit(8, 8, depthwise, vb.pp("between"))?.into(),
            unit(8, 12, ConvBnActConfig::pointwise(NORM, Activation::Relu), vb.pp("last"))?.into(),
        ])?;
        let layers: [(&str, Box<dyn ModuleT>, [usize; 4]); 6] = [
            ("batch norm", Box::new(BatchNorm::new(8, NORM, vb.pp("norm"))?), [0, 8, 7, 6]),
            ("dense", Box::new(dense), [0, 12, 4, 3]),
            ("depthwise", Box::new(unit(8, 8, depthwise, vb.pp("depthwise"))?), [0, 8, 4, 3]),
            ("block", Box::new(bottleneck(&vb.pp("whole"), Activation::Identity, true)?), [0, 8, 7, 6]),
            ("block in parts", Box::new(bottleneck(&vb.pp("parts"), Activation::Relu, true)?), [0, 8, 7, 6]),
            ("stack", Box::new(stack), [0, 12, 4, 3]),
        ];
        for (name, layer, expected) in layers {
            let ys = layer.forward_t(&xs, false)?;
            assert_eq!((ys.dims(), ys.dtype()), (&expected[..], dtype), "{name}");
            let error = layer.forward_t(&xs, true).expect_err(name).to_string();
            assert!(error.contains("expected at least one"), "{name}: {error}");
            let channels = Tensor::zeros((0, 9, 7, 6), dtype, &Device::Cpu)?;
            assert!(layer.forward_t(&channels, false).is_err(), "{name}: a wrong number of channels");
        }
    }
    Ok(())
}
