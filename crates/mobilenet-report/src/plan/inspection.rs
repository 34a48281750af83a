//! The counterpart of the article's inspection of surfaces: V3-Large, trained on drawn flaws, in 8 bits.

use std::path::{Path, PathBuf};

use mobilenet_arch::{Arch, Network};
use mobilenet_schema::{ComparisonPlan, Profile};

/// How much of it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Height and width of the pictures, in pixels
    pub image_size: usize,
    /// Training images of an epoch
    pub images: u64,
    /// Epochs of training
    pub epochs: u64,
}

/// One process of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspect {
    /// Train V3-Large: `flaws/v3-large/train.json`
    Train,
    /// Export it in 8 bits, for as long as it is measured: `flaws/v3-large-int8.safetensors`
    Export,
    /// Its accuracy by the runtime: `flaws/v3-large-int8-eval.json`
    Eval,
    /// Its latency: `flaws/v3-large-int8-bench.json`
    Bench,
}

impl Inspect {
    /// In order.
    pub const ALL: [Self; 4] = [Self::Train, Self::Export, Self::Eval, Self::Bench];

    /// Where the network is trained.
    #[must_use]
    pub fn run(out: &Path) -> PathBuf {
        out.join("flaws/v3-large")
    }

    /// The file whose presence says that the process is complete.
    #[must_use]
    pub fn artefact(self, out: &Path) -> PathBuf {
        match self {
            Self::Train => Self::run(out).join("train.json"),
            Self::Export => out.join("flaws/v3-large-int8.safetensors"),
            Self::Eval => out.join("flaws/v3-large-int8-eval.json"),
            Self::Bench => out.join("flaws/v3-large-int8-bench.json"),
        }
    }
}

/// How a comparison does it, which it does where V3-Large is one of its networks: `smoke` not at all, the default in
/// some minutes with small pictures, the longer ones with larger pictures.
#[must_use]
pub fn inspection(settings: &ComparisonPlan) -> Option<Inspection> {
    settings.models.contains(&Network::from(Arch::V3Large)).then_some(())?;
    match settings.profile {
        Profile::Smoke => None,
        Profile::Quick => Some(Inspection { image_size: 64, images: 4_200, epochs: 12 }),
        Profile::Fast | Profile::Article => Some(Inspection { image_size: 128, images: 4_200, epochs: 15 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::settings;

    #[test]
    fn only_v3_large_inspects_surfaces() {
        let with = |models: &[&str], profile| {
            let models = models.iter().map(|key| key.parse().unwrap()).collect();
            inspection(&ComparisonPlan { models, profile, ..settings() })
        };
        assert!(with(&["v2", "v3-large"], Profile::Quick).is_some());
        assert!(with(&["v2", "v3-large"], Profile::Smoke).is_none());
        assert!(with(&["v2", "v3-large@0.5"], Profile::Quick).is_none());
    }
}
