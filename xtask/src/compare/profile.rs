//! The numbers of each profile, and whether a folder was begun with others.

use std::path::Path;

use anyhow::{Result, bail};
use mobilenet_report::{Stage, read_plan};
use mobilenet_schema::{ComparisonPlan, PlannedRecipe, Profile, RecipeName};

/// The numbers of each profile.
///
/// V3's batch norm moves its running statistics by a hundredth per step: below some 300 steps in all they still
/// remember their initial values, and the network evaluates at chance however well it trains. Hence smoke's small
/// batches.
pub fn recipe(profile: Profile) -> PlannedRecipe {
    match profile {
        Profile::Smoke => PlannedRecipe {
            batch_size: 16,
            limit_train: Some(4_096),
            limit_test: Some(1_000),
            lr: Some(2e-3),
            schedule: Some("one-cycle".to_owned()),
            ..PlannedRecipe::plain(RecipeName::Article, 4)
        },
        Profile::Quick => PlannedRecipe::plain(RecipeName::Fast, 4),
        Profile::Fast => PlannedRecipe::plain(RecipeName::Fast, 30),
        Profile::Article => PlannedRecipe::plain(RecipeName::Article, 100),
    }
}

/// Fails if the folder's earlier artefacts were made with other settings.
pub fn check_against(settings: &ComparisonPlan, out: &Path) -> Result<()> {
    // Before the first artefact, a plan decides nothing yet.
    let begun = Stage::Data.artefact(out).exists();
    let Some(earlier) = read_plan(out)?.filter(|_| begun) else {
        return Ok(());
    };
    let differences = settings.differences(&earlier);
    if let Some((name, before, now)) = differences.first() {
        let others = match differences.len() - 1 {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        bail!(
            "{} holds a comparison with {name} = {before}, this one has {name} = {now}{others}; \
             choose another --out, repeat the earlier options, or remove that folder",
            out.display()
        );
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use std::path::PathBuf;

    use mobilenet_arch::Arch;
    use mobilenet_schema::{PlannedAdvice, PlannedTeacher};

    use super::*;

    /// A small comparison, committed with the report.
    pub fn comparison() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mobilenet-report/fixtures/comparison")
    }

    /// Settings with numbers of their own: what is tested with them does not depend on how a profile is tuned.
    pub fn settings() -> ComparisonPlan {
        serde_json::from_str(include_str!("../../../crates/mobilenet-report/fixtures/plan.json")).unwrap()
    }

    /// The same, which tries the article's advice on V3-Large for two epochs; V2 teaches.
    pub fn with_advice() -> ComparisonPlan {
        let advice = PlannedAdvice {
            network: Arch::V3Large.into(),
            seed: 1,
            epochs: 2,
            teacher: PlannedTeacher::Network(Arch::V2.into()),
        };
        ComparisonPlan { advice: Some(advice), ..settings() }
    }

    #[test]
    fn the_article_profile_is_the_article() {
        let article = recipe(Profile::Article);
        assert_eq!((article.epochs, article.batch_size), (100, 128));
        assert_eq!(article.describe(), "recipe article");
        assert_eq!((article.limit_train, article.limit_test), (None, None));
    }
}
