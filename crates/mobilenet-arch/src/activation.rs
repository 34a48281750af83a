//! The activations that the networks have. `mobilenet-kernels` and `mobilenet-layers` compute them.

use serde::{Deserialize, Serialize};

/// An activation function, applied element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x`
    Identity,
    /// `max(x, 0)`
    Relu,
    /// `min(max(x, 0), 6)`, of MobileNetV2
    Relu6,
    /// `x · relu6(x + 3) / 6`, of MobileNetV3
    HSwish,
    /// `relu6(x + 3) / 6`, the gate of MobileNetV3's squeeze-and-excite
    HSigmoid,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 5] = [Self::Identity, Self::Relu, Self::Relu6, Self::HSwish, Self::HSigmoid];

    /// Its name in files and tables: `h-swish`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::HSwish => "h-swish",
            Self::HSigmoid => "h-sigmoid",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_spell_activations_as_summaries_do() {
        for activation in Activation::ALL {
            assert_eq!(serde_json::to_value(activation).unwrap(), activation.name());
        }
    }
}
