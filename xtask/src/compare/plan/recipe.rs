//! How long and how the networks are trained.

use serde::{Deserialize, Serialize};

use crate::compare::names::{Profile, RecipeName};

/// How the networks are trained: a recipe of `mobilenet train`, and what is changed of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// `mobilenet train --recipe`
    #[serde(default)]
    pub name: RecipeName,
    /// Passes over the training images
    pub epochs: u64,
    /// Images per step
    pub batch_size: u64,
    /// Only the first so many training images; all of them if absent
    pub limit_train: Option<u64>,
    /// Only the first so many test images; all of them if absent
    pub limit_test: Option<u64>,
    /// `mobilenet train --optimizer`, if not the recipe's
    pub optimizer: Option<String>,
    /// Peak learning rate, if not the recipe's
    pub lr: Option<f64>,
    /// Weight decay, if not the recipe's
    pub weight_decay: Option<f64>,
    /// `mobilenet train --schedule`, if not the recipe's
    pub schedule: Option<String>,
}

impl Recipe {
    /// The recipe as it is.
    fn plain(name: RecipeName, epochs: u64) -> Self {
        Self {
            name,
            epochs,
            batch_size: 128,
            limit_train: None,
            limit_test: None,
            optimizer: None,
            lr: None,
            weight_decay: None,
            schedule: None,
        }
    }

    /// In a few words: the recipe and what is changed of it.
    pub fn describe(&self) -> String {
        let mut parts = vec![format!("recipe {}", self.name.key())];
        parts.extend(self.optimizer.clone());
        parts.extend(self.lr.map(|lr| format!("learning rate {lr}")));
        parts.extend(self.weight_decay.map(|decay| format!("weight decay {decay}")));
        parts.extend(self.schedule.as_ref().map(|schedule| format!("{schedule} schedule")));
        parts.join(", ")
    }
}

/// The numbers of each profile.
///
/// V3's batch norm moves its running statistics by a hundredth per step: below some 300 steps in all they still remember
/// their initial values, and the network evaluates at chance however well it trains. Hence smoke's small batches.
pub fn recipe(profile: Profile) -> Recipe {
    match profile {
        Profile::Smoke => Recipe {
            batch_size: 16,
            limit_train: Some(4_096),
            limit_test: Some(1_000),
            lr: Some(2e-3),
            schedule: Some("one-cycle".to_owned()),
            ..Recipe::plain(RecipeName::Article, 4)
        },
        Profile::Quick => Recipe::plain(RecipeName::Fast, 4),
        Profile::Fast => Recipe::plain(RecipeName::Fast, 30),
        Profile::Article => Recipe::plain(RecipeName::Article, 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_article_profile_is_the_article() {
        let article = recipe(Profile::Article);
        assert_eq!((article.epochs, article.batch_size), (100, 128));
        assert_eq!(article.describe(), "recipe article");
        assert_eq!((article.limit_train, article.limit_test), (None, None));
    }
}
