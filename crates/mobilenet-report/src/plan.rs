//! What a comparison is: its settings, kept as `plan.json`, and the stages that follow from them.

mod sizes;
mod stage;

use std::path::Path;

use anyhow::Result;
pub use mobilenet_schema::{ComparisonPlan, PlannedRecipe};
use serde_json::Value;

use super::artefacts;

pub use sizes::{ARTICLE_EPOCHS, Sizes};
pub use stage::{BENCH_ROUNDS, BLOCK_BATCHES, Stage, run_name, summarized};

/// Reads `plan.json` of a comparison's folder; `None` where there is none.
pub fn read(out: &Path) -> Result<Option<ComparisonPlan>> {
    let path = out.join("plan.json");
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(artefacts::read(&path)?))
}

/// Leaves of a JSON value with their dotted names.
pub fn flatten(prefix: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, fields);
            }
        }
        Value::Null => fields.push((prefix.to_owned(), "none".to_owned())),
        Value::String(text) => fields.push((prefix.to_owned(), text.clone())),
        other => fields.push((prefix.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::names::{Arch, Precision, Profile, RecipeName, Source};
    use super::*;

    /// Settings with numbers of their own: what is tested with them does not hang on how a profile is tuned.
    pub fn settings() -> ComparisonPlan {
        let recipe = PlannedRecipe {
            batch_size: 16,
            limit_train: Some(2_000),
            limit_test: Some(1_000),
            ..PlannedRecipe::plain(RecipeName::Article, 3)
        };
        ComparisonPlan {
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
