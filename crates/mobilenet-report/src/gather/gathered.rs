//! Everything that a comparison has left.

use mobilenet_arch::Network;
use mobilenet_schema::{
    Comparison, ComparisonPlan, DataInfo, Environment, Form, Origin, Picture, Roofline, ShippedBench, ShippedEval,
};

use super::advice::Tried;
use super::model::{Counts, Model};
use super::pairs::Pair;
use crate::network;
use crate::plan::{Advice, Sizes};

/// Everything that a comparison has left.
#[derive(Debug)]
pub struct Gathered {
    /// What was asked for
    pub settings: ComparisonPlan,
    /// The data set
    pub data: DataInfo,
    /// The networks with a finished run
    pub(crate) models: Vec<Model>,
    /// Counts of every network with a summary
    pub(crate) summaries: Vec<Counts>,
    /// What the machine can do at best, if it was measured
    pub(crate) roofline: Option<Roofline>,
    /// Example images; empty if they are left out
    pub pictures: Vec<Picture>,
    /// That of the last run; `origins` has all
    pub(crate) environment: Environment,
    /// Where each artefact comes from
    pub(crate) origins: Vec<Origin>,
    /// V3-Large in 8 bits on drawn flaws, if it was tried: its accuracy and, if it was timed, its latency
    pub(crate) inspected: Option<(ShippedEval, Option<ShippedBench>)>,
    /// A network with and without the article's advice on training, if it was tried
    pub(crate) tried: Option<Tried>,
    /// Each pair of networks compared, that of the verdict first
    pub(crate) comparisons: Vec<Pair>,
    /// The one that makes the whole comparison, then what it runs; whoever runs comparisons fills them in
    pub commands: Vec<String>,
    /// What is missing or odd, one sentence each
    pub notes: Vec<String>,
}

impl Gathered {
    /// One network of the comparison.
    pub(crate) fn model(&self, network: impl Into<Network>) -> Option<&Model> {
        let network = network.into();
        self.models.iter().find(|model| model.network() == network)
    }

    /// Counts of any network, compared or not.
    pub(crate) fn counts(&self, network: impl Into<Network>) -> Option<&Counts> {
        let network = network.into();
        self.summaries.iter().find(|counts| counts.network == network)
    }

    /// All networks, in the order of the report.
    pub(crate) fn networks(&self) -> Vec<Network> {
        self.models.iter().map(|model| model.network()).collect()
    }

    /// The two networks the verdict is about.
    pub(crate) fn pair(&self) -> Option<(&Model, &Model)> {
        let (first, second) = network::pair(&self.networks());
        Some((self.models.get(first)?, self.models.get(second?)?))
    }

    /// How these two compare.
    pub(crate) fn difference(&self) -> Option<&Comparison> {
        self.comparisons.first()?.comparison.as_ref()
    }

    /// The networks that are shown one by one, with a picture or a column each: all, or the two of the verdict where
    /// there are more than six.
    pub(crate) fn few(&self) -> Vec<&Model> {
        const FEW: usize = 6;
        match self.pair() {
            Some((first, second)) if self.models.len() > FEW => vec![first, second],
            _ => self.models.iter().collect(),
        }
    }

    /// Whether a network was shipped in this form, and measured.
    pub fn ships(&self, network: Network, form: Form) -> bool {
        self.model(network).is_some_and(|model| model.shipped(form).is_some())
    }

    /// Whether V3-Large was tried on drawn flaws.
    pub fn inspects(&self) -> bool {
        self.inspected.is_some()
    }

    /// Whether a training with this advice, or the one without any, is there.
    pub fn tries(&self, advice: Advice) -> bool {
        self.tried.as_ref().is_some_and(|tried| tried.twin(advice).is_some())
    }

    /// Images per epoch and test images.
    pub(crate) fn sizes(&self) -> Sizes {
        Sizes::new(&self.settings, Some(&self.data))
    }

    /// Share of the article's training that was run.
    pub(crate) fn share_of_article(&self) -> f64 {
        self.sizes().share_of_article(self.settings.recipe.epochs)
    }
}
