//! How long and how the networks are trained.

use serde::{Deserialize, Serialize};

use crate::names::RecipeName;

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
    pub fn plain(name: RecipeName, epochs: u64) -> Self {
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
