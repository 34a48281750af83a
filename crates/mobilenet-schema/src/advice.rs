//! What was found of the article's advice on training, as `results.json` holds it.

use mobilenet_arch::Network;
use serde::{Deserialize, Serialize};

use crate::check::{Problem, at_least_one, share};
use crate::statistics::McNemar;

/// A network, trained with and without advice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdviceResult {
    /// The network.
    pub network: Network,
    /// The seed of each training.
    pub seed: u64,
    /// Passes over the training images.
    pub epochs: u64,
    /// What taught the network that was distilled: a network of the comparison, or a path.
    pub teacher: Option<String>,
    /// The trainings, the one without advice first.
    pub trainings: Vec<AdvisedTraining>,
}

/// One of the trainings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdvisedTraining {
    /// What was advised, the name of its folder: `plain`, `label-smoothing`.
    pub advice: String,
    /// Share of the test images that are classified correctly.
    pub test_top1: f64,
    /// Mean cross-entropy on the test images.
    pub test_loss: f64,
    /// Share of the plain training images that are classified correctly.
    pub train_top1: f64,
    /// `test_top1` minus that of the training without advice; absent for that one itself.
    pub difference: Option<f64>,
    /// The difference's 95 % interval, over the test images.
    pub interval: Option<(f64, f64)>,
    /// The training without advice against this one on the same images.
    pub mcnemar: Option<McNemar>,
}

impl AdviceResult {
    /// What holds for every entry of `results.json`.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        at_least_one("epochs", self.epochs)?;
        for (i, training) in self.trainings.iter().enumerate() {
            share(format_args!("trainings[{i}].test_top1"), training.test_top1)?;
            share(format_args!("trainings[{i}].train_top1"), training.train_top1)?;
        }
        Ok(())
    }
}
