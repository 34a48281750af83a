//! How long a comparison takes: a table of rates, corrected by what was measured on the way.

use mobilenet_arch::{Arch, Network, Rate};
use mobilenet_report::{Advice, Inspect, Sizes, Stage, inspection, tuning_epochs};
use mobilenet_schema::{ComparisonPlan, Form, PlannedTeacher};

use super::stages::block_passes;

/// How multiply-adds grow with the width: those of 1×1 convolutions as its square, those of depthwise ones in
/// proportion. From
/// 0.35 to 1.4 this is within 15 % for all three published networks.
const MACS_EXPONENT: f64 = 1.7;

/// How many times as long as in a training a step takes after a change: operation by operation, and with the rounding.
const TUNING: f64 = 3.0;

/// The rates in force.
pub struct Estimator {
    /// How much faster than the nominal ones this machine is taken to be
    scale: f64,
    measured: Vec<(Network, Rate)>,
}

impl Estimator {
    /// Nominal rates, scaled to `threads`: more threads help, but less than in proportion.
    pub fn new(threads: u64) -> Self {
        Self { scale: (threads.max(1) as f64 / 2.0).powf(0.8), measured: Vec::new() }
    }

    /// Replaces the guess for one network by a measured training rate; evaluation is taken to differ from its
    /// guess by the same factor.
    pub fn correct(&mut self, network: Network, train_images_per_second: f64) {
        if !(train_images_per_second.is_finite() && train_images_per_second > 0.0) {
            return;
        }
        let guess = self.rate(network);
        let eval = guess.eval * train_images_per_second / guess.train;
        self.measured.retain(|(known, _)| *known != network);
        self.measured.push((network, Rate { train: train_images_per_second, eval }));
    }

    /// True once every one of `models` has been measured.
    pub fn is_measured(&self, models: &[Network]) -> bool {
        models.iter().all(|network| self.measured.iter().any(|(known, _)| known == network))
    }

    /// Images per second of training.
    pub fn train_rate(&self, network: Network) -> f64 {
        self.rate(network).train
    }

    /// Seconds one stage takes.
    pub fn seconds(&self, stage: &Stage, settings: &ComparisonPlan, sizes: Sizes) -> f64 {
        match *stage {
            Stage::Data | Stage::Samples | Stage::ShippedBench { .. } => 2.0,
            Stage::Summary { .. } => 0.1,
            Stage::Bench { .. } => 4.0,
            Stage::BenchTraining(network) => 2.0 + 8.0 * settings.recipe.batch_size as f64 / self.rate(network).train,
            Stage::Blocks { network, batch } => {
                let (warmup, iterations) = block_passes(batch);
                // Passes with and without a clock in them take turns.
                1.0 + (2 * (warmup + iterations) * batch) as f64 / self.rate(network).eval
            }
            Stage::Roofline => 4.0,
            Stage::Train(network, _) => self.training(network, settings.recipe.epochs, sizes),
            // A little more training, with an evaluation before, one after each epoch and one after all.
            Stage::Export(network, form) if form.untuned().is_some() => {
                let (rate, epochs) = (self.rate(network), tuning_epochs(settings.profile).unwrap_or(0) as f64);
                let images = (epochs + 3.0) * sizes.test as f64;
                TUNING * epochs * sizes.train as f64 / rate.train + images / rate.eval
            }
            // Ranges of values are measured on some hundred images, several times.
            Stage::Export(network, Form::Int8) => 1.0 + 2_500.0 / self.rate(network).eval,
            Stage::Export(..) => 0.5,
            Stage::ShippedEval(network, _) => 1.0 + sizes.shipped as f64 / self.rate(network).eval,
            Stage::Inspect(Inspect::Train) => inspection(settings).map_or(0.0, |inspection| {
                // With the imagenet preset's strides 124 pixels take as many multiply-adds as 32 with cifar's.
                let rate = self.rate(Arch::V3Large.into()).train * (124.0 / inspection.image_size as f64).powi(2);
                (inspection.epochs * inspection.images) as f64 / rate
            }),
            Stage::Inspect(Inspect::Export) => 4.0,
            Stage::Inspect(_) => 2.0,
            Stage::Eval(network, _) => self.evaluation(network, sizes),
            Stage::Advice(twin) => settings.advice.as_ref().map_or(0.0, |advice| {
                let teacher = match advice.teacher {
                    PlannedTeacher::Network(network) => network,
                    // Which network it is, the trainer finds out.
                    PlannedTeacher::Path(_) => Arch::V2.into(),
                };
                let taught =
                    if twin == Advice::Distillation { sizes.train as f64 / self.rate(teacher).eval } else { 0.0 };
                self.training(advice.network, advice.epochs, sizes) + advice.epochs as f64 * taught
            }),
            Stage::AdviceEval(_) => {
                settings.advice.as_ref().map_or(0.0, |advice| self.evaluation(advice.network, sizes))
            }
        }
    }

    /// A training with the comparison's images.
    fn training(&self, network: Network, epochs: u64, sizes: Sizes) -> f64 {
        let rate = self.rate(network);
        epochs as f64 * (sizes.train as f64 / rate.train + sizes.test as f64 / rate.eval)
    }

    /// The evaluation after it.
    fn evaluation(&self, network: Network, sizes: Sizes) -> f64 {
        (sizes.train.min(10_000) + sizes.test) as f64 / self.rate(network).eval
    }

    fn rate(&self, network: Network) -> Rate {
        if let Some((_, rate)) = self.measured.iter().find(|(known, _)| *known == network) {
            return *rate;
        }
        let nominal = network.arch.description().rate;
        let factor = self.scale / network.width.factor().powf(MACS_EXPONENT);
        Rate { train: nominal.train * factor, eval: nominal.eval * factor }
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;
    use mobilenet_schema::Profile;

    use super::super::profile::{recipe, tests::settings, tests::with_advice};
    use super::super::stages::stages;
    use super::*;

    #[test]
    fn profiles_take_on_two_threads_what_they_promise() {
        for (profile, minutes) in [(Profile::Smoke, 1.0..8.0), (Profile::Quick, 20.0..40.0)] {
            let settings = ComparisonPlan { recipe: recipe(profile), ..settings() };
            let estimator = Estimator::new(2);
            let sizes = Sizes::new(&settings, None);
            let stages = stages(&settings, true);
            let seconds: f64 = stages.iter().map(|stage| estimator.seconds(stage, &settings, sizes)).sum();
            assert!(minutes.contains(&(seconds / 60.0)), "{profile:?}: {seconds} s");
        }
    }

    #[test]
    fn a_measured_rate_replaces_the_guess() {
        let settings = settings();
        let sizes = Sizes { train: 1_000, test: 0, shipped: 0 };
        let mut estimator = Estimator::new(2);
        let stage = Stage::Train(Arch::V2.into(), 1);
        let want = settings.recipe.epochs as f64 * sizes.train as f64 / 100.0;
        assert_ne!(estimator.seconds(&stage, &settings, sizes), want);
        estimator.correct(Arch::V2.into(), 100.0);
        assert_eq!(estimator.seconds(&stage, &settings, sizes), want);
        assert!(!estimator.is_measured(&settings.models));
        estimator.correct(Arch::V2.into(), f64::NAN);
        assert_eq!(estimator.seconds(&stage, &settings, sizes), want);
    }

    #[test]
    fn advice_takes_its_own_epochs_and_a_teachers_answers() {
        let (settings, sizes) = (with_advice(), Sizes { train: 1_000, test: 0, shipped: 0 });
        let mut estimator = Estimator::new(2);
        estimator.correct(Arch::V3Large.into(), 100.0);
        let seconds = |twin| estimator.seconds(&Stage::Advice(twin), &settings, sizes);
        assert_eq!((seconds(Advice::Plain), seconds(Advice::HigherRate)), (20.0, 20.0));
        assert_eq!(seconds(Advice::Distillation), 20.0 + 2.0 * 1_000.0 / estimator.rate(Arch::V2.into()).eval);
    }

    #[test]
    fn narrower_networks_are_taken_to_be_faster() {
        let estimator = Estimator::new(2);
        let rate = |key: &str| estimator.train_rate(key.parse().unwrap());
        assert!(rate("v2@0.5") > 2.0 * rate("v2") && rate("v2@1.4") < 0.7 * rate("v2"));
        assert!(rate("v3-small") > rate("v3-large"));
    }
}
