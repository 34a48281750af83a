//! How long a comparison takes: a table of rates, corrected by what was measured on the way.

use super::artefacts::DataInfo;
use super::names::{Arch, Profile};
use super::plan::{Settings, Stage};

/// Images per second of one network.
#[derive(Copy, Clone, Debug)]
pub struct Rate {
    train: f64,
    eval: f64,
}

/// Rates on two threads of a current server core; only a first guess.
#[rustfmt::skip]
const NOMINAL: [(Arch, Rate); 3] = [
    (Arch::V2,      Rate { train: 205.0, eval:  820.0 }),
    (Arch::V3Large, Rate { train: 265.0, eval:  930.0 }),
    (Arch::V3Small, Rate { train: 700.0, eval: 2500.0 }),
];

/// The rates in force.
pub struct Estimator {
    rates: Vec<(Arch, Rate)>,
    measured: Vec<Arch>,
}

impl Estimator {
    /// Nominal rates, scaled to `threads`: more threads help, but less than in proportion.
    pub fn new(threads: u64) -> Self {
        let scale = (threads.max(1) as f64 / 2.0).powf(0.8);
        let rates = NOMINAL.map(|(arch, rate)| {
            let scaled = Rate { train: rate.train * scale, eval: rate.eval * scale };
            (arch, scaled)
        });
        Self { rates: rates.to_vec(), measured: Vec::new() }
    }

    /// Replaces the guess for one network by a measured training rate; evaluation is taken to differ from its
    /// guess by the same factor.
    pub fn correct(&mut self, arch: Arch, train_images_per_second: f64) {
        if !(train_images_per_second.is_finite() && train_images_per_second > 0.0) {
            return;
        }
        for (known, rate) in &mut self.rates {
            if *known == arch {
                rate.eval *= train_images_per_second / rate.train;
                rate.train = train_images_per_second;
            }
        }
        self.measured.push(arch);
    }

    /// True once every one of `models` has been measured.
    pub fn is_measured(&self, models: &[Arch]) -> bool {
        models.iter().all(|arch| self.measured.contains(arch))
    }

    /// Images per second of training.
    pub fn train_rate(&self, arch: Arch) -> f64 {
        self.rate(arch).train
    }

    /// Seconds one stage takes.
    pub fn seconds(&self, stage: &Stage, settings: &Settings, sizes: Sizes) -> f64 {
        match *stage {
            Stage::Data | Stage::Samples => 2.0,
            Stage::Summary { .. } => 0.1,
            Stage::Bench(_) => 10.0,
            Stage::BenchTraining(arch) => 2.0 + 8.0 * settings.recipe.batch_size as f64 / self.rate(arch).train,
            Stage::Train(arch, _) => {
                let rate = self.rate(arch);
                let epoch = sizes.train as f64 / rate.train + sizes.test as f64 / rate.eval;
                settings.recipe.epochs as f64 * epoch
            }
            Stage::Eval(arch, _) => (sizes.train.min(10_000) + sizes.test) as f64 / self.rate(arch).eval,
        }
    }

    fn rate(&self, arch: Arch) -> Rate {
        self.rates.iter().find(|(known, _)| *known == arch).map_or(NOMINAL[0].1, |(_, rate)| *rate)
    }
}

/// Images of one epoch and of one evaluation.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Training images per epoch
    pub train: u64,
    /// Test images
    pub test: u64,
}

impl Sizes {
    /// What the settings leave of the data set; of CIFAR's 50,000 and 10,000 as long as the set is not known.
    pub fn new(settings: &Settings, data: Option<&DataInfo>) -> Self {
        let (train, test) = data.map_or((50_000, 10_000), |d| (d.train_images, d.test_images));
        let cut = |all: u64, limit: Option<u64>| limit.map_or(all, |limit| limit.min(all));
        Self { train: cut(train, settings.recipe.limit_train), test: cut(test, settings.recipe.limit_test) }
    }

    /// Share of the article's training (100 epochs of 50,000 images) that is run, at most 1.
    pub fn share_of_article(self, epochs: u64) -> f64 {
        let article = super::plan::recipe(Profile::Article).epochs * 50_000;
        ((epochs * self.train) as f64 / article as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{recipe, stages, tests::settings};
    use super::*;

    #[test]
    fn profiles_take_on_two_threads_what_they_promise() {
        for (profile, minutes) in [(Profile::Smoke, 1.0..8.0), (Profile::Quick, 20.0..40.0)] {
            let settings = Settings { recipe: recipe(profile), ..settings() };
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
        let sizes = Sizes { train: 1_000, test: 0 };
        let mut estimator = Estimator::new(2);
        let stage = Stage::Train(Arch::V2, 1);
        let want = settings.recipe.epochs as f64 * sizes.train as f64 / 100.0;
        assert_ne!(estimator.seconds(&stage, &settings, sizes), want);
        estimator.correct(Arch::V2, 100.0);
        assert_eq!(estimator.seconds(&stage, &settings, sizes), want);
        assert!(!estimator.is_measured(&settings.models));
        estimator.correct(Arch::V2, f64::NAN);
        assert_eq!(estimator.seconds(&stage, &settings, sizes), want);
    }

    #[test]
    fn sizes_never_exceed_the_set() {
        let data = DataInfo { train_images: 500, test_images: 2_000, ..DataInfo::default() };
        let settings = settings();
        let sizes = Sizes::new(&settings, Some(&data));
        assert_eq!((sizes.train, Some(sizes.test)), (500, settings.recipe.limit_test));
        assert_eq!(sizes.share_of_article(10_000), 1.0);
    }
}
