//! What lies where in a comparison's folder: its settings, kept as `plan.json`, and the artefacts of its stages.
//!
//! The report reads what the stages leave, so that their names are its own; how a stage is run is its runner's
//! business.

mod advice;
mod forms;
mod inspection;
mod sizes;
mod stage;

use std::path::Path;

use mobilenet_schema::ComparisonPlan;

use crate::error::Result;

pub use advice::{Advice, advice_settings, advice_teacher, advised, usual_teacher};
pub use forms::{forms, tuning_epochs};
pub use inspection::{Inspect, Inspection, inspection};
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
    use mobilenet_schema::ComparisonPlan;

    /// Settings with numbers of their own: what is tested with them does not depend on how a profile is tuned.
    pub fn settings() -> ComparisonPlan {
        serde_json::from_str(include_str!("../fixtures/plan.json")).unwrap()
    }
}
