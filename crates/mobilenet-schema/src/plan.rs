//! `plan.json`: what a comparison was asked for.

use std::path::PathBuf;

use mobilenet_arch::{Network, Precision};
use mobilenet_common::json::differences;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::check::{Artefact, Problem, at_least_one, check, positive};
use crate::names::{Profile, RecipeName, Source};

/// `plan.json`: everything that decides what the artefacts of a comparison hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComparisonPlan {
    /// The profile the recipe started from.
    pub profile: Profile,
    /// Networks, in the order of the report.
    pub models: Vec<Network>,
    /// One training per network and seed.
    pub seeds: Vec<u64>,
    /// `--data`
    pub data: Source,
    /// `--data-dir`, as it was typed.
    pub data_dir: Option<PathBuf>,
    /// `--threads`
    pub threads: Option<u64>,
    /// `--device`
    pub device: String,
    /// `--precision` of the trainings.
    #[serde(default)]
    pub precision: Precision,
    /// How the networks are trained.
    pub recipe: PlannedRecipe,
    /// `--out`, as it was typed where the artefacts were made; they may lie elsewhere by now.
    #[serde(default)]
    pub out: Option<PathBuf>,
}

/// How the networks are trained: a recipe of `mobilenet train`, and what is changed of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedRecipe {
    /// `mobilenet train --recipe`
    #[serde(default)]
    pub name: RecipeName,
    /// Passes over the training images.
    pub epochs: u64,
    /// Images per step.
    pub batch_size: u64,
    /// Only the first so many training images; all of them if absent.
    pub limit_train: Option<u64>,
    /// Only the first so many test images; all of them if absent.
    pub limit_test: Option<u64>,
    /// `mobilenet train --optimizer`, if not the recipe's.
    pub optimizer: Option<String>,
    /// Peak learning rate, if not the recipe's.
    pub lr: Option<f64>,
    /// Weight decay, if not the recipe's.
    pub weight_decay: Option<f64>,
    /// `mobilenet train --schedule`, if not the recipe's.
    pub schedule: Option<String>,
}

impl ComparisonPlan {
    /// Settings in which `self` and `earlier` differ, as (name, earlier value, present value). More or fewer networks
    /// and seeds do no harm: their artefacts lie side by side.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<(String, String, String)> {
        let comparable = |plan: &Self| {
            let mut plan = plan.clone();
            plan.models.clear();
            plan.seeds.clear();
            plan.out = None;
            plan.data_dir = plan.data_dir.map(|dir| dir.canonicalize().unwrap_or(dir));
            serde_json::to_value(&plan).unwrap_or_default()
        };
        let name = |field: String| field.strip_prefix("recipe.").map(str::to_owned).unwrap_or(field);
        differences(&comparable(earlier), &comparable(self))
            .into_iter()
            .map(|found| (name(found.field), shown(&found.before), shown(&found.now)))
            .collect()
    }

    /// True if this network is trained with this seed.
    #[must_use]
    pub fn has(&self, network: Network, seed: u64) -> bool {
        self.models.contains(&network) && self.seeds.contains(&seed)
    }
}

impl PlannedRecipe {
    /// The recipe as it is.
    #[must_use]
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
    #[must_use]
    pub fn describe(&self) -> String {
        let mut parts = vec![format!("recipe {}", self.name)];
        parts.extend(self.optimizer.clone());
        parts.extend(self.lr.map(|lr| format!("learning rate {lr}")));
        parts.extend(self.weight_decay.map(|decay| format!("weight decay {decay}")));
        parts.extend(self.schedule.as_ref().map(|schedule| format!("{schedule} schedule")));
        parts.join(", ")
    }
}

/// A leaf as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Artefact for ComparisonPlan {
    const WHAT: &str = "a comparison's plan";

    fn check(&self) -> Result<(), Problem> {
        check(!self.models.is_empty(), "models", "at least one", "none")?;
        at_least_one("recipe.epochs", self.recipe.epochs)?;
        at_least_one("recipe.batch_size", self.recipe.batch_size)?;
        self.recipe.lr.map_or(Ok(()), |lr| positive("recipe.lr", lr))
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;

    use super::*;

    #[test]
    fn more_seeds_are_the_same_comparison_but_other_epochs_are_not() {
        let earlier = ComparisonPlan {
            profile: Profile::Quick,
            models: vec![Arch::V2.into(), Arch::V3Large.into()],
            seeds: vec![1],
            data: Source::Auto,
            data_dir: None,
            threads: None,
            device: "cpu".to_owned(),
            precision: Precision::F32,
            recipe: PlannedRecipe::plain(RecipeName::Fast, 4),
            out: None,
        };
        let mut now = earlier.clone();
        now.seeds.push(7);
        now.models = vec![Arch::V3Small.into()];
        now.out = Some("elsewhere".into());
        assert_eq!(now.differences(&earlier), []);
        now.recipe.epochs = 9;
        now.threads = Some(2);
        let text = |name: &str, then: &str, now: &str| (name.to_owned(), then.to_owned(), now.to_owned());
        assert_eq!(now.differences(&earlier), [text("epochs", "4", "9"), text("threads", "none", "2")]);
    }
}
