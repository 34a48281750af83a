//! Names of data sets.

use mobilenet_common::names::UnknownName;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// Where pictures come from.
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
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Source {
    /// The data folder, whatever is in it, if one is given; else CIFAR-10 from the cache or the
    /// hub; else, if it cannot be had, [`Source::Shapes10`], marked as
    /// [`Dataset::fallback`](crate::Dataset::fallback).
    #[default]
    Auto,
    /// CIFAR-10 from the data folder, the cache or the hub, or an error.
    Cifar10,
    /// CIFAR-100 (fine labels) from the data folder, the cache or the hub, or an error.
    Cifar100,
    /// Ten classes of pictures drawn by code.
    Shapes10,
    /// `train/<class>/*` and `test/<class>/*` (or `val`) in the data folder.
    Folder,
}

impl Source {
    /// Every source, in the order of their description.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// The name that `FromStr` takes and `Display` gives.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::new("data set", found, <Source as VariantNames>::VARIANTS)
}
