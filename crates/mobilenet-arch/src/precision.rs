//! float32, TF32 or bf16.

use mobilenet_common::names::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// What a training multiplies, and what it keeps of a forward pass for the backward.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// float32 whose products take operands that are rounded to TF32, ten bits and not 23: NVIDIA's tensor cores multiply
    /// them. For CUDA; elsewhere it is float32.
    #[cfg_attr(feature = "clap", value(help = "float32 with products in TF32: CUDA alone"))]
    Tf32,
    /// bf16. Sums, statistics, parameters and their gradients stay float32. A processor with AVX-512 BF16 multiplies it
    /// twice as fast as float32; any other one takes it apart and multiplies float32.
    #[cfg_attr(
        feature = "clap",
        value(help = "bf16 with float32 sums and weights: sooner done where the processor multiplies it")
    )]
    Bf16,
}

impl Precision {
    /// Every precision.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The short name that `FromStr` reads and `Display` gives: `f32`, `tf32`, `bf16`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// As people spell it: `float32`, `TF32`, `bf16`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Tf32 => "TF32",
            Self::Bf16 => "bf16",
        }
    }
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::new("precision", found, <Precision as VariantNames>::VARIANTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &precision in Precision::ALL {
            assert_eq!(precision.name().parse(), Ok(precision));
            assert_eq!(format!("{precision:>6}"), format!("{:>6}", precision.name()));
        }
        let error = "fp16".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "unknown precision \"fp16\", expected f32, tf32 or bf16");
    }
}
