//! The few names the command line, the artefacts and the report share.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// An architecture that can be compared. On command lines of their own (not behind a width) only the published ones are named.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// MobileNetV2
    V2,
    /// MobileNetV3-Large
    V3Large,
    /// MobileNetV3-Small
    V3Small,
    /// V2 with V3-Large's h-swish
    #[serde(rename = "v2-hs")]
    #[value(skip)]
    V2HSwish,
    /// That with V3-Large's squeeze-and-excite
    #[serde(rename = "v2-hs-se")]
    #[value(skip)]
    V2HSwishSe,
    /// That with V3-Large's 5×5 windows
    #[serde(rename = "v2-hs-se-k5")]
    #[value(skip)]
    V2HSwishSe5x5,
}

impl Arch {
    /// Those of the papers, in the order in which the report names them.
    pub const PUBLISHED: [Self; 3] = [Self::V2, Self::V3Large, Self::V3Small];

    /// From V2 to V3-Large, one change at a time.
    pub const LADDER: [Self; 5] = [Self::V2, Self::V2HSwish, Self::V2HSwishSe, Self::V2HSwishSe5x5, Self::V3Large];

    /// All of them.
    pub const NAMED: [Self; 6] =
        [Self::V2, Self::V2HSwish, Self::V2HSwishSe, Self::V2HSwishSe5x5, Self::V3Large, Self::V3Small];

    /// Its place in [`Self::NAMED`], to sort by.
    pub fn place(self) -> usize {
        Self::NAMED.iter().position(|&arch| arch == self).unwrap_or(Self::NAMED.len())
    }

    /// As `mobilenet --model` spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3Large => "v3-large",
            Self::V3Small => "v3-small",
            Self::V2HSwish => "v2-hs",
            Self::V2HSwishSe => "v2-hs-se",
            Self::V2HSwishSe5x5 => "v2-hs-se-k5",
        }
    }

    /// As people spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::V2 => "MobileNetV2",
            Self::V3Large => "MobileNetV3-Large",
            Self::V3Small => "MobileNetV3-Small",
            Self::V2HSwish => "MobileNetV2 + h-swish",
            Self::V2HSwishSe => "MobileNetV2 + h-swish + SE",
            Self::V2HSwishSe5x5 => "MobileNetV2 + h-swish + SE + 5×5",
        }
    }

    /// For labels in plots and narrow columns.
    pub fn short(self) -> &'static str {
        match self {
            Self::V2 => "V2",
            Self::V3Large => "V3-Large",
            Self::V3Small => "V3-Small",
            Self::V2HSwish => "V2+hs",
            Self::V2HSwishSe => "V2+hs+SE",
            Self::V2HSwishSe5x5 => "V2+hs+SE+5×5",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// What a training multiplies and keeps; see `mobilenet train --precision`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float32
    #[default]
    F32,
    /// bf16 with float32 sums and weights: sooner done where the processor multiplies it
    Bf16,
}

impl Precision {
    /// As `mobilenet --precision` spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// As people spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bf16",
        }
    }
}

/// How much is done; the numbers are in `plan::recipe`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// A small part of the data, a few minutes: does everything work?
    Smoke,
    /// Four epochs of the recipe for few: about half an hour on two cores
    Quick,
    /// The whole of that recipe: hours on two cores
    Fast,
    /// The article's protocol: 100 epochs of the whole set (half a day on two cores)
    Article,
}

impl Profile {
    /// As `--profile` spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Fast => "fast",
            Self::Article => "article",
        }
    }
}

/// The settings a training starts from; see `mobilenet train --recipe`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RecipeName {
    /// AdamW, cosine schedule, flips and crops
    #[default]
    Article,
    /// Made for few epochs
    Fast,
}

impl RecipeName {
    /// As `mobilenet --recipe` spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Article => "article",
            Self::Fast => "fast",
        }
    }
}

/// Where the pictures come from; handed on to `mobilenet --data`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// --data-dir, else the cache, else a download of CIFAR-10, else shapes10 with a warning
    Auto,
    /// CIFAR-10, or an error where it cannot be had
    Cifar10,
    /// CIFAR-100, or an error where it cannot be had
    Cifar100,
    /// Ten classes of shapes drawn by code: for trying things out without any data
    Shapes10,
    /// A folder of pictures, --data-dir with train/CLASS/* and test/CLASS/*
    Folder,
}

impl Source {
    /// As `mobilenet --data` spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
            Self::Shapes10 => "shapes10",
            Self::Folder => "folder",
        }
    }
}

/// Where the networks run; handed on to `mobilenet --device`.
pub fn parse_device(text: &str) -> Result<String, String> {
    let known = match text.split_once(':') {
        Some(("cuda", ordinal)) => ordinal.parse::<usize>().is_ok(),
        Some(_) => false,
        None => matches!(text, "cpu" | "cuda" | "metal"),
    };
    if known { Ok(text.to_owned()) } else { Err("expected cpu, cuda, cuda:N or metal".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_the_command_line_and_the_files_say() {
        for arch in Arch::NAMED {
            assert_eq!(serde_json::to_value(arch).unwrap(), arch.key());
        }
        assert_eq!(Arch::value_variants(), Arch::PUBLISHED);
        for arch in Arch::PUBLISHED {
            assert_eq!(arch.to_possible_value().unwrap().get_name(), arch.key());
        }
        for source in Source::value_variants() {
            assert_eq!(source.to_possible_value().unwrap().get_name(), source.key());
        }
        for profile in Profile::value_variants() {
            assert_eq!(profile.to_possible_value().unwrap().get_name(), profile.key());
        }
    }

    #[test]
    fn devices() {
        for good in ["cpu", "cuda", "cuda:1", "metal"] {
            assert!(parse_device(good).is_ok(), "{good}");
        }
        for bad in ["gpu", "cuda:x", "metal:0", ""] {
            assert!(parse_device(bad).is_err(), "{bad}");
        }
    }
}
