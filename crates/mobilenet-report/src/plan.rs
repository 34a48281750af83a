//! What lies where in a comparison's folder: its settings, kept as `plan.json`, and the artefacts of its stages.
//!
//! The report reads what the stages leave, so that their names are its own; how a stage is run is its runner's
//! business.

mod sizes;
mod stage;

use std::path::Path;

use mobilenet_schema::ComparisonPlan;

use crate::error::Result;

pub use sizes::Sizes;
pub use stage::{BENCH_ROUNDS, BLOCK_BATCHES, Stage, run_name, summarized};

/// Reads `plan.json` of a comparison's folder; `None` where there is none.
///
/// # Errors
/// A plan that cannot be read, or is none.
pub fn read_plan(out: &Path) -> Result<Option<ComparisonPlan>> {
    let path = out.join("plan.json");
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(mobilenet_schema::read(&path)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use mobilenet_arch::Arch;
    use mobilenet_schema::ComparisonPlan;

    /// Settings with numbers of their own: what is tested with them does not depend on how a profile is tuned.
    pub fn settings() -> ComparisonPlan {
        serde_json::from_str(include_str!("../fixtures/plan.json")).unwrap()
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
