//! Layers that no table has: odd numbers of channels, for which kernels take one channel at a time, and windows without a
//! kernel of their own.

use mobilenet_arch::graph::{Operation, OperationKind, Parameter};
use mobilenet_arch::plan::{ConvPlan, LayerPlan, Part};
use mobilenet_arch::{Activation, BatchNormConfig, BottleneckConfig, ConvBnActConfig, Precision};

use super::missing;
use super::reference::names;
use super::stages::{Case, check_layer};

const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.01 };
const BLOCK: BottleneckConfig = BottleneckConfig {
    kernel: 5,
    c_in: 5,
    expanded: 13,
    c_out: 7,
    squeeze: Some(3),
    activation: Activation::HSwish,
    stride: 2,
    dilation: 1,
    norm: NORM,
};

/// An operation with a layer's variables.
fn variables(layer: &LayerPlan, path: &str) -> Operation {
    let (convs, _) = names(layer, path);
    let parameter = |name: String, shape: Vec<usize>, trainable| Parameter { name, shape, trainable };
    let mut parameters = Vec::new();
    for conv in &convs {
        let (k, c) = (conv.config.kernel, conv.c_out);
        let c_in = if conv.config.depthwise { 1 } else { conv.c_in };
        parameters.push(parameter(format!("{}.weight", conv.conv), vec![c, c_in, k, k], true));
        for (name, trainable) in [("weight", true), ("bias", true), ("running_mean", false), ("running_var", false)] {
            parameters.push(parameter(format!("{}.{name}", conv.norm), vec![c], trainable));
        }
    }
    if let LayerPlan::Bottleneck(block) = layer
        && let Some(se) = &block.squeeze_excite
    {
        let (c, s) = (se.channels, se.squeeze);
        let shapes = [vec![s, c, 1, 1], vec![s], vec![c, s, 1, 1], vec![c]];
        for (name, shape) in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"].iter().zip(shapes) {
            parameters.push(parameter(format!("{path}.{}.{name}", se.path), shape, true));
        }
    }
    let (name, kind) = (path.to_owned(), OperationKind::Add);
    Operation { name, kind, inputs: Vec::new(), input: Vec::new(), output: Vec::new(), part: Part::Stem, parameters }
}

/// Whether the derivative of the activation jumps from 0 to 1.
fn has_steep_kinks(layer: &LayerPlan) -> bool {
    let act = match layer {
        LayerPlan::Conv(conv) => conv.config.activation,
        LayerPlan::Bottleneck(block) => block.depthwise.config.activation,
    };
    matches!(act, Activation::Relu | Activation::Relu6)
}

#[test]
fn odd_channels_and_windows() {
    if missing() {
        return;
    }
    let conv = |c_in, c_out, config| LayerPlan::from(ConvPlan::new(c_in, c_out, config));
    let block = |config: BottleneckConfig| {
        let mut plan = config.layer();
        plan.residual = config.has_residual();
        LayerPlan::from(plan)
    };
    let relu6 = Activation::Relu6;
    let layers = [
        conv(3, 13, ConvBnActConfig::dense(3, 2, NORM, Activation::HSwish)),
        conv(3, 70, ConvBnActConfig::dense(5, 1, NORM, relu6)),
        conv(5, 13, ConvBnActConfig::pointwise(NORM, relu6)),
        conv(9, 9, ConvBnActConfig::depthwise(3, 2, 1, NORM, Activation::Relu)),
        conv(6, 6, ConvBnActConfig::depthwise(3, 1, 2, NORM, Activation::HSwish)),
        conv(6, 6, ConvBnActConfig::depthwise(5, 2, 1, NORM, Activation::Identity)),
        conv(4, 4, ConvBnActConfig::depthwise(7, 1, 1, NORM, relu6)),
        block(BLOCK),
        block(BottleneckConfig { c_out: 5, squeeze: None, stride: 1, activation: relu6, ..BLOCK }),
        block(BottleneckConfig { expanded: 5, kernel: 3, squeeze: None, ..BLOCK }),
        block(BottleneckConfig { kernel: 7, expanded: 26, dilation: 2, stride: 1, ..BLOCK }),
        block(BottleneckConfig { kernel: 3, expanded: 22, stride: 1, activation: Activation::Identity, ..BLOCK }),
    ];
    for layer in &layers {
        for (n, size) in [(1, (7, 6)), (3, (9, 13))] {
            for precision in [Precision::F32, Precision::Bf16] {
                // So few values are no sample of those that rounding puts on the other side of a kink.
                if precision == Precision::Bf16 && has_steep_kinks(layer) {
                    continue;
                }
                for centered in [true, false] {
                    let case = Case { n, size, precision, centered, seed: 6 };
                    check_layer(&[variables(layer, "layer")], (layer, "layer"), case);
                }
            }
        }
    }
}
