//! What the statistics of a report found, as `results.json` holds it.

use serde::{Deserialize, Serialize};

/// One figure over several seeds, or of one, with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Number of seeds.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Sample standard deviation over the seeds; absent for one.
    pub deviation: Option<f64>,
    /// 95 % interval of the mean; absent where one value says nothing about its scatter.
    pub interval: Option<(f64, f64)>,
    /// What the interval is made from.
    pub basis: Basis,
}

/// What an interval is made from, hence what it knows.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Student's t over the seeds: the scatter between trainings.
    Student,
    /// Wilson's on the number of test images: the scatter between images, for one training.
    Wilson,
    /// One value, no interval.
    Single,
}

impl Basis {
    /// In words.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Student => "Student's t, over seeds",
            Self::Wilson => "Wilson's, over images",
            Self::Single => "–",
        }
    }
}

/// Outcome of Welch's t-test on the accuracies of several seeds each. The test images are taken as given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welch {
    /// How many of the first and of the second network.
    pub seeds: (usize, usize),
    /// Chance of a difference at least this large between equally good networks.
    pub p_value: f64,
    /// 95 % interval of second minus first.
    pub interval: (f64, f64),
}

/// Outcome of McNemar's test on one run of each network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// The runs' seeds.
    pub seeds: (u64, u64),
    /// Images that only the first network classifies correctly.
    pub only_first: u64,
    /// Images that only the second network classifies correctly.
    pub only_second: u64,
    /// Exact binomial rather than chi-squared with continuity correction.
    pub exact: bool,
    /// Chance of a split at least this uneven between equally good networks.
    pub p_value: f64,
}

/// A 95 % interval of second minus first by drawing test images anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// The interval, in fractions.
    pub interval: (f64, f64),
    /// Whether seeds were drawn too, not only test images.
    pub over_seeds: bool,
}

/// The accuracies of two networks compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Accuracy of the second network minus that of the first, means over the seeds; where there is no test over seeds,
    /// of the one pair of runs that is tested image by image.
    pub difference: f64,
    /// Of each network so many.
    pub seeds: (usize, usize),
    /// Over the seeds; absent if either network has only one, or seeds without scatter.
    pub welch: Option<Welch>,
    /// Image by image, for each seed that both networks have; empty if they saw different images.
    pub mcnemar: Vec<McNemar>,
    /// Over the test images, and the seeds where there are several.
    pub bootstrap: Option<Bootstrap>,
}

impl Comparison {
    /// Chance of a difference at least this large between equally good networks: over the seeds where there are
    /// several, else image by image.
    #[must_use]
    pub fn p_value(&self) -> f64 {
        let over_seeds = self.welch.as_ref().map(|test| test.p_value);
        over_seeds.or_else(|| self.mcnemar.first().map(|test| test.p_value)).unwrap_or(1.0)
    }

    /// The usual 5 % mark. A test over seeds takes the test images as given, and by luck a few seeds may lie close
    /// together: its difference counts only if other test images, too, would have shown it.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        self.p_value() >= 0.05 || self.images_may_explain()
    }

    /// Whether a test over seeds finds a difference that the draw of the test images alone may explain.
    #[must_use]
    pub fn images_may_explain(&self) -> bool {
        let contains_zero = |(low, high): (f64, f64)| low <= 0.0 && high >= 0.0;
        self.welch.is_some() && self.bootstrap.as_ref().is_some_and(|bootstrap| contains_zero(bootstrap.interval))
    }

    /// 95 % interval of the difference, on the same ground as [`Self::p_value`].
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        let over_seeds = self.welch.as_ref().map(|test| test.interval);
        over_seeds.or_else(|| self.bootstrap.as_ref().map(|b| b.interval))
    }

    /// The test behind [`Self::p_value`] in words.
    #[must_use]
    pub fn test(&self) -> String {
        match (&self.welch, self.mcnemar.first()) {
            (Some(test), _) => format!("Welch's t-test over {} and {} seeds", test.seeds.0, test.seeds.1),
            // There are more runs than the test knows.
            (None, Some(test)) if self.seeds != (1, 1) => match test.seeds {
                (a, b) if a == b => format!("McNemar's test on the runs of seed {a} alone"),
                (a, b) => format!("McNemar's test on seed {a} of the one and seed {b} of the other"),
            },
            (None, _) => "McNemar's test on the same images".to_owned(),
        }
    }
}
