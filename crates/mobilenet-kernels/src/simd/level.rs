//! Which instruction sets there are, which the processor has, and which one is used.

use std::env;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::isa::Baseline;
#[cfg(target_arch = "aarch64")]
use super::isa::NeonDot;
#[cfg(target_arch = "x86_64")]
use super::isa::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, AvxVnni};

/// An instruction set that this processor has: there is no way to make one that it has not.
///
/// Kernels use [`Level::best`]. The environment variable `MOBILENET_SIMD` makes that another one, to measure or to test
/// what other processors run:
///
/// ```
/// use mobilenet_kernels::{Level, LevelError};
///
/// let level: Level = "baseline".parse()?;
/// assert_eq!(level.name(), "baseline");
/// assert!(Level::available().contains(&level));
/// assert!(matches!("mmx".parse::<Level>(), Err(LevelError::Unknown { .. })));
/// # Ok::<(), LevelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Set);

/// Each with its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Baseline(Baseline),
    #[cfg(target_arch = "aarch64")]
    NeonDot(NeonDot),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(Avx512Bf16),
}

/// Why a name is no [`Level`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LevelError {
    /// No instruction set has this name.
    #[error("unknown instruction set {name:?}: expected one of {}", Level::NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The processor, or processors of this kind, lack the instruction set.
    #[error("this processor lacks {name}: it has {}", available_names())]
    Unavailable {
        /// What was asked for.
        name: String,
    },
}

fn available_names() -> String {
    Level::available().into_iter().map(Level::name).collect::<Vec<_>>().join(", ")
}

impl Level {
    /// The environment variable that [`Level::best`] follows.
    pub const VARIABLE: &str = "MOBILENET_SIMD";

    /// The names of all levels, on every kind of processor: what the target guarantees (SSE2 on x86-64, NEON on aarch64);
    /// NEON with products of bytes; AVX2 with FMA; AVX2 with products of bytes; AVX-512 F, BW, DQ and VL; AVX-512 with products
    /// of bytes; AVX-512 with these and products of bf16 pairs.
    pub const NAMES: [&str; 7] = ["baseline", "neondot", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"];

    /// The one that [`VARIABLE`](Self::VARIABLE) names, else the best that the processor has: settled once, by the
    /// first call. A name that [`from_env`](Self::from_env) refuses has no effect, since a library does not print: a
    /// program asks `from_env` first.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| {
            let chosen = Self::from_env().ok().flatten();
            chosen.or_else(|| Self::available().pop()).unwrap_or(Level(Set::Baseline(Baseline)))
        })
    }

    /// The one that the environment names; `None` where [`VARIABLE`](Self::VARIABLE) is unset or empty.
    ///
    /// # Errors
    /// What the variable holds is no name of a level that this processor has.
    pub fn from_env() -> Result<Option<Self>, LevelError> {
        let name = env::var_os(Self::VARIABLE).unwrap_or_default();
        if name.is_empty() { Ok(None) } else { name.to_string_lossy().parse().map(Some) }
    }

    /// All that this processor has, the best last.
    pub fn available() -> Vec<Self> {
        let baseline = Some(Set::Baseline(Baseline));
        #[cfg(target_arch = "x86_64")]
        let sets = [
            baseline,
            Avx2::new().map(Set::Avx2),
            AvxVnni::new().map(Set::AvxVnni),
            Avx512::new().map(Set::Avx512),
            Avx512Vnni::new().map(Set::Avx512Vnni),
            Avx512Bf16::new().map(Set::Avx512Bf16),
        ];
        #[cfg(target_arch = "aarch64")]
        let sets = [baseline, NeonDot::new().map(Set::NeonDot)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let sets = [baseline];
        sets.into_iter().flatten().map(Self).collect()
    }

    /// Its name in [`NAMES`](Self::NAMES).
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Baseline(_) => Self::NAMES[0],
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot(_) => Self::NAMES[1],
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => Self::NAMES[2],
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(_) => Self::NAMES[3],
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => Self::NAMES[4],
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni(_) => Self::NAMES[5],
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16(_) => Self::NAMES[6],
        }
    }

    pub(crate) fn set(self) -> Set {
        self.0
    }
}

/// The opposite of [`Level::name`], among the levels that this processor has.
impl FromStr for Level {
    type Err = LevelError;

    fn from_str(name: &str) -> Result<Self, LevelError> {
        let found = Self::available().into_iter().find(|level| level.name() == name);
        found.ok_or_else(|| match Self::NAMES.contains(&name) {
            true => LevelError::Unavailable { name: name.to_owned() },
            false => LevelError::Unknown { name: name.to_owned() },
        })
    }
}

/// In words: `AVX-512`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self.0 {
            Set::Baseline(_) if cfg!(target_arch = "aarch64") => "NEON",
            Set::Baseline(_) => "baseline",
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot(_) => "NEON with dot products",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "AVX2+FMA",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(_) => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16(_) => "AVX-512 BF16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_is_found_by_its_name() {
        let levels = Level::available();
        assert!(levels.is_sorted_by_key(|level| Level::NAMES.iter().position(|name| *name == level.name())));
        for name in Level::NAMES {
            let expected = levels.iter().copied().find(|level| level.name() == name);
            assert_eq!(name.parse(), expected.ok_or(LevelError::Unavailable { name: name.to_owned() }));
        }
    }

    #[test]
    fn a_name_of_no_level_is_refused_with_those_that_are() {
        for name in ["", "AVX2", "avx10", "sse"] {
            let error = name.parse::<Level>().unwrap_err().to_string();
            assert_eq!(error, format!("unknown instruction set {name:?}: expected one of {}", Level::NAMES.join(", ")));
        }
        let error = LevelError::Unavailable { name: "avx512".to_owned() }.to_string();
        assert!(error.starts_with("this processor lacks avx512: it has baseline"), "{error}");
    }

    /// So that tests which are told to run a level do run it.
    #[test]
    fn what_the_environment_asks_for_is_used() {
        match Level::from_env().unwrap() {
            Some(level) => assert_eq!(Level::best(), level),
            None => assert_eq!(Some(Level::best()), Level::available().pop()),
        }
    }
}
