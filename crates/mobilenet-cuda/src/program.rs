//! The programs: a file of kernels with definitions, compiled as one.

use mobilenet_arch::Activation;

use crate::backend::Kind;

/// All programs, one a line: the file, and its definitions.
pub const PROGRAMS: &str = include_str!("../kernels/programs");

const COMMON: &str = include_str!("../kernels/common.cu");

/// A file of kernels, and what it is compiled for. Its key is a line of [`PROGRAMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// The file's name without its ending.
    pub file: &'static str,
    /// What a depthwise convolution's input goes through.
    act: Option<&'static str>,
    /// What expanded tensors consist of.
    t: bool,
    /// What the kernel reads.
    x: bool,
}

impl Program {
    /// A file that is compiled in one form.
    pub const fn new(file: &'static str) -> Self {
        Self { file, act: None, t: false, x: false }
    }

    /// For expanded tensors of this kind.
    #[must_use]
    pub fn t(self, kind: Kind) -> Self {
        Self { t: kind == Kind::Bf16, ..self }
    }

    /// For a kernel that reads this kind.
    #[must_use]
    pub fn x(self, kind: Kind) -> Self {
        Self { x: kind == Kind::Bf16, ..self }
    }

    /// The passes over rows that read `x` and write `t`.
    pub fn norm(x: Kind, t: Kind) -> Self {
        Self::new("norm").t(t).x(x)
    }

    /// A depthwise convolution of `act(bn(e))`, or of its input as it is; `None` if there is no program for that.
    pub fn depthwise(t: Kind, act: Option<Activation>) -> Option<Self> {
        let act = match act {
            None => "ACT=NONE",
            Some(Activation::Relu) => "ACT=RELU",
            Some(Activation::Relu6) => "ACT=RELU6",
            Some(Activation::HSwish) => "ACT=HSWISH",
            Some(Activation::Identity | Activation::HSigmoid) => return None,
        };
        Some(Self { act: Some(act), ..Self::new("depthwise").t(t) })
    }

    /// What the compiler is told to define.
    pub fn defines(&self) -> impl Iterator<Item = &'static str> {
        self.act.into_iter().chain(self.t.then_some("T_BF16")).chain(self.x.then_some("X_BF16"))
    }

    /// File and definitions: a line of [`PROGRAMS`].
    pub fn key(&self) -> String {
        self.defines().fold(self.file.to_owned(), |key, define| format!("{key} {define}"))
    }

    /// The whole text, without includes; empty for a file that there is not.
    pub fn source(&self) -> String {
        let own = match self.file {
            "norm" => include_str!("../kernels/norm.cu"),
            "finish" => include_str!("../kernels/finish.cu"),
            "depthwise" => include_str!("../kernels/depthwise.cu"),
            "depthwise_any" => include_str!("../kernels/depthwise_any.cu"),
            "conv" => include_str!("../kernels/conv.cu"),
            "squeeze_excite" => include_str!("../kernels/squeeze_excite.cu"),
            "classifier" => include_str!("../kernels/classifier.cu"),
            "optimizer" => include_str!("../kernels/optimizer.cu"),
            "augment" => include_str!("../kernels/augment.cu"),
            "fold" => include_str!("../kernels/fold.cu"),
            _ => "",
        };
        format!("{COMMON}\n{own}")
    }
}

/// An activation's number in the kernels.
pub(crate) fn number(act: Activation) -> usize {
    match act {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
        Activation::HSwish => 3,
        Activation::HSigmoid => 4,
    }
}

/// In place of an activation's number: the input is taken as it is.
pub(crate) const NONE: usize = 5;
