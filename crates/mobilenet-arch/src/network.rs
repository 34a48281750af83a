//! What is compared: an architecture at a width.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Arch, Error};

/// A network: an architecture and how many times the published channels it has. Written `v2`, or `v2@0.5` for half of
/// them; so on the command line, in artefacts and in the names of files.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    /// The architecture.
    pub arch: Arch,
    /// How many times the published channels it has.
    pub width: Width,
}

/// A width multiplier, in thousandths, so that two of them are equal or not. Above 0, at most 8, as `mobilenet` takes
/// it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Width(u16);

impl Width {
    /// The published channels.
    pub const ONE: Self = Self(1_000);
    /// The published widths of MobileNetV2.
    pub const PUBLISHED: [Self; 5] = [Self(350), Self(500), Self(750), Self::ONE, Self(1_400)];

    /// As a factor.
    pub fn factor(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

impl Network {
    /// As `mobilenet --model` and `--width` spell it; also the stem of file names.
    pub fn key(self) -> String {
        self.with_width(self.arch.name(), "@")
    }

    /// As people spell it: `MobileNetV2 ×0.5`.
    pub fn label(self) -> String {
        self.with_width(self.arch.label(), " ×")
    }

    /// For labels in plots and narrow columns: `V2 ×0.5`.
    pub fn short(self) -> String {
        self.with_width(self.arch.short(), " ×")
    }

    /// Classes of a picture's elements: the architecture's hue and, apart from width 1, the width's tone.
    pub fn class(self) -> String {
        let tone = match self.width.0 {
            0..400 => " w1",
            400..625 => " w2",
            625..900 => " w3",
            900..1_100 => "",
            1_100.. => " w5",
        };
        format!("{}{tone}", self.arch.name())
    }

    fn with_width(self, name: &str, sign: &str) -> String {
        match self.width {
            Width::ONE => name.to_owned(),
            width => format!("{name}{sign}{width}"),
        }
    }
}

impl From<Arch> for Network {
    /// At width 1.
    fn from(arch: Arch) -> Self {
        Self { arch, width: Width::ONE }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.key()
    }
}

impl TryFrom<String> for Network {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.factor())
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, width) = match text.split_once('@') {
            Some((name, width)) => (name, width.parse()?),
            None => (text, Width::ONE),
        };
        let arch = Arch::all().find(|arch| arch.name() == name);
        let arch = arch.ok_or_else(|| Error::UnknownNetwork { expected: Arch::names(), found: name.to_string() })?;
        Ok(Self { arch, width })
    }
}

impl FromStr for Width {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let thousandths = text.parse().map(|factor: f64| factor * 1e3).ok();
        thousandths
            .filter(|t| (1.0..=8_000.0).contains(t) && (t - t.round()).abs() < 1e-6)
            .map(|t| Self(t.round() as u16))
            .ok_or_else(|| Error::InvalidWidth { found: text.to_string() })
    }
}

/// One word of `--models`: a network or several under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(pub Vec<Network>);

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(Self(match text {
            "ladder" => Arch::LADDER.map(Network::from).into(),
            "widths" => {
                let of = |arch| Width::PUBLISHED.map(|width| Network { arch, width });
                Arch::all().filter(|arch| arch.description().in_widths).flat_map(of).collect()
            }
            name => vec![name.parse()?],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_they_are_written() {
        for (text, arch, factor) in [
            ("v2", Arch::V2, 1.0),
            ("v2@0.5", Arch::V2, 0.5),
            ("v3-large@1.4", Arch::V3Large, 1.4),
            ("v2-hs-se-k5@0.35", Arch::V2HSwishSe5x5, 0.35),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!((network.arch, network.width.factor()), (arch, factor), "{text}");
            assert_eq!(network.key(), text);
            assert_eq!(serde_json::to_value(network).unwrap(), text);
            assert_eq!(serde_json::from_value::<Network>(text.into()).unwrap(), network);
        }
        assert_eq!("v2@1.0".parse::<Network>().unwrap().key(), "v2");
        assert_eq!("v3-small@0.75".parse::<Network>().unwrap().label(), "MobileNetV3-Small ×0.75");
        for (bad, part) in [
            ("v4", "no network \"v4\"; expected v"),
            ("", "no network"),
            ("v2@", "no width \"\""),
            ("v2@0", "above 0 to 8"),
            ("v2@-1", "above 0 to 8"),
            ("v2@nan", "above 0 to 8"),
            ("v2@9", "above 0 to 8"),
            ("v2@0.3333", "three decimals"),
        ] {
            let error = bad.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn aliases() {
        let keys = |text: &str| text.parse::<Selection>().unwrap().0.iter().map(|n| n.key()).collect::<Vec<_>>();
        assert_eq!(keys("ladder"), ["v2", "v2-hs", "v2-hs-se", "v2-hs-se-k5", "v3-large"]);
        let widths = keys("widths");
        assert_eq!(widths.len(), 15);
        assert_eq!(widths[..6], ["v2@0.35", "v2@0.5", "v2@0.75", "v2", "v2@1.4", "v3-large@0.35"]);
        assert_eq!(keys("v3-small"), ["v3-small"]);
        assert!("rungs".parse::<Selection>().unwrap_err().to_string().contains("or ladder or widths"));
    }
}
