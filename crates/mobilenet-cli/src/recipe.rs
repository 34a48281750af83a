//! Recipes: the settings of a training in one flat block each.

use mobilenet_data::{Augment, Padding};
use mobilenet_models::ModelConfig;
use mobilenet_schema::RecipeName;
use mobilenet_train::{MuonConfig, OptimizerConfig, Schedule, TrainConfig};

/// What the recipe changes of the network itself: nothing that evaluation depends on.
pub fn apply(recipe: RecipeName, model: &mut ModelConfig) {
    // V3's own 0.01 follows the weights too slowly where they move fast: it evaluates at chance for epochs.
    if recipe == RecipeName::Fast && model.arch.is_v3() {
        model.bn_momentum = Some(0.1);
    }
}

/// The recipe's settings, the same for every network.
pub fn config(recipe: RecipeName) -> TrainConfig {
    match recipe {
        RecipeName::Article => TrainConfig::default(),
        RecipeName::Fast => fast(),
    }
}

/// Made for few epochs of CIFAR-10. What it rests on, and how little, is told in docs/recipes.md.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_trained() {
        for &recipe in RecipeName::ALL {
            let config = config(recipe);
            config.validate().unwrap();
            config.augment.validate().unwrap();
        }
    }
}
