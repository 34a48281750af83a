//! What no layer can be is refused where it is made, by an error that names it.

use candle_core::{DType, Device, Result};
use candle_nn::{VarBuilder, VarMap};
use mobilenet_layers::{
    Activation, BatchNorm, BatchNormConfig, Conv2d, Conv2dConfig, ConvBnAct, ConvBnActConfig, DepthwiseConv2d, Dropout,
    DropoutRng, Linear, LinearBottleneck, SqueezeExcite, Stack, Window,
};

const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.1 };

fn builder() -> VarBuilder<'static> {
    VarBuilder::from_varmap(&VarMap::new(), DType::F32, &Device::Cpu)
}

fn assert_refused<T>(layer: Result<T>, words: &str, what: &str) {
    match layer {
        Ok(_) => panic!("{what} was taken"),
        Err(error) => assert!(error.to_string().contains(words), "{what}: {error}"),
    }
}

fn unit(c_in: usize, c_out: usize, config: ConvBnActConfig, name: &str) -> Result<ConvBnAct> {
    ConvBnAct::new(c_in, c_out, config, builder().pp(name), builder().pp(name))
}

#[test]
fn convolutions() {
    let config = Conv2dConfig { kernel: 3, stride: 1, bias: false };
    for (c_in, c_out, config, words) in [
        (0, 8, config, "expected at least one channel in and out, found 0 and 8"),
        (8, 0, config, "expected at least one channel in and out, found 8 and 0"),
        (8, 8, Conv2dConfig { kernel: 0, ..config }, "expected an odd kernel, found 0"),
        (8, 8, Conv2dConfig { kernel: 4, ..config }, "expected an odd kernel, found 4"),
        (8, 8, Conv2dConfig { stride: 0, ..config }, "expected a stride of at least 1"),
    ] {
        assert_refused(Conv2d::new(c_in, c_out, config, builder()), words, &format!("{c_in} {c_out} {config:?}"));
    }
    let window = Window::same(3, 1, 1);
    assert_refused(DepthwiseConv2d::new(0, window, builder()), "at least one channel", "no channels");
    for window in [Window { kernel: 0, ..window }, Window { stride: 0, ..window }, Window { dilation: 0, ..window }] {
        let layer = DepthwiseConv2d::new(8, window, builder());
        assert_refused(layer, "expected kernel, stride and dilation of at least 1", &format!("{window:?}"));
        // A window is a public value, and asking it for a size must not divide by zero.
        window.output_len(8);
    }
    assert_eq!(Window { stride: 0, ..window }.output_len(8), 0);
    assert_eq!(Window { kernel: usize::MAX, dilation: 3, ..window }.output_len(8), 0);
}

#[test]
fn convolutions_with_batch_norm() {
    let dense = ConvBnActConfig::dense(3, 1, NORM, Activation::Relu);
    let depthwise = ConvBnActConfig::depthwise(3, 1, 1, NORM, Activation::Relu);
    let norm = |eps, momentum| ConvBnActConfig { norm: BatchNormConfig { eps, momentum }, ..dense };
    for (c_in, c_out, config, words) in [
        (0, 8, dense, "at least one channel"),
        (8, 0, dense, "at least one channel"),
        (0, 0, depthwise, "at least one channel"),
        (8, 16, depthwise, "as many output as input channels, found 8 and 16"),
        (8, 8, ConvBnActConfig { dilation: 2, ..dense }, "a dilation of 1, found 2"),
        (8, 8, ConvBnActConfig { dilation: 0, ..dense }, "a dilation of 1, found 0"),
        (8, 8, ConvBnActConfig { dilation: 0, ..depthwise }, "dilation of at least 1"),
        (8, 8, ConvBnActConfig { stride: 0, ..dense }, "stride of at least 1"),
        (8, 8, ConvBnActConfig { stride: 0, ..depthwise }, "stride and dilation of at least 1"),
        (8, 8, ConvBnActConfig { kernel: 0, ..dense }, "odd kernel, found 0"),
        (8, 8, ConvBnActConfig { kernel: 2, ..dense }, "odd kernel, found 2"),
        (8, 8, ConvBnActConfig { kernel: 0, ..depthwise }, "odd kernel, found 0"),
        (8, 8, ConvBnActConfig { kernel: 4, ..depthwise }, "odd kernel, found 4"),
        (8, 8, norm(0., 0.1), "a positive eps, found 0"),
        (8, 8, norm(-1e-3, 0.1), "a positive eps, found -0.001"),
        (8, 8, norm(f64::NAN, 0.1), "a positive eps, found NaN"),
        (8, 8, norm(f64::INFINITY, 0.1), "a positive eps, found inf"),
        (8, 8, norm(1e-3, -0.1), "a momentum in [0, 1], found -0.1"),
        (8, 8, norm(1e-3, 1.1), "a momentum in [0, 1], found 1.1"),
        (8, 8, norm(1e-3, f64::NAN), "a momentum in [0, 1], found NaN"),
    ] {
        assert_refused(unit(c_in, c_out, config, "unit"), words, &format!("{c_in} {c_out} {config:?}"));
    }
    assert_refused(BatchNorm::new(0, NORM, builder()), "at least one channel", "batch norm");
}

#[test]
fn the_other_layers() {
    assert_refused(SqueezeExcite::new(0, 8, builder()), "channels and a hidden width, found 0 and 8", "no channels");
    assert_refused(SqueezeExcite::new(8, 0, builder()), "channels and a hidden width, found 8 and 0", "no squeeze");
    assert_refused(Linear::new(0, 8, builder()), "at least one feature in and out, found 0 and 8", "nothing in");
    assert_refused(Linear::new(8, 0, builder()), "at least one feature in and out, found 8 and 0", "nothing out");
    for p in [-0.1, 1., f64::NAN] {
        assert_refused(Dropout::new(p, DropoutRng::new()), "a probability in [0, 1)", "dropout");
    }
    assert_refused(Stack::new(Vec::new()), "at least one layer", "stack");
}

#[test]
fn blocks_whose_layers_do_not_fit() -> Result<()> {
    let pointwise = ConvBnActConfig::pointwise(NORM, Activation::Relu);
    let depthwise =
        |c, stride| unit(c, c, ConvBnActConfig::depthwise(3, stride, 1, NORM, Activation::Relu), "depthwise");
    let expand = |c| unit(8, c, pointwise, "expand").map(Some);
    let project = |c_in, c_out| unit(c_in, c_out, pointwise, "project");
    let squeeze = |c| SqueezeExcite::new(c, 4, builder()).map(Some);
    for (block, words) in [
        (
            LinearBottleneck::new(expand(24)?, depthwise(16, 1)?, None, project(16, 8)?, false),
            "a depthwise convolution of 24 channels, found one of 16",
        ),
        (
            LinearBottleneck::new(expand(24)?, depthwise(24, 1)?, squeeze(16)?, project(24, 8)?, false),
            "a squeeze-and-excite of 24 channels, found one of 16",
        ),
        (
            LinearBottleneck::new(expand(24)?, depthwise(24, 1)?, None, project(16, 8)?, false),
            "a projection of 24 channels, found one of 16",
        ),
        (
            LinearBottleneck::new(expand(24)?, depthwise(24, 1)?, None, project(24, 16)?, true),
            "equal channels, found 8 to 16 channels",
        ),
        (LinearBottleneck::new(expand(24)?, depthwise(24, 2)?, None, project(24, 8)?, true), "another stride"),
        (LinearBottleneck::new(None, depthwise(24, 1)?, None, project(24, 8)?, true), "found 24 to 8 channels"),
    ] {
        assert_refused(block, words, words);
    }
    Ok(())
}
