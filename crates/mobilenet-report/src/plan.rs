//! What a comparison is: its settings, kept as `plan.json`, and the stages that follow from them.

mod recipe;
mod sizes;
mod stage;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mobilenet_common::json::differences;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::{Precision, Profile, Source};
use super::network::Network;

pub use recipe::Recipe;
pub use sizes::{ARTICLE_EPOCHS, Sizes};
pub use stage::{BENCH_ROUNDS, BLOCK_BATCHES, Stage, run_name, summarized};

/// Everything that decides what the artefacts of a comparison hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The profile the recipe started from
    pub profile: Profile,
    /// Networks, in the order of the report
    pub models: Vec<Network>,
    /// One training per network and seed
    pub seeds: Vec<u64>,
    /// `--data`
    pub data: Source,
    /// `--data-dir`, as it was typed
    pub data_dir: Option<PathBuf>,
    /// `--threads`
    pub threads: Option<u64>,
    /// `--device`
    pub device: String,
    /// `--precision` of the trainings
    #[serde(default)]
    pub precision: Precision,
    /// Hyper-parameters
    pub recipe: Recipe,
    /// `--out`, as it was typed where the artefacts were made; they may lie elsewhere by now
    #[serde(default)]
    pub out: Option<PathBuf>,
}

impl Settings {
    /// Settings in which `self` and `earlier` differ, as (name, earlier value, present value). More or fewer
    /// models and seeds do no harm: their artefacts lie side by side.
    pub fn differences(&self, earlier: &Self) -> Vec<(String, String, String)> {
        let comparable = |settings: &Self| {
            let mut settings = settings.clone();
            settings.models.clear();
            settings.seeds.clear();
            settings.out = None;
            settings.data_dir = settings.data_dir.map(|dir| dir.canonicalize().unwrap_or(dir));
            serde_json::to_value(&settings).unwrap_or_default()
        };
        let name = |field: String| field.strip_prefix("recipe.").map(str::to_owned).unwrap_or(field);
        differences(&comparable(earlier), &comparable(self))
            .into_iter()
            .map(|d| (name(d.field), shown(&d.before), shown(&d.now)))
            .collect()
    }

    /// True if this network is trained with this seed.
    pub fn has(&self, network: Network, seed: u64) -> bool {
        self.models.contains(&network) && self.seeds.contains(&seed)
    }

    /// Reads `plan.json` of a comparison's folder.
    pub fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join("plan.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings =
            serde_json::from_str(&text).with_context(|| format!("{} is not a comparison's plan", path.display()))?;
        Ok(Some(settings))
    }
}

/// Leaves of a JSON value with their dotted names.
pub fn flatten(prefix: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let name =
                    if prefix.is_empty() || prefix == "recipe" { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, fields);
            }
        }
        leaf => fields.push((prefix.to_owned(), shown(leaf))),
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

#[cfg(test)]
pub(crate) mod tests {
    use super::super::names::{Arch, Profile, RecipeName};
    use super::*;

    /// Settings with numbers of their own: what is tested with them does not hang on how a profile is tuned.
    pub fn settings() -> Settings {
        let recipe = Recipe {
            batch_size: 16,
            limit_train: Some(2_000),
            limit_test: Some(1_000),
            ..Recipe::plain(RecipeName::Article, 3)
        };
        Settings {
            profile: Profile::Smoke,
            models: vec![Arch::V2.into(), Arch::V3Large.into()],
            seeds: vec![1],
            data: Source::Auto,
            data_dir: None,
            threads: None,
            device: "cpu".to_owned(),
            precision: Precision::F32,
            recipe,
            out: None,
        }
    }

    #[test]
    fn more_seeds_are_the_same_comparison_but_other_epochs_are_not() {
        let earlier = settings();
        let mut now = earlier.clone();
        now.seeds.push(7);
        now.models = vec![Arch::V3Small.into()];
        now.out = Some("elsewhere".into());
        assert_eq!(now.differences(&earlier), []);
        now.recipe.epochs = 9;
        now.threads = Some(2);
        let names: Vec<_> = now.differences(&earlier).into_iter().collect();
        assert_eq!(
            names,
            [
                ("epochs".to_owned(), earlier.recipe.epochs.to_string(), "9".to_owned()),
                ("threads".to_owned(), "none".to_owned(), "2".to_owned()),
            ]
        );
    }
}
