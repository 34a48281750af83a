//! Recipes: the settings of a training in one flat block each.

use mobilenet_common::names::UnknownName;
use mobilenet_data::{Augment, Padding};
use mobilenet_models::ModelConfig;
use mobilenet_train::{MuonConfig, OptimizerConfig, Schedule, TrainConfig};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantArray, VariantNames};

/// A training's settings by name; the command line changes single ones.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Display, EnumString, VariantArray, VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Recipe {
    /// The article's protocol: 100 epochs of AdamW (1e-3, decay 1e-4), cosine, flip and crop.
    #[default]
    Article,
    /// Made for few epochs of CIFAR-10. docs/recipes.md says what evidence it rests on, and how little.
    Fast,
}

impl Recipe {
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

fn unknown(found: &str) -> UnknownName {
    UnknownName::new("recipe", found, <Recipe as VariantNames>::VARIANTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_trained() {
        for &recipe in <Recipe as VariantArray>::VARIANTS {
            let config = recipe.config();
            config.validate().unwrap();
            config.augment.validate().unwrap();
            assert_eq!(recipe.to_string().parse::<Recipe>().unwrap(), recipe);
        }
        assert!("slow".parse::<Recipe>().is_err());
    }
}
