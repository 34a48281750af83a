//! The names that the command lines and the files share.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that stands for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: expected one of {expected}, found {found:?}")]
pub struct UnknownName {
    /// What was to be named.
    pub what: &'static str,
    /// The names there are.
    pub expected: String,
    /// What was named instead.
    pub found: String,
}

/// Gives an enum its list, and its names to both directions: one table for `name`, `Display` and `FromStr`.
macro_rules! named {
    ($type:ident, $what:literal, $count:literal: $($variant:ident = $name:literal),+ $(,)?) => {
        impl $type {
            /// Every value, in the order of their description.
            pub const ALL: [Self; $count] = [$(Self::$variant),+];

            /// The name on command lines and in files, which `FromStr` reads and `Display` writes.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.into_iter().find(|value| value.name() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    expected: Self::ALL.map(Self::name).join(", "),
                    found: text.to_owned(),
                })
            }
        }
    };
}

/// What a training multiplies and keeps; see `mobilenet train --precision`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// float32
    #[default]
    F32,
    /// bf16 with float32 sums and weights: sooner done where the processor multiplies it
    Bf16,
}

named!(Precision, "precision", 2: F32 = "f32", Bf16 = "bf16");

impl Precision {
    /// As people spell it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::Bf16 => "bf16",
        }
    }
}

/// How much a comparison does.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
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

named!(Profile, "profile", 4: Smoke = "smoke", Quick = "quick", Fast = "fast", Article = "article");

/// The settings a training starts from; see `mobilenet train --recipe`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum RecipeName {
    /// AdamW, cosine schedule, flips and crops
    #[default]
    Article,
    /// Made for few epochs
    Fast,
}

named!(RecipeName, "recipe", 2: Article = "article", Fast = "fast");

/// Where the pictures come from; see `mobilenet train --data`.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// --data-dir, else the cache, else a download of CIFAR-10, else shapes10 with a warning
    #[default]
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

named!(
    Source,
    "data",
    5: Auto = "auto",
    Cifar10 = "cifar10",
    Cifar100 = "cifar100",
    Shapes10 = "shapes10",
    Folder = "folder",
);

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};

    use super::*;

    #[test]
    fn names_are_the_same_in_files_and_on_command_lines() {
        fn check<T>(all: impl IntoIterator<Item = T>)
        where
            T: Copy + Debug + Display + PartialEq + Serialize + FromStr<Err = UnknownName>,
        {
            for value in all {
                assert_eq!(value.to_string().parse::<T>().unwrap(), value);
                assert_eq!(serde_json::to_value(value).unwrap(), value.to_string());
            }
        }
        check(Precision::ALL);
        check(Profile::ALL);
        check(RecipeName::ALL);
        check(Source::ALL);
        assert_eq!(
            "imagenet".parse::<Source>().unwrap_err().to_string(),
            "data: expected one of auto, cifar10, cifar100, shapes10, folder, found \"imagenet\""
        );
        assert!("".parse::<Profile>().is_err() && "Fast".parse::<RecipeName>().is_err());
    }

    #[cfg(feature = "clap")]
    #[test]
    fn clap_knows_the_same_names() {
        use clap::ValueEnum;
        fn check<T: ValueEnum + Display>() {
            for value in T::value_variants() {
                assert_eq!(value.to_possible_value().unwrap().get_name(), value.to_string());
            }
        }
        check::<Precision>();
        check::<Profile>();
        check::<RecipeName>();
        check::<Source>();
    }
}
