//! The networks there are. A new one is a file below `arch/` and a line here.

use std::cmp::Ordering;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Arch, Error, names};

/// Every network, in the order in which reports list them.
const REGISTRY: &[Arch] =
    &[Arch::V1, Arch::V2, Arch::V2HSwish, Arch::V2HSwishSe, Arch::V2HSwishSe5x5, Arch::V3Large, Arch::V3Small];

impl Arch {
    /// Every network, in the order in which reports list them.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        REGISTRY.iter().copied()
    }

    /// The published ones.
    pub fn published() -> impl Iterator<Item = Self> + Clone {
        Self::all().filter(|arch| arch.is_published())
    }

    /// The steps between published networks, this project's own.
    pub fn steps() -> impl Iterator<Item = Self> + Clone {
        Self::all().filter(|arch| !arch.is_published())
    }

    /// All names in this order, as errors list them: `v2, v3-large`.
    pub fn names() -> String {
        list(Self::all())
    }

    /// All names, as the help of a command line lists them, with what the unpublished ones are.
    pub fn help() -> String {
        format!("{} (steps from v2 to v3-large: {})", Self::names(), list(Self::steps()))
    }

    fn place(self) -> usize {
        Self::all().position(|arch| arch == self).unwrap_or(REGISTRY.len())
    }
}

fn list(archs: impl Iterator<Item = Arch>) -> String {
    archs.map(Arch::name).collect::<Vec<_>>().join(", ")
}

impl PartialOrd for Arch {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Arch {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl FromStr for Arch {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        names::find("model", Self::all(), Self::name, s)
    }
}

impl Serialize for Arch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Arch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for arch in Arch::all() {
            assert_eq!(arch.to_string().parse::<Arch>().unwrap(), arch);
            let json = format!("\"{arch}\"");
            assert_eq!(serde_json::to_string(&arch).unwrap(), json);
            assert_eq!(serde_json::from_str::<Arch>(&json).unwrap(), arch);
        }
        let expected = format!("model: expected one of {}, found \"v4\"", Arch::names());
        assert_eq!("v4".parse::<Arch>().unwrap_err().to_string(), expected);
        assert!(serde_json::from_str::<Arch>("\"v4\"").unwrap_err().to_string().starts_with(&expected));
    }

    #[test]
    fn no_two_networks_share_a_name_or_a_color() {
        let of: [fn(Arch) -> &'static str; 6] = [
            Arch::name,
            Arch::title,
            Arch::label,
            Arch::short,
            |arch| arch.description().hue.light,
            |arch| arch.description().hue.dark,
        ];
        for of in of {
            assert_eq!(Arch::all().map(of).collect::<BTreeSet<_>>().len(), REGISTRY.len());
        }
    }

    #[test]
    fn names_can_stand_in_files_style_sheets_and_titles() {
        for arch in Arch::all() {
            let description = arch.description();
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(arch.name().starts_with('v') && arch.name().chars().all(plain), "{arch}");
            assert!(arch.title().is_ascii(), "{arch}");
            for color in [description.hue.light, description.hue.dark] {
                let digits = color.strip_prefix('#').unwrap();
                assert!(digits.len() == 6 && u32::from_str_radix(digits, 16).is_ok(), "{arch}: {color}");
            }
            assert!(description.rate.train > 0.0 && description.rate.eval > description.rate.train, "{arch}");
            assert_eq!(arch.is_published(), description.peer.is_some(), "{arch}");
        }
    }

    #[test]
    fn networks_are_ordered_as_they_are_listed() {
        assert!(Arch::all().is_sorted() && Arch::V2 < Arch::V2HSwish && Arch::V3Large < Arch::V3Small);
    }
}
