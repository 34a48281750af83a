//! A network that is ready to run.

use std::path::Path;
use std::sync::Arc;

use mobilenet_kernels::Level;

use crate::bytes::BytePlan;
use crate::file::File;
use crate::network::{Description, Network};
use crate::plan::Plan;
use crate::precision::Precision;
use crate::tensors::Parts;
use crate::{Error, Result};

/// A network with its weights packed for this processor. Sessions and threads share it; a clone is the same one.
#[derive(Clone, Debug)]
pub struct Model(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub description: Description,
    pub precision: Precision,
    pub level: Level,
    pub plan: Plans,
}

/// What it does, in float32 or in 8 bits.
#[derive(Debug)]
pub(crate) enum Plans {
    Floats(Plan),
    Bytes(BytePlan),
}

impl Inner {
    /// How many images these are.
    pub(crate) fn count(&self, images: &[f32]) -> Result<usize> {
        let input = &self.description.input;
        let len = input.height * input.width * 3;
        if !images.len().is_multiple_of(len) {
            return Err(Error::value("images", format!("a multiple of {len} values"), images.len().to_string()));
        }
        Ok(images.len() / len)
    }
}

impl Model {
    /// Opens a file: reads a tensor at a time and packs it, so that no more of it is held than that.
    ///
    /// # Errors
    /// Those of [`Network::open`] and [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let opened = File::open(path).and_then(|file| Self::planned(file.parts(), Level::best(), true));
        opened.map_err(|error| error.within(path))
    }

    /// Reads a file's bytes, without a copy beside what is packed.
    ///
    /// # Errors
    /// Those of [`Network::from_bytes`] and [`new`](Self::new).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::planned(File::from_bytes(bytes)?.parts(), Level::best(), true)
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
        Self::planned(network.parts(), level, true)
    }

    /// A model that runs each operation by itself, slower, so that [`Session::observe`](crate::Session::observe) shows every
    /// result.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn observable(network: &Network) -> Result<Self> {
        Self::planned(network.parts(), Level::best(), false)
    }

    fn planned(parts: Parts, level: Level, together: bool) -> Result<Self> {
        let plan = match parts.description.input.quantization {
            Some(image) => Plans::Bytes(BytePlan::new(parts, level, image.into(), together)?),
            None => Plans::Floats(Plan::new(parts, level, together)?),
        };
        let Parts { description, precision, .. } = parts;
        Ok(Self(Arc::new(Inner { description: description.clone(), precision, level, plan })))
    }

    /// What it takes and gives, and where it is from.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// How its file keeps weights and values.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// The instruction set that it runs with.
    #[must_use]
    pub fn level(&self) -> Level {
        self.0.level
    }

    /// Bytes of its packed weights.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match &self.0.plan {
            Plans::Floats(plan) => plan.weight_bytes(),
            Plans::Bytes(plan) => plan.weight_bytes(),
        }
    }

    /// Bytes of the values that one image needs.
    #[must_use]
    pub fn arena_bytes(&self) -> usize {
        match &self.0.plan {
            Plans::Floats(plan) => plan.arena * size_of::<f32>(),
            Plans::Bytes(plan) => plan.arena_bytes(),
        }
    }
}
