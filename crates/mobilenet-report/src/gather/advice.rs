//! The trainings with and without the article's advice.

use mobilenet_arch::Network;
use mobilenet_schema::{ComparisonPlan, PlannedAdvice, RunConfig};

use super::found::config_mismatch;
use crate::plan::{Advice, advice_settings};

/// The first setting of a twin's `config.json` that contradicts the plan, as (name, found, wanted).
pub fn advice_mismatch(
    config: &RunConfig,
    settings: &ComparisonPlan,
    (advice, twin): (&PlannedAdvice, Advice),
) -> Option<(&'static str, String, String)> {
    let settings = advice_settings(settings, advice);
    let train = &config.train.config;
    let network = format!("{}@{}", config.model.arch, config.model.width_mult);
    let teacher = |taught: bool| if taught { "one" } else { "none" }.to_owned();
    let lr = twin.lr(&settings.recipe).unwrap_or_else(|| settings.recipe.peak_lr());
    let own = [
        ("network", network.parse().map_or(network, Network::key), advice.network.key()),
        ("label-smoothing", train.label_smoothing.to_string(), twin.label_smoothing().to_string()),
        ("lr", train.optimizer.lr().to_string(), lr.to_string()),
        ("teacher", teacher(config.teacher.is_some()), teacher(twin == Advice::Distillation)),
    ];
    config_mismatch(config, &settings, advice.seed)
        .or_else(|| own.into_iter().find(|(_, found, wanted)| found != wanted))
}
