//! The few names the command line, the artefacts and the report share.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A network that can be compared.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// MobileNetV2
    V2,
    /// MobileNetV3-Large
    V3Large,
    /// MobileNetV3-Small
    V3Small,
}

impl Arch {
    /// All of them, in the order in which the report names them.
    pub const ALL: [Self; 3] = [Self::V2, Self::V3Large, Self::V3Small];

    /// As `mobilenet --model` spells it; also the stem of file names.
    pub fn key(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3Large => "v3-large",
            Self::V3Small => "v3-small",
        }
    }

    /// As people spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::V2 => "MobileNetV2",
            Self::V3Large => "MobileNetV3-Large",
            Self::V3Small => "MobileNetV3-Small",
        }
    }

    /// For labels in plots and narrow columns.
    pub fn short(self) -> &'static str {
        match self {
            Self::V2 => "V2",
            Self::V3Large => "V3-Large",
            Self::V3Small => "V3-Small",
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
    /// About half an hour on two cores
    Quick,
    /// The fast recipe on all the data: good accuracies in hours on two cores
    Fast,
    /// The article's protocol: 100 epochs of the whole set (days on two cores)
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
    /// Tuned for each network to learn most in few epochs
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
        for arch in Arch::ALL {
            let json = serde_json::to_value(arch).unwrap();
            assert_eq!(json, arch.key());
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
