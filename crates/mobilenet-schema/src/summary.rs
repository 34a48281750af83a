//! `mobilenet summary --json`: a network's layers and their totals.

use mobilenet_arch::Summary;

use crate::check::{Artefact, Problem, at_least_one, check};

impl Artefact for Summary {
    const WHAT: &str = "a summary of a network";

    fn check(&self) -> Result<(), Problem> {
        at_least_one("params", self.params)?;
        at_least_one("macs", self.macs)?;
        check(!self.layers.is_empty(), "layers", "at least one", "none")
    }
}
