//! float32 or bf16.

use std::fmt;
use std::str::FromStr;

/// What a training multiplies, and what it keeps of a forward pass for the backward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bf16. Sums, statistics, parameters and their gradients stay float32. A processor with AVX-512 BF16 multiplies it
    /// twice as fast as float32; any other one takes it apart and multiplies float32.
    Bf16,
}

impl Precision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// The short name that `FromStr` reads: `f32`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|precision| precision.name() == name);
        found.ok_or_else(|| format!("expected f32 or bf16, found {name:?}"))
    }
}
