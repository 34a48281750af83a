//! A network as its file holds it: operations in the order they run, their parameters, and what else is known.

use std::collections::BTreeMap;

use mobilenet_kernels::f32_to_bf16;
use serde::{Deserialize, Serialize};

/// A network whose batch norms are folded into its weights.
///
/// Values are numbered: 0 is the image, `i + 1` what the operation in place `i` gives. An operation's parameters are
/// tensors under its name: `NAME.weight` and `NAME.bias`, and for squeeze-and-excite `NAME.fc1.weight` and so on.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What is done, in this order.
    pub operations: Vec<Operation>,
    /// The parameters.
    pub tensors: BTreeMap<String, Tensor>,
    /// What goes in, what comes out, and where it is from.
    pub description: Description,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// torchvision's path of the convolution or layer, which is also that of its parameters.
    pub name: String,
    /// What it does.
    pub kind: OperationKind,
    /// The value that it takes.
    pub input: usize,
    /// A value that is added to the result, after the activation: the shortcut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<usize>,
    /// Applied to the result.
    #[serde(default, skip_serializing_if = "Activation::is_identity")]
    pub activation: Activation,
    /// How the result is kept in 8 bits; in float32 where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OperationKind {
    /// A convolution with bias, padded by `dilation · (kernel - 1) / 2` on each side.
    Conv {
        /// Height and width of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Distance of the window's taps.
        dilation: usize,
        /// A window for each channel instead of one over all of them.
        depthwise: bool,
    },
    /// Squeeze-and-excite: mean over the pixels, product, ReLU, product, h-sigmoid; each channel is multiplied by the result.
    SqueezeExcite,
    /// The mean over the pixels.
    Pool,
    /// A linear layer with bias.
    Linear,
}

/// An activation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x · relu6(x + 3) / 6`
    HSwish,
    /// `relu6(x + 3) / 6`
    HSigmoid,
    /// `Σ slopes[i] · max(x - kinks[i], 0)`: straight pieces.
    Pieces {
        /// Where the slope changes, in ascending order.
        kinks: Vec<f32>,
        /// By how much it changes.
        slopes: Vec<f32>,
    },
}

/// Values in 8 bits: `real = scale · (stored - zero_point)`, `stored` from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantization {
    /// What a step stands for.
    pub scale: f32,
    /// What stands for 0.
    pub zero_point: u8,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its lengths, the outermost first: `[c_out, c_in, k, k]` of a convolution's weight.
    pub shape: Vec<usize>,
    /// Its numbers, row by row.
    pub values: Values,
}

/// A parameter's numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// float32
    F32(Vec<f32>),
    /// bf16, as its bits: the upper half of a float32's.
    Bf16(Vec<u16>),
    /// 8 bits with a sign, -127 to 127; `NAME.weight_scale` says for each output channel what a step stands for.
    I8(Vec<i8>),
}

/// What a network is told beside its operations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// What it takes.
    pub input: Input,
    /// The classes' names, in the order of the results.
    pub classes: Vec<String>,
    /// Where it is from.
    #[serde(default)]
    pub origin: Origin,
}

/// What a network takes, and how a picture becomes that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Height of the image, in pixels.
    pub height: usize,
    /// Width of the image, in pixels.
    pub width: usize,
    /// Pictures are scaled so that the image is this share of their shorter side: 0.875 of 256 pixels are 224. At 1 the
    /// image is the largest centered part of its shape.
    #[serde(default = "one")]
    pub crop: f32,
    /// Mean of each channel, of values from 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel.
    pub std: [f32; 3],
    /// How the image is kept in 8 bits; in float32 where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

fn one() -> f32 {
    1.
}

/// Where a network is from; every part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// The architecture's name: `v3-large`.
    pub architecture: String,
    /// The width multiplier.
    pub width: f64,
    /// What wrote the file.
    pub program: String,
    /// What it was trained on.
    pub data: String,
    /// The training's command.
    pub command: String,
    /// What was changed since: activations, rounded weights, numbers in 8 bits.
    pub changes: Vec<String>,
    /// Its share of right answers on the test images before these changes, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_top1: Option<f64>,
}

/// The shape of a value: of an image `[h, w, c]`; of a vector `h` and `w` are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Height.
    pub h: usize,
    /// Width.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Shape {
    /// How many pixels it has.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.h * self.w
    }

    /// How many numbers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Activation {
    pub(crate) fn is_identity(&self) -> bool {
        *self == Self::Identity
    }
}

impl Values {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::I8(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Tensor {
    /// A float32 tensor.
    #[must_use]
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self { shape: shape.into(), values: Values::F32(values) }
    }

    /// A bf16 tensor of the values nearest to these, of two as near the even one.
    #[must_use]
    pub fn bf16(shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        Self { shape: shape.into(), values: Values::Bf16(values.iter().copied().map(f32_to_bf16).collect()) }
    }
}
