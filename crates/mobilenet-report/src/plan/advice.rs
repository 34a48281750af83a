//! The article's advice on training, tried out: one network, trained the same way but for what is advised.
//!
//! The article names label smoothing, distillation and a higher learning rate for h-swish, without figures. Each is held
//! against its twin without; so all twins have the same seed, and the one without smooths no labels, whatever the
//! recipe does.

use std::path::{Path, PathBuf};

use mobilenet_arch::{Activation, Arch, Network};
use mobilenet_schema::{ComparisonPlan, PlannedAdvice, PlannedRecipe, PlannedTeacher};

use super::forms::has_activation;
use super::stage::run_name;

/// One of the trainings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// None of the advice: `advice/plain`
    Plain,
    /// Smoothed labels: `advice/label-smoothing`
    LabelSmoothing,
    /// Another network teaches: `advice/distillation`
    Distillation,
    /// Twice the learning rate: `advice/higher-rate`
    HigherRate,
}

impl Advice {
    /// The one without advice, then the others in the article's order.
    pub const ALL: [Self; 4] = [Self::Plain, Self::LabelSmoothing, Self::Distillation, Self::HigherRate];

    /// The name of its folder.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::LabelSmoothing => "label-smoothing",
            Self::Distillation => "distillation",
            Self::HigherRate => "higher-rate",
        }
    }

    /// As people say it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::LabelSmoothing => "label smoothing",
            Self::Distillation => "distillation",
            Self::HigherRate => "twice the learning rate",
        }
    }

    /// The folder of its run.
    #[must_use]
    pub fn run(self, out: &Path) -> PathBuf {
        out.join("advice").join(self.name())
    }

    /// `mobilenet train --label-smoothing`
    #[must_use]
    pub fn label_smoothing(self) -> f64 {
        match self {
            Self::LabelSmoothing => 0.1,
            Self::Plain | Self::Distillation | Self::HigherRate => 0.0,
        }
    }

    /// `mobilenet train --lr`, if not the recipe's.
    #[must_use]
    pub fn lr(self, recipe: &PlannedRecipe) -> Option<f64> {
        match self {
            Self::HigherRate => Some(2.0 * recipe.peak_lr()),
            Self::Plain | Self::LabelSmoothing | Self::Distillation => recipe.lr,
        }
    }
}

/// The network that a comparison of `models` tries the advice on: the smallest published V3, for the advice is meant
/// for small networks with h-swish, or else the first network with h-swish.
#[must_use]
pub fn advised(models: &[Network]) -> Option<Network> {
    let published = [Arch::V3Small, Arch::V3Large].map(Network::from);
    let planned = published.into_iter().find(|network| models.contains(network));
    planned.or_else(|| models.iter().copied().find(|&network| has_activation(network, Activation::HSwish)))
}

/// The network of the comparison that teaches it, if no other was named: the most accurate by what is known of them.
#[must_use]
pub fn usual_teacher(models: &[Network], advised: Network) -> Option<Network> {
    let others = || models.iter().copied().filter(|&network| network != advised);
    let best = [Arch::V3Large, Arch::V2].map(Network::from);
    best.into_iter().find(|best| others().any(|network| network == *best)).or_else(|| others().next())
}

/// Where the teacher lies, a run's folder or a model file.
#[must_use]
pub fn advice_teacher(advice: &PlannedAdvice, out: &Path) -> PathBuf {
    match &advice.teacher {
        PlannedTeacher::Network(network) => out.join(run_name(*network, advice.seed)),
        PlannedTeacher::Path(path) => path.clone(),
    }
}

/// The comparison's settings as they hold for these trainings: with their epochs.
#[must_use]
pub fn advice_settings(settings: &ComparisonPlan, advice: &PlannedAdvice) -> ComparisonPlan {
    let recipe = PlannedRecipe { epochs: advice.epochs, ..settings.recipe.clone() };
    ComparisonPlan { recipe, ..settings.clone() }
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::RecipeName;

    use super::*;

    fn networks(words: &str) -> Vec<Network> {
        words.split(' ').map(|word| word.parse().unwrap()).collect()
    }

    #[test]
    fn the_smallest_network_with_h_swish_is_advised_and_another_teaches() {
        for (models, student, master) in [
            ("v2 v3-large v3-small", "v3-small", "v3-large"),
            ("v2 v3-large", "v3-large", "v2"),
            ("v3-small v2", "v3-small", "v2"),
            ("v2@0.5 v2-hs v3-small@0.5", "v2-hs", "v2@0.5"),
        ] {
            let models = networks(models);
            let found = advised(&models).unwrap();
            assert_eq!(found.key(), student);
            assert_eq!(usual_teacher(&models, found).unwrap().key(), master);
        }
        assert_eq!(advised(&networks("v1 v2 v2@0.5")), None, "no h-swish");
        assert_eq!(usual_teacher(&networks("v3-small"), Arch::V3Small.into()), None);
    }

    #[test]
    fn twins_differ_in_what_is_advised_alone() {
        let recipe = PlannedRecipe::plain(RecipeName::Fast, 4);
        let changed = PlannedRecipe { lr: Some(2e-3), ..recipe.clone() };
        let of = |twin: Advice| (twin.label_smoothing(), twin.lr(&recipe), twin.lr(&changed));
        assert_eq!(of(Advice::Plain), (0.0, None, Some(2e-3)));
        assert_eq!(of(Advice::LabelSmoothing), (0.1, None, Some(2e-3)));
        assert_eq!(of(Advice::Distillation), of(Advice::Plain));
        assert_eq!(of(Advice::HigherRate), (0.0, Some(0.012), Some(4e-3)));
    }

    #[test]
    fn a_teacher_is_a_run_of_the_comparison_or_a_path() {
        let of = |teacher| PlannedAdvice { network: Arch::V3Small.into(), seed: 3, epochs: 1, teacher };
        let path = |planned| advice_teacher(&of(planned), Path::new("out"));
        assert_eq!(path(PlannedTeacher::Network(Arch::V2.into())), Path::new("out/v2-s3"));
        assert_eq!(path(PlannedTeacher::Path("v2.safetensors".into())), Path::new("v2.safetensors"));
    }
}
