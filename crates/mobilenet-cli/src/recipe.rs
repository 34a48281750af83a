//! Recipes: the settings of a training in one flat block each.

use mobilenet_data::{Augment, Padding, ResizedCrop};
use mobilenet_models::ModelConfig;
use mobilenet_schema::RecipeName;
use mobilenet_train::{AdamWConfig, LrFactor, MuonConfig, OptimizerConfig, Schedule, TrainConfig, Variables};

use crate::args::FEATURES;

/// What the recipe changes of the network itself: nothing that evaluation depends on.
pub fn apply(recipe: RecipeName, model: &mut ModelConfig) {
    // V3's own 0.01 follows the weights too slowly where they move fast, or where a set has few steps: it evaluates at
    // chance for epochs.
    if matches!(recipe, RecipeName::Fast | RecipeName::Finetune) && model.arch.is_v3() {
        model.bn_momentum = Some(0.1);
    }
}

/// The recipe's settings, the same for every network.
pub fn config(recipe: RecipeName) -> TrainConfig {
    match recipe {
        RecipeName::Article => TrainConfig::default(),
        RecipeName::Fast => fast(),
        RecipeName::Finetune => finetune(),
    }
}

/// Made for few epochs of CIFAR-10. What it rests on, and how little, is told in docs/recipes.md.
fn fast() -> TrainConfig {
    let muon = MuonConfig {
        lr: RecipeName::Fast.lr(),
        weight_decay: 0.08,
        decay_norm_and_bias: false,
        ..MuonConfig::default()
    };
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

/// Made for weights that were trained on other images, and sets of some hundreds or thousands. docs/recipes.md tells what
/// was tried.
fn finetune() -> TrainConfig {
    let adamw = AdamWConfig {
        lr: RecipeName::Finetune.lr(),
        weight_decay: 0.05,
        decay_norm_and_bias: false,
        ..AdamWConfig::default()
    };
    TrainConfig {
        epochs: 10,
        batch_size: 32,
        optimizer: OptimizerConfig::AdamW(adamw),
        schedule: Schedule::Cosine,
        warmup_epochs: 1.0,
        label_smoothing: 0.1,
        ema: Some(0.99),
        lr_factors: vec![LrFactor { variables: Variables::Below(FEATURES.into()), factor: 0.3 }],
        augment: Augment {
            crop_padding: 0,
            resized_crop: Some(ResizedCrop { scale: (0.25, 1.0), ..ResizedCrop::default() }),
            ..Augment::default()
        },
        ..TrainConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_trained() {
        for &recipe in RecipeName::ALL {
            let config = config(recipe);
            config.validate().unwrap();
            config.augment.validate().unwrap();
            assert_eq!(config.optimizer.lr(), recipe.lr(), "{recipe}");
        }
    }
}
