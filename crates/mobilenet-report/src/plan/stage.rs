//! The processes of a comparison and the artefact that each leaves.

use std::path::{Path, PathBuf};

use mobilenet_arch::{Arch, Network};
use mobilenet_schema::{ComparisonPlan, Form};

use super::{Advice, Inspect};

/// One process and the artefact it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Describe the data set: `data.json`
    Data,
    /// Layers, parameters, MACs: `summary-<model>.json`, `summary-<model>-imagenet.json`
    Summary {
        /// The network
        network: Network,
        /// At 224×224 pixels instead of 32×32
        imagenet: bool,
    },
    /// Latency, throughput and memory of inference, once in each round: `bench-<model>.json`, `bench-<model>-2.json` …
    Bench {
        /// The network
        network: Network,
        /// Its number, from 1
        round: u64,
    },
    /// Speed and memory of training steps: `bench-<model>-train.json`
    BenchTraining(Network),
    /// Time of each block in inference: `blocks-<model>.json`, with larger batches `blocks-<model>-batch<n>.json`
    Blocks {
        /// The network
        network: Network,
        /// Images at once
        batch: u64,
    },
    /// What the machine can do at best: `roofline.json`
    Roofline,
    /// `<model>-s<seed>/train.json`, written last
    Train(Network, u64),
    /// `<model>-s<seed>/eval.json`
    Eval(Network, u64),
    /// Export the first seed's network, for as long as it is measured: `shipped/<model>-<form>.safetensors`
    Export(Network, Form),
    /// Its accuracy by the runtime: `shipped/<model>-<form>-eval.json`
    ShippedEval(Network, Form),
    /// Its latency and memory, once in each round: `shipped/<model>-<form>-bench.json`, `…-bench-2.json` …
    ShippedBench {
        /// The network
        network: Network,
        /// What was made of it
        form: Form,
        /// Its number, from 1
        round: u64,
    },
    /// A part of the inspection of drawn flaws
    Inspect(Inspect),
    /// Train with a piece of the article's advice, or without any: `advice/<name>/train.json`
    Advice(Advice),
    /// `advice/<name>/eval.json`
    AdviceEval(Advice),
    /// Pictures for the grid of examples: `samples.json`
    Samples,
}

impl Stage {
    /// The file whose presence says that the stage is complete.
    pub fn artefact(&self, out: &Path) -> PathBuf {
        match self {
            Self::Data => out.join("data.json"),
            Self::Summary { network, imagenet } => out.join(summary_name(*network, *imagenet)),
            Self::Bench { network, round: 1 } => out.join(format!("bench-{network}.json")),
            Self::Bench { network, round } => out.join(format!("bench-{network}-{round}.json")),
            Self::BenchTraining(network) => out.join(format!("bench-{network}-train.json")),
            Self::Blocks { network, batch: 1 } => out.join(format!("blocks-{network}.json")),
            Self::Blocks { network, batch } => out.join(format!("blocks-{network}-batch{batch}.json")),
            Self::Roofline => out.join("roofline.json"),
            Self::Train(network, seed) => out.join(run_name(*network, *seed)).join("train.json"),
            Self::Eval(network, seed) => out.join(run_name(*network, *seed)).join("eval.json"),
            Self::Export(network, form) => out.join(format!("shipped/{network}-{form}.safetensors")),
            Self::ShippedEval(network, form) => out.join(format!("shipped/{network}-{form}-eval.json")),
            Self::ShippedBench { network, form, round: 1 } => out.join(format!("shipped/{network}-{form}-bench.json")),
            Self::ShippedBench { network, form, round } => {
                out.join(format!("shipped/{network}-{form}-bench-{round}.json"))
            }
            Self::Inspect(part) => part.artefact(out),
            Self::Advice(twin) => twin.run(out).join("train.json"),
            Self::AdviceEval(twin) => twin.run(out).join("eval.json"),
            Self::Samples => out.join("samples.json"),
        }
    }

    /// The folder of the run, if the stage is a training.
    pub fn training(&self, out: &Path) -> Option<PathBuf> {
        match self {
            Self::Train(network, seed) => Some(out.join(run_name(*network, *seed))),
            Self::Inspect(Inspect::Train) => Some(Inspect::run(out)),
            Self::Advice(twin) => Some(twin.run(out)),
            _ => None,
        }
    }

    /// The network and its form, if the stage makes or measures one that is shipped.
    pub fn shipped(&self) -> Option<(Network, Form)> {
        match *self {
            Self::Export(network, form)
            | Self::ShippedEval(network, form)
            | Self::ShippedBench { network, form, .. } => Some((network, form)),
            _ => None,
        }
    }
}

/// How often each network's inference is timed, the networks in turns: a machine shared with others has slow minutes,
/// which then meet all networks alike and are no network's median.
pub const BENCH_ROUNDS: u64 = 3;

/// Batches at which each block is timed: an image alone, whose latency the report divides among the blocks, and so many
/// that the weights no longer count among what is moved.
pub const BLOCK_BATCHES: [u64; 2] = [1, 128];

/// File name of a summary.
fn summary_name(network: Network, imagenet: bool) -> String {
    let suffix = if imagenet { "-imagenet" } else { "" };
    format!("summary-{network}{suffix}.json")
}

/// Folder name of one training run.
pub fn run_name(network: Network, seed: u64) -> String {
    format!("{network}-s{seed}")
}

/// The networks that the audits count, compared or not.
const AUDITED: [Arch; 3] = [Arch::V2, Arch::V3Large, Arch::V3Small];

/// The networks with a summary: those of the audits, then what else is compared.
pub fn summarized(settings: &ComparisonPlan) -> Vec<Network> {
    let mut networks: Vec<Network> = AUDITED.map(Network::from).into();
    networks.extend(settings.models.iter().filter(|network| !AUDITED.iter().any(|&arch| **network == arch.into())));
    networks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::settings;

    #[test]
    fn other_widths_have_artefacts_of_their_own() {
        let network: Network = "v2@0.5".parse().unwrap();
        let path = |stage: Stage| stage.artefact(Path::new(""));
        assert_eq!(path(Stage::Summary { network, imagenet: false }), Path::new("summary-v2@0.5.json"));
        assert_eq!(path(Stage::Train(network, 1)), Path::new("v2@0.5-s1/train.json"));
        assert_ne!(path(Stage::Bench { network, round: 1 }), path(Stage::Bench { network, round: 2 }));
        let shipped = Stage::ShippedBench { network, form: Form::Int8, round: 3 };
        assert_eq!(shipped.shipped(), Some((network, Form::Int8)));
        assert_eq!(path(shipped), Path::new("shipped/v2@0.5-int8-bench-3.json"));
    }

    #[test]
    fn trainings_have_a_folder_each() {
        let folder = |stage: Stage| stage.training(Path::new(""));
        let network = Network::from(Arch::V2);
        assert_eq!(folder(Stage::Train(network, 3)).as_deref(), Some(Path::new("v2-s3")));
        assert_eq!(folder(Stage::Inspect(Inspect::Train)).as_deref(), Some(Path::new("flaws/v3-large")));
        for twin in Advice::ALL {
            let stage = Stage::Advice(twin);
            assert_eq!(stage.artefact(Path::new("")).parent(), folder(stage.clone()).as_deref());
            assert_eq!(folder(Stage::AdviceEval(twin)), None);
        }
    }

    #[test]
    fn every_published_network_has_a_summary() {
        let models = ["v2", "v2-hs"].map(|key| key.parse().unwrap()).into();
        let keys: Vec<_> = summarized(&ComparisonPlan { models, ..settings() }).iter().map(|n| n.key()).collect();
        assert_eq!(keys, ["v2", "v3-large", "v3-small", "v2-hs"]);
    }
}
