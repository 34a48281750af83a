//! The few names the command line, the artefacts and the report share.

use clap::ValueEnum;
pub use mobilenet_arch::Arch;
use serde::{Deserialize, Serialize};

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
