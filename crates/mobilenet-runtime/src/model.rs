//! A network that is ready to run.

use std::path::Path;
use std::sync::Arc;

use mobilenet_kernels::Level;

use crate::network::{Description, Network};
use crate::plan::Plan;
use crate::{Error, Result};

/// A network with its weights packed for this processor. Sessions and threads share it; a clone is the same one.
#[derive(Clone, Debug)]
pub struct Model(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub description: Description,
    pub level: Level,
    pub plan: Plan,
}

impl Model {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of [`Network::open`] and [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::new(&Network::open(path)?)
            .map_err(|error| Error::Within { path: path.to_owned(), source: Box::new(error) })
    }

    /// Packs a network's weights for the best instruction set of this processor, or the one that the environment names.
    ///
    /// # Errors
    /// The network's parts do not fit each other, or this runtime does not have one of its operations.
    pub fn new(network: &Network) -> Result<Self> {
        Self::at(network, Level::best())
    }

    /// [`new`](Self::new) for a given instruction set.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn at(network: &Network, level: Level) -> Result<Self> {
        let plan = Plan::new(network, level)?;
        Ok(Self(Arc::new(Inner { description: network.description.clone(), level, plan })))
    }

    /// What it takes and gives, and where it is from.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// The instruction set that it runs with.
    #[must_use]
    pub fn level(&self) -> Level {
        self.0.level
    }

    /// Bytes of its packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        self.0.plan.weight_bytes()
    }

    /// Bytes of the values that one image needs.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        self.0.plan.arena * size_of::<f32>()
    }
}
