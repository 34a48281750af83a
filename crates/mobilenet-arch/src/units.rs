//! Layers with their channels, and with the paths of their variables below the layer's own: what is assembled, and what
//! the list of operations is made of.

use crate::ConvBnActConfig;

/// A convolution with batch norm and activation.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvPlan {
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Everything else.
    pub config: ConvBnActConfig,
    /// The path of the convolution.
    pub conv: String,
    /// The path of batch norm.
    pub norm: String,
}

impl ConvPlan {
    /// The two under torchvision's usual names, `0` and `1`.
    pub fn new(c_in: usize, c_out: usize, config: ConvBnActConfig) -> Self {
        Self { c_in, c_out, config, conv: "0".into(), norm: "1".into() }
    }

    /// The same below `path`: `0` becomes `path.0`.
    #[must_use]
    pub fn below(self, path: &str) -> Self {
        Self { conv: join(path, &self.conv), norm: join(path, &self.norm), ..self }
    }
}

/// A squeeze-and-excite.
#[derive(Clone, Debug, PartialEq)]
pub struct SqueezeExcitePlan {
    /// Channels of input and output.
    pub channels: usize,
    /// Hidden width.
    pub squeeze: usize,
    /// The path of the two convolutions `fc1` and `fc2`.
    pub path: String,
}

/// A linear bottleneck: expand, filter each channel, squeeze and excite, project, add the input.
#[derive(Clone, Debug, PartialEq)]
pub struct BottleneckPlan {
    /// The 1×1 convolution to more channels, where there is one.
    pub expand: Option<ConvPlan>,
    /// The depthwise convolution.
    pub depthwise: ConvPlan,
    /// Squeeze-and-excite, where there is one.
    pub squeeze_excite: Option<SqueezeExcitePlan>,
    /// The 1×1 convolution to the output's channels, without an activation.
    pub project: ConvPlan,
    /// Whether the input is added to the output.
    pub residual: bool,
}

/// What a network's features are a list of, and what runs as one.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerPlan {
    /// A convolution with batch norm and activation.
    Conv(ConvPlan),
    /// A linear bottleneck.
    Bottleneck(Box<BottleneckPlan>),
}

impl LayerPlan {
    /// Input channels.
    pub fn c_in(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.c_in,
            Self::Bottleneck(block) => block.expand.as_ref().unwrap_or(&block.depthwise).c_in,
        }
    }

    /// Output channels.
    pub fn c_out(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.c_out,
            Self::Bottleneck(block) => block.project.c_out,
        }
    }

    /// How many times fewer rows and columns come out than go in, rounded up.
    pub fn stride(&self) -> usize {
        match self {
            Self::Conv(conv) => conv.config.stride,
            Self::Bottleneck(block) => block.depthwise.config.stride,
        }
    }
}

impl From<ConvPlan> for LayerPlan {
    fn from(conv: ConvPlan) -> Self {
        Self::Conv(conv)
    }
}

impl From<BottleneckPlan> for LayerPlan {
    fn from(block: BottleneckPlan) -> Self {
        Self::Bottleneck(Box::new(block))
    }
}

/// `a.b`
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
