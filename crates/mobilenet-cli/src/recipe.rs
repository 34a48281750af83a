//! Recipes: the settings of a training in one flat block each.

use std::fmt;
use std::str::FromStr;

use mobilenet_data::{Augment, Padding};
use mobilenet_models::ModelConfig;
use mobilenet_train::{MuonConfig, OptimizerConfig, Schedule, TrainConfig};
use serde::{Deserialize, Serialize};

/// A training's settings by name; the command line changes single ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The article's protocol: 100 epochs of AdamW (1e-3, decay 1e-4), cosine, flip and crop.
    #[default]
    Article,
    /// Made for few epochs of CIFAR-10. What it rests on, and how little, is told in docs/recipes.md.
    Fast,
}

impl Recipe {
    const ALL: [Self; 2] = [Self::Article, Self::Fast];

    /// As the command line spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Article => "article",
            Self::Fast => "fast",
        }
    }

    /// What the recipe changes of the network itself: nothing that evaluation depends on.
    pub fn apply(self, model: &mut ModelConfig) {
        // V3's own 0.01 follows the weights too slowly where they move fast: it evaluates at chance for epochs.
        if self == Self::Fast && model.arch.is_v3() {
            model.bn_momentum = Some(0.1);
        }
    }

    /// The settings, the same for every network.
    pub fn config(self) -> TrainConfig {
        match self {
            Self::Article => TrainConfig::default(),
            Self::Fast => fast(),
        }
    }
}

fn fast() -> TrainConfig {
    let muon = MuonConfig { lr: 6e-3, weight_decay: 0.08, decay_norm_and_bias: false, ..MuonConfig::default() };
    TrainConfig {
        epochs: 30,
        batch_size: 128,
        optimizer: OptimizerConfig::Muon(muon),
        schedule: Schedule::Triangular,
        label_smoothing: 0.1,
        ema: Some(0.998),
        augment: Augment { alternate_flip: true, padding: Padding::Reflect, ..Augment::default() },
        ..TrainConfig::default()
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|recipe| recipe.name() == s);
        known.ok_or_else(|| format!("unknown recipe \"{s}\", expected article or fast"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_trained() {
        for recipe in Recipe::ALL {
            let config = recipe.config();
            config.validate().unwrap();
            config.augment.validate().unwrap();
            assert_eq!(recipe.name().parse::<Recipe>().unwrap(), recipe);
        }
        assert!("slow".parse::<Recipe>().is_err());
    }
}
