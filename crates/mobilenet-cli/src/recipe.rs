//! Recipes: the settings of a training in one flat block each.

use std::fmt;
use std::str::FromStr;

use mobilenet_data::{Augment, Padding};
use mobilenet_models::{Arch, ModelConfig};
use mobilenet_train::{LowResolution, OptimizerConfig, Schedule, SgdConfig, TrainConfig};
use serde::{Deserialize, Serialize};

/// A training's settings by name; the command line changes single ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The article's protocol: 100 epochs of AdamW (1e-3, decay 1e-4), cosine, flip and crop.
    #[default]
    Article,
    /// Made for few epochs of CIFAR-10, with a learning rate for each family of networks. What it rests on, and how little, is
    /// told in docs/recipes.md.
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

    /// The settings for one network.
    pub fn config(self, arch: Arch) -> TrainConfig {
        match self {
            Self::Article => TrainConfig::default(),
            Self::Fast => fast(arch),
        }
    }
}

fn fast(arch: Arch) -> TrainConfig {
    let sgd = SgdConfig {
        lr: if arch.is_v3() { 0.3 } else { 0.2 },
        momentum: 0.9,
        nesterov: true,
        weight_decay: 5e-4,
        decay_norm_and_bias: false,
    };
    TrainConfig {
        epochs: 30,
        batch_size: 128,
        optimizer: OptimizerConfig::Sgd(sgd),
        schedule: Schedule::Triangular,
        label_smoothing: 0.1,
        low_resolution: Some(LowResolution { share: 1.0 / 3.0, size: 24 }),
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
        for (recipe, arch) in Recipe::ALL.into_iter().flat_map(|recipe| Arch::ALL.map(|arch| (recipe, arch))) {
            let config = recipe.config(arch);
            config.validate().unwrap();
            config.augment.validate().unwrap();
            assert_eq!(recipe.name().parse::<Recipe>().unwrap(), recipe);
        }
        assert!("slow".parse::<Recipe>().is_err());
    }
}
