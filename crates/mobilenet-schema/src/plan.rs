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
    /// What is tried of the article's advice, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<PlannedAdvice>,
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

/// What a comparison tries of the article's advice: one network, trained the same way but for what is advised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedAdvice {
    /// The network.
    pub network: Network,
    /// The seed of each training.
    pub seed: u64,
    /// Passes over the training images.
    pub epochs: u64,
    /// What teaches the network where it is distilled.
    pub teacher: PlannedTeacher,
}

/// What teaches a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlannedTeacher {
    /// A network of the comparison, as trained with the same seed.
    Network(Network),
    /// A run's folder or a model file, as it was typed.
    Path(PathBuf),
}

impl ComparisonPlan {
    /// Settings in which `self` and `earlier` differ, as (name, earlier value, present value). More or fewer networks
    /// and seeds do no harm, nor does advice that only one of the two tries: the artefacts lie side by side.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<(String, String, String)> {
        let advised = self.advice.is_some() && earlier.advice.is_some();
        let comparable = |plan: &Self| {
            let mut plan = plan.clone();
            plan.models.clear();
            plan.seeds.clear();
            plan.out = None;
            let absolute = |path: PathBuf| path.canonicalize().unwrap_or(path);
            plan.data_dir = plan.data_dir.map(absolute);
            plan.advice = plan.advice.filter(|_| advised).map(|advice| PlannedAdvice {
                teacher: match advice.teacher {
                    PlannedTeacher::Path(path) => PlannedTeacher::Path(absolute(path)),
                    network => network,
                },
                ..advice
            });
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

    /// The peak learning rate: the recipe's, where it is not changed.
    #[must_use]
    pub fn peak_lr(&self) -> f64 {
        self.lr.unwrap_or_else(|| self.name.lr())
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
        self.advice.as_ref().map_or(Ok(()), |advice| at_least_one("advice.epochs", advice.epochs))?;
        self.recipe.lr.map_or(Ok(()), |lr| positive("recipe.lr", lr))
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;

    use super::*;

    fn plan() -> ComparisonPlan {
        ComparisonPlan {
            profile: Profile::Quick,
            models: vec![Arch::V2.into(), Arch::V3Large.into()],
            seeds: vec![1],
            data: Source::Auto,
            data_dir: None,
            threads: None,
            device: "cpu".to_owned(),
            precision: Precision::F32,
            recipe: PlannedRecipe::plain(RecipeName::Fast, 4),
            advice: None,
            out: None,
        }
    }

    fn difference(name: &str, then: &str, now: &str) -> (String, String, String) {
        (name.to_owned(), then.to_owned(), now.to_owned())
    }

    #[test]
    fn more_seeds_are_the_same_comparison_but_other_epochs_are_not() {
        let earlier = plan();
        let mut now = earlier.clone();
        now.seeds.push(7);
        now.models = vec![Arch::V3Small.into()];
        now.out = Some("elsewhere".into());
        assert_eq!(now.differences(&earlier), []);
        now.recipe.epochs = 9;
        now.threads = Some(2);
        let found = now.differences(&earlier);
        assert_eq!(found, [difference("epochs", "4", "9"), difference("threads", "none", "2")]);
    }

    #[test]
    fn advice_may_come_and_go_but_not_change() {
        let advice = |epochs, teacher| {
            let advice = PlannedAdvice { network: Arch::V3Small.into(), seed: 1, epochs, teacher };
            ComparisonPlan { advice: Some(advice), ..plan() }
        };
        let large = || PlannedTeacher::Network(Arch::V3Large.into());
        let tried = advice(4, large());
        assert!(tried.differences(&plan()).is_empty() && plan().differences(&tried).is_empty());
        assert_eq!(advice(5, large()).differences(&tried), [difference("advice.epochs", "4", "5")]);
        assert_eq!(
            advice(4, PlannedTeacher::Path("v2.safetensors".into())).differences(&tried),
            [
                difference("advice.teacher.network", "v3-large", "none"),
                difference("advice.teacher.path", "none", "v2.safetensors"),
            ]
        );
        let text = serde_json::to_string(&tried).unwrap();
        assert!(
            text.contains(r#""advice":{"network":"v3-small","seed":1,"epochs":4,"teacher":{"network":"v3-large"}}"#)
        );
        assert_eq!(serde_json::from_str::<ComparisonPlan>(&text).unwrap(), tried);
        assert!(advice(0, large()).check().is_err());
    }
}
