//! What a model is made from: architecture, preset and the few numbers that vary them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::check;
use crate::names;
use crate::plan::{Options, Plan};
use crate::{Arch, Error};

/// The widest model allowed: 64 times the channels' products, close to a gigabyte of weights.
const MAX_WIDTH_MULT: f64 = 8.0;
/// The most classes allowed; ImageNet-21k has 21,843.
const MAX_CLASSES: usize = 1_000_000;

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

    /// The strides of the stem and of each stage's first block.
    pub fn stage_strides(self, arch: Arch) -> Vec<usize> {
        let mut strides = (arch.description().stage_strides)();
        if self == Self::Cifar
            && let Some((stem, stages)) = strides.split_first_mut()
        {
            *stem = 1;
            if let Some(first) = stages.iter_mut().find(|stride| **stride == 2) {
                *first = 1;
            }
        }
        strides
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        names::find("preset", Self::ALL.into_iter(), Self::name, s)
    }
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
    /// How far each training step moves batch norm's running statistics, above 0 and at most 1, instead of the
    /// architecture's 0.1 (V2) or 0.01 (V3). Evaluation does not depend on it. V3's was made for hundreds of thousands
    /// of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bn_momentum: Option<f64>,
    /// The stride of the stem and of each stage's first block, each 1 or 2, instead of the preset's.
    ///
    /// A stage is a run of blocks with the same number of output channels. The published strides
    /// ([`Preset::stage_strides`]) are `[2, 1, 2, 2, 2, 1, 2, 1]` for V2 and its steps to V3, `[2, 1, 2, 2, 2, 1, 2]`
    /// for V3-Large and `[2, 2, 2, 2, 1, 2]` for V3-Small. For 64×64 images, for example, the stem alone may be made
    /// stride 1.
    pub strides: Option<Vec<usize>>,
}

impl ModelConfig {
    /// The network's title, with its width where that is not 1: `MobileNetV2, width 0.5`.
    ///
    /// ```
    /// use mobilenet_arch::{Arch, ModelConfig, Preset};
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
        check("reduced_tail", v3 || !self.reduced_tail, "false, for only V3 has a reduced tail", self.reduced_tail)?;
        check("dilated", v3 || !self.dilated, "false, for only V3 has a dilated form", self.dilated)?;
        if let Some(strides) = &self.strides {
            let n = self.preset.stage_strides(self.arch).len();
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
        self.strides.clone().unwrap_or_else(|| self.preset.stage_strides(self.arch))
    }
}

impl Plan {
    /// The plan of a model.
    ///
    /// # Errors
    /// Those of [`ModelConfig::validate`].
    pub fn new(config: &ModelConfig) -> Result<Self, Error> {
        config.validate()?;
        let &ModelConfig { arch, num_classes, width_mult, reduced_tail, dilated, dropout, bn_momentum, .. } = config;
        let strides = config.stage_strides();
        let options = Options { num_classes, width_mult, reduced_tail, dilated, dropout, strides };
        let mut plan = (arch.description().plan)(&options);
        if let Some(momentum) = bn_momentum {
            plan.norms().for_each(|norm| norm.momentum = momentum);
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ConvPlan, LayerPlan};

    #[test]
    fn presets_are_read_as_they_are_written() {
        for preset in Preset::ALL {
            assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
            assert_eq!(serde_json::to_string(&preset).unwrap(), format!("\"{preset}\""));
        }
        let error = "mnist".parse::<Preset>().unwrap_err().to_string();
        assert_eq!(error, "preset: expected one of cifar, imagenet, found \"mnist\"");
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

    /// The momentum of a layer's batch norms.
    fn norms(layer: &LayerPlan) -> Vec<f64> {
        let of = |conv: &ConvPlan| conv.config.norm.momentum;
        match layer {
            LayerPlan::Conv(conv) => vec![of(conv)],
            LayerPlan::Bottleneck(block) => {
                block.expand.iter().chain([&block.depthwise, &block.project]).map(of).collect()
            }
        }
    }

    #[test]
    fn every_batch_norm_gets_the_momentum_that_is_asked_for() {
        for arch in Arch::all() {
            for (asked, expected) in [(None, arch.description().norm.momentum), (Some(0.3), 0.3)] {
                let config = ModelConfig { bn_momentum: asked, ..ModelConfig::new(arch, 10, Preset::Cifar) };
                let mut plan = Plan::new(&config).unwrap();
                let count = plan.norms().count();
                let found: Vec<f64> = plan.layers().iter().flat_map(|placed| norms(&placed.layer)).collect();
                assert!(count > plan.blocks.len() && found.len() >= count, "{arch}");
                assert_eq!(found, vec![expected; found.len()], "{arch} {asked:?}");
            }
        }
    }
}
