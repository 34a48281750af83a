//! How a network's weights and values are kept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::network::{Description, Network, Values};
use crate::tensors::{Info, Parts};
use crate::{Error, Result};

/// How a network's weights and values are kept. Biases and scales are float32 in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Weights and values are float32.
    Float32,
    /// Weights are bf16 until they are packed, which makes them float32; values are float32.
    Bf16,
    /// Weights and values have 8 bits.
    Int8,
}

impl Precision {
    /// Its name, in a file too: `float32`, `bf16`, `int8`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// That of a file which does not say it: bf16 is always said.
    pub(crate) fn unsaid(description: &Description) -> Self {
        if description.input.quantization.is_some() { Self::Int8 } else { Self::Float32 }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Network {
    /// How its weights and values are kept: `Int8` where its image has 8 bits, `Bf16` where a weight is that. That all others
    /// are the same, [`shapes`](Self::shapes) checks.
    #[must_use]
    pub fn precision(&self) -> Precision {
        let mut weights = self.tensors.iter().filter(|(name, _)| name.ends_with(".weight"));
        match Precision::unsaid(&self.description) {
            Precision::Float32 if weights.any(|(_, tensor)| matches!(tensor.values, Values::Bf16(_))) => {
                Precision::Bf16
            }
            precision => precision,
        }
    }
}

impl Parts<'_> {
    /// Whether the image is kept as the network's precision says.
    pub(crate) fn image_fits(&self) -> Result<()> {
        let (found, is_int8) = (self.precision, self.description.input.quantization.is_some());
        if (found == Precision::Int8) == is_int8 {
            return Ok(());
        }
        let expected =
            if is_int8 { "int8, since the image has 8 bits" } else { "float32 or bf16, since the image is float32" };
        Err(Error::value("precision", expected, found.name()))
    }

    /// Whether a weight is kept as the network's precision says.
    pub(crate) fn weight_fits(&self, name: &str, weight: Info) -> Result<()> {
        let fits = match self.precision {
            // A gate's may be float32; which operations have gates is the plan's to know.
            Precision::Int8 => weight.kept != Precision::Bf16,
            precision => weight.kept == precision,
        };
        if fits {
            return Ok(());
        }
        let expected = format!("{}, the network's precision", self.precision);
        Err(Error::value(format!("tensor {name:?}"), expected, weight.words()))
    }
}
