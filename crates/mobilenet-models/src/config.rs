//! What a model is made from: architecture, preset and the few numbers that vary them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tables::stage_strides;

/// The widest model allowed: 64 times the channels' products, close to a gigabyte of weights.
const MAX_WIDTH_MULT: f64 = 8.0;
/// The most classes allowed; ImageNet-21k has 21,843.
const MAX_CLASSES: usize = 1_000_000;

/// The architectures: the published ones as torchvision defines them, and the steps from V2 to V3-Large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arch {
    /// MobileNetV2 (Sandler et al., 2018, <https://arxiv.org/abs/1801.04381>).
    V2,
    /// MobileNetV3-Large (Howard et al., 2019, <https://arxiv.org/abs/1905.02244>).
    V3Large,
    /// MobileNetV3-Small, of the same paper.
    V3Small,
    /// V2 with h-swish where V3-Large has it: in the stem, the last convolution and the stages from 64 channels on.
    #[serde(rename = "v2-hs")]
    V2HSwish,
    /// [`Arch::V2HSwish`] with squeeze-and-excite where V3-Large has it: in the stages of 32, 96, 160 and 320 channels.
    #[serde(rename = "v2-hs-se")]
    V2HSwishSe,
    /// [`Arch::V2HSwishSe`] with 5×5 depthwise windows where V3-Large has them: in the stages of 32, 160 and 320 channels.
    #[serde(rename = "v2-hs-se-k5")]
    V2HSwishSe5x5,
}

impl Arch {
    /// Every published architecture.
    pub const ALL: [Self; 3] = [Self::V2, Self::V3Large, Self::V3Small];

    /// From V2 to V3-Large, one change at a time. What the last step changes is the rest: widths and number of blocks, head,
    /// batch norm's numbers, and ReLU for ReLU6.
    pub const LADDER: [Self; 5] = [Self::V2, Self::V2HSwish, Self::V2HSwishSe, Self::V2HSwishSe5x5, Self::V3Large];

    /// Every architecture there is a name for.
    const NAMED: [Self; 6] =
        [Self::V2, Self::V3Large, Self::V3Small, Self::V2HSwish, Self::V2HSwishSe, Self::V2HSwishSe5x5];

    /// The short name that `FromStr` reads: `v2`, `v3-large`, `v3-small`, `v2-hs`, `v2-hs-se`, `v2-hs-se-k5`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3Large => "v3-large",
            Self::V3Small => "v3-small",
            Self::V2HSwish => "v2-hs",
            Self::V2HSwishSe => "v2-hs-se",
            Self::V2HSwishSe5x5 => "v2-hs-se-k5",
        }
    }

    /// The name the papers use, and what was added to it, for headings: `MobileNetV3-Large`.
    pub fn title(self) -> &'static str {
        match self {
            Self::V2 => "MobileNetV2",
            Self::V3Large => "MobileNetV3-Large",
            Self::V3Small => "MobileNetV3-Small",
            Self::V2HSwish => "MobileNetV2 + h-swish",
            Self::V2HSwishSe => "MobileNetV2 + h-swish + SE",
            Self::V2HSwishSe5x5 => "MobileNetV2 + h-swish + SE + 5x5",
        }
    }

    /// Whether the network is one of the V3 paper's, with its options.
    pub fn is_v3(self) -> bool {
        matches!(self, Self::V3Large | Self::V3Small)
    }
}

/// The input size a model's strides are laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// 32×32 images: the stem and the first stage of stride 2 have stride 1, so that the network reduces 8 times.
    Cifar,
    /// 224×224 images: the published strides, which reduce 32 times.
    Imagenet,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 2] = [Self::Cifar, Self::Imagenet];

    /// The short name that `FromStr` reads: `cifar`, `imagenet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar => "cifar",
            Self::Imagenet => "imagenet",
        }
    }

    /// Height and width of the images, in pixels.
    pub fn image_size(self) -> usize {
        match self {
            Self::Cifar => 32,
            Self::Imagenet => 224,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        find("model", &Self::NAMED, Self::name, s)
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        find("preset", &Self::ALL, Self::name, s)
    }
}

fn find<T: Copy>(what: &'static str, all: &[T], name: fn(T) -> &'static str, s: &str) -> Result<T, Error> {
    all.iter().copied().find(|&value| name(value) == s).ok_or_else(|| Error::UnknownName {
        what,
        expected: all.iter().map(|&value| name(value)).collect::<Vec<_>>().join(", "),
        found: s.to_string(),
    })
}

/// Everything that defines a model but its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The architecture.
    pub arch: Arch,
    /// The number of classes, at least 1.
    pub num_classes: usize,
    /// The input size the strides are laid out for, where `strides` does not say otherwise.
    pub preset: Preset,
    /// Scales the channels of every layer; above 0, at most 8. Published: 0.35, 0.5, 0.75, 1, 1.4.
    pub width_mult: f64,
    /// Halves the channels of the last stage and of the classifier (V3 only), as segmentation and detection models do.
    pub reduced_tail: bool,
    /// Gives the last stage stride 1 and dilation 2 (V3 only), for dense prediction.
    pub dilated: bool,
    /// The probability of dropout before the last linear layer, in `[0, 1)`.
    pub dropout: f64,
    /// How far each training step moves batch norm's running statistics, above 0 and at most 1, instead of the architecture's 0.1 (V2)
    /// or 0.01 (V3). Evaluation does not depend on it. V3's was made for hundreds of thousands of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_momentum: Option<f64>,
    /// The stride of the stem and of each stage's first block, each 1 or 2, instead of the preset's.
    ///
    /// A stage is a run of blocks with the same number of output channels. The published strides are
    /// `[2, 1, 2, 2, 2, 1, 2, 1]` (V2 and its steps to V3), `[2, 1, 2, 2, 2, 1, 2]` (V3-Large) and `[2, 2, 2, 2, 1, 2]` (V3-Small). For 64×64
    /// images, for example, the stem alone may be made stride 1.
    pub strides: Option<Vec<usize>>,
}

impl ModelConfig {
    /// The network's title, with its width where that is not 1: `MobileNetV2, width 0.5`.
    ///
    /// ```
    /// use mobilenet_models::{Arch, ModelConfig, Preset};
    ///
    /// let half = ModelConfig { width_mult: 0.5, ..ModelConfig::new(Arch::V2, 10, Preset::Cifar) };
    /// assert_eq!(half.title(), "MobileNetV2, width 0.5");
    /// ```
    #[must_use]
    pub fn title(&self) -> String {
        let title = self.arch.title();
        if self.width_mult == 1.0 { title.into() } else { format!("{title}, width {}", self.width_mult) }
    }

    /// The standard model: width 1, dropout 0.2, the preset's strides.
    pub fn new(arch: Arch, num_classes: usize, preset: Preset) -> Self {
        Self {
            arch,
            num_classes,
            preset,
            width_mult: 1.0,
            reduced_tail: false,
            dilated: false,
            dropout: 0.2,
            bn_momentum: None,
            strides: None,
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] naming the first field that has a value no model can have.
    pub fn validate(&self) -> Result<(), Error> {
        check(
            "width_mult",
            self.width_mult > 0.0 && self.width_mult <= MAX_WIDTH_MULT,
            format!("a number above 0, at most {MAX_WIDTH_MULT}"),
            self.width_mult,
        )?;
        check(
            "num_classes",
            (1..=MAX_CLASSES).contains(&self.num_classes),
            format!("1 to {MAX_CLASSES}"),
            self.num_classes,
        )?;
        check("dropout", (0.0..1.0).contains(&self.dropout), "a probability in [0, 1)", self.dropout)?;
        if let Some(momentum) = self.bn_momentum {
            check("bn_momentum", momentum > 0.0 && momentum <= 1.0, "a number above 0, at most 1", momentum)?;
        }
        let v3 = self.arch.is_v3();
        check("reduced_tail", v3 || !self.reduced_tail, "false, for V2 has no reduced tail", self.reduced_tail)?;
        check("dilated", v3 || !self.dilated, "false, for V2 has no dilated form", self.dilated)?;
        if let Some(strides) = &self.strides {
            let n = stage_strides(self.arch, self.preset).len();
            check(
                "strides",
                strides.len() == n && strides.iter().all(|s| matches!(s, 1 | 2)),
                format!("{n} numbers, each 1 or 2 (stem, then stages)"),
                format!("{strides:?}"),
            )?;
        }
        Ok(())
    }

    /// The stride of the stem and of each stage's first block: `strides`, or the preset's.
    pub fn stage_strides(&self) -> Vec<usize> {
        self.strides.clone().unwrap_or_else(|| stage_strides(self.arch, self.preset))
    }
}

pub(crate) fn check(
    field: &'static str,
    holds: bool,
    expected: impl Into<String>,
    found: impl ToString,
) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::InvalidConfig { field, expected: expected.into(), found: found.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for arch in Arch::NAMED {
            assert_eq!(arch.to_string().parse::<Arch>().unwrap(), arch);
            assert_eq!(serde_json::to_string(&arch).unwrap(), format!("\"{arch}\""));
        }
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
            assert_eq!(serde_json::to_string(&preset).unwrap(), format!("\"{preset}\""));
        }
        assert_eq!(
            "v4".parse::<Arch>().unwrap_err().to_string(),
            "model: expected one of v2, v3-large, v3-small, v2-hs, v2-hs-se, v2-hs-se-k5, found \"v4\""
        );
    }

    #[test]
    fn each_bad_field_is_named() {
        let good = ModelConfig::new(Arch::V2, 10, Preset::Cifar);
        good.validate().unwrap();
        type Change = fn(&mut ModelConfig);
        let cases: [(&str, Change); 15] = [
            ("width_mult", |c| c.width_mult = 0.0),
            ("width_mult", |c| c.width_mult = -1.0),
            ("width_mult", |c| c.width_mult = f64::NAN),
            ("width_mult", |c| c.width_mult = f64::INFINITY),
            ("num_classes", |c| c.num_classes = 0),
            ("num_classes", |c| c.num_classes = usize::MAX),
            ("dropout", |c| c.dropout = 1.0),
            ("dropout", |c| c.dropout = -0.1),
            ("dropout", |c| c.dropout = f64::NAN),
            ("bn_momentum", |c| c.bn_momentum = Some(0.0)),
            ("bn_momentum", |c| c.bn_momentum = Some(1.1)),
            ("reduced_tail", |c| c.reduced_tail = true),
            ("dilated", |c| c.dilated = true),
            ("strides", |c| c.strides = Some(vec![1; 7])),
            ("strides", |c| c.strides = Some(vec![1, 1, 1, 1, 1, 1, 1, 3])),
        ];
        for (field, change) in cases {
            let mut config = good.clone();
            change(&mut config);
            let error = config.validate().expect_err(field).to_string();
            assert!(error.starts_with(&format!("{field}: expected ")), "{error}");
            assert!(error.contains(", found "), "{error}");
        }
    }

    #[test]
    fn survives_json_and_refuses_unknown_fields() {
        let mut config = ModelConfig::new(Arch::V3Small, 7, Preset::Imagenet);
        config.strides = Some(vec![1, 2, 2, 2, 1, 2]);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ModelConfig>(&json).unwrap(), config);
        let unknown = json.replace("num_classes", "classes");
        assert!(serde_json::from_str::<ModelConfig>(&unknown).is_err());
    }
}
