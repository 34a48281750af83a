//! The names that the command lines and the files share.

use mobilenet_common::names::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// How much a comparison does.
#[derive(
    Clone,
    Copy,
    Debug,
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
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown_profile)]
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

/// The settings a training starts from; see `mobilenet train --recipe`.
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
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown_recipe)]
pub enum RecipeName {
    /// AdamW, cosine schedule, flips and crops
    #[default]
    Article,
    /// Made for few epochs
    Fast,
    /// From weights of other images: few epochs, and a lower rate below the classifier
    Finetune,
}

/// Where pictures come from; see `mobilenet train --data`.
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
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown_source)]
pub enum Source {
    /// The data folder, whatever is in it, if one is given; else CIFAR-10 from the cache or the hub; else, if it cannot
    /// be had, [`Source::Shapes10`], marked as a stand-in.
    #[cfg_attr(
        feature = "clap",
        value(help = "--data-dir, else the cache, else a download of CIFAR-10, else shapes10 with a warning")
    )]
    #[default]
    Auto,
    /// CIFAR-10 from the data folder, the cache or the hub, or an error.
    #[cfg_attr(feature = "clap", value(help = "CIFAR-10, or an error where it cannot be had"))]
    Cifar10,
    /// CIFAR-100 (fine labels) from the data folder, the cache or the hub, or an error.
    #[cfg_attr(feature = "clap", value(help = "CIFAR-100, or an error where it cannot be had"))]
    Cifar100,
    /// Ten classes of pictures drawn by code.
    #[cfg_attr(
        feature = "clap",
        value(help = "Ten classes of shapes drawn by code: for trying things out without any data")
    )]
    Shapes10,
    /// Sound metal and six kinds of flaws on it, drawn by code at any size.
    #[cfg_attr(
        feature = "clap",
        value(help = "Flaws on metal drawn by code at any --image-size: for trying out the inspection of surfaces")
    )]
    Flaws,
    /// `train/<class>/*` and `test/<class>/*` (or `val`) in the data folder.
    #[cfg_attr(feature = "clap", value(help = "A folder of pictures, --data-dir with train/CLASS/* and test/CLASS/*"))]
    Folder,
}

/// How a network is shipped: in which numbers, with which activations, and whether it was trained a little after that
/// change.
#[derive(
    Clone,
    Copy,
    Debug,
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
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown_form)]
pub enum Form {
    /// As it was trained, with batch norm folded into the weights
    Float32,
    /// Weights and values in 8 bits
    Int8,
    /// Weights and values in 8 bits, after some training with them
    Int8Qat,
    /// Four straight pieces for each h-swish
    Pieces4,
    /// Four straight pieces for each h-swish, fine-tuned
    Pieces4Tuned,
    /// ReLU6 for each h-swish
    Relu6,
    /// ReLU6 for each h-swish, fine-tuned
    Relu6Tuned,
    /// ReLU for each ReLU6
    Relu,
    /// ReLU for each ReLU6, fine-tuned
    ReluTuned,
}

impl Profile {
    /// Every profile, in the order of their description.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name on command lines and in files, which `FromStr` reads and `Display` writes.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl RecipeName {
    /// Every recipe, in the order of their description.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name on command lines and in files, which `FromStr` reads and `Display` writes.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Source {
    /// Every source, in the order of their description.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name on command lines and in files, which `FromStr` reads and `Display` writes.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Form {
    /// Every form, float32 first.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name in files, which `FromStr` reads and `Display` writes.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// As people write it: `ReLU6 for h-swish`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Int8 => "int8",
            Self::Int8Qat => "int8 after QAT",
            Self::Pieces4 => "4 straight pieces for h-swish",
            Self::Pieces4Tuned => "4 straight pieces for h-swish, fine-tuned",
            Self::Relu6 => "ReLU6 for h-swish",
            Self::Relu6Tuned => "ReLU6 for h-swish, fine-tuned",
            Self::Relu => "ReLU for ReLU6",
            Self::ReluTuned => "ReLU for ReLU6, fine-tuned",
        }
    }

    /// The same after some training with the change; `None` of float32, and of those that are trained.
    #[must_use]
    pub fn tuned(self) -> Option<Self> {
        match self {
            Self::Int8 => Some(Self::Int8Qat),
            Self::Pieces4 => Some(Self::Pieces4Tuned),
            Self::Relu6 => Some(Self::Relu6Tuned),
            Self::Relu => Some(Self::ReluTuned),
            Self::Float32 | Self::Int8Qat | Self::Pieces4Tuned | Self::Relu6Tuned | Self::ReluTuned => None,
        }
    }

    /// The same without training after the change, where there was some.
    #[must_use]
    pub fn untuned(self) -> Option<Self> {
        Self::ALL.iter().copied().find(|form| form.tuned() == Some(self))
    }
}

fn unknown_profile(found: &str) -> UnknownName {
    UnknownName::new("profile", found, <Profile as VariantNames>::VARIANTS)
}

fn unknown_recipe(found: &str) -> UnknownName {
    UnknownName::new("recipe", found, <RecipeName as VariantNames>::VARIANTS)
}

fn unknown_source(found: &str) -> UnknownName {
    UnknownName::new("data set", found, <Source as VariantNames>::VARIANTS)
}

fn unknown_form(found: &str) -> UnknownName {
    UnknownName::new("form", found, <Form as VariantNames>::VARIANTS)
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use super::*;

    #[test]
    fn names_are_the_same_in_files_and_on_command_lines() {
        fn check<T>(all: &[T])
        where
            T: Copy + Debug + Display + PartialEq + Serialize + FromStr<Err = UnknownName>,
        {
            for &value in all {
                assert_eq!(value.to_string().parse::<T>().unwrap(), value);
                assert_eq!(serde_json::to_value(value).unwrap(), value.to_string());
            }
        }
        check(Profile::ALL);
        check(RecipeName::ALL);
        check(Source::ALL);
        check(Form::ALL);
        for form in Form::ALL {
            assert_eq!(form.tuned().and_then(Form::untuned), form.tuned().map(|_| *form), "{form}");
        }
        assert_eq!(format!("{:>8}|{}", Source::Cifar10, Source::Cifar10.name()), " cifar10|cifar10");
        assert_eq!(
            "imagenet".parse::<Source>().unwrap_err().to_string(),
            "unknown data set \"imagenet\", expected auto, cifar10, cifar100, shapes10, flaws or folder"
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
        check::<mobilenet_arch::Precision>();
        check::<Profile>();
        check::<RecipeName>();
        check::<Source>();
    }
}
