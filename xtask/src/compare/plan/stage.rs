//! The processes of a comparison, in order, and the artefact that each leaves.

use std::path::{Path, PathBuf};

use super::Settings;
use crate::compare::names::Arch;
use crate::compare::network::Network;

/// One process and the artefact it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Describe the data set: `data.json`
    Data,
    /// Layers, parameters, MACs: `summary-<model>.json`, `summary-<model>-imagenet.json`
    Summary { network: Network, imagenet: bool },
    /// Latency, throughput and memory of inference, once in each round: `bench-<model>.json`, `bench-<model>-2.json` …
    Bench { network: Network, round: u64 },
    /// Speed and memory of training steps: `bench-<model>-train.json`
    BenchTraining(Network),
    /// Time of each block in inference: `blocks-<model>.json`, with larger batches `blocks-<model>-batch<n>.json`
    Blocks { network: Network, batch: u64 },
    /// What the machine can do at best: `roofline.json`
    Roofline,
    /// `<model>-s<seed>/train.json`, written last
    Train(Network, u64),
    /// `<model>-s<seed>/eval.json`
    Eval(Network, u64),
    /// Pictures for the grid of examples: `samples.json`
    Samples,
}

impl Stage {
    /// What is done, in a few words.
    pub fn title(&self) -> String {
        match self {
            Self::Data => "look at the data".to_owned(),
            Self::Summary { network, imagenet } => {
                let preset = if *imagenet { "imagenet" } else { "cifar" };
                format!("count layers, {network}, {preset} preset")
            }
            Self::Bench { network, round } => format!("time inference, {network}, round {round} of {BENCH_ROUNDS}"),
            Self::BenchTraining(network) => format!("time training steps, {network}"),
            Self::Blocks { network, batch } => format!("time each block, {network}, batch {batch}"),
            Self::Roofline => "measure the machine's roofline".to_owned(),
            Self::Train(network, seed) => format!("train {network}, seed {seed}"),
            Self::Eval(network, seed) => format!("evaluate {network}, seed {seed}"),
            Self::Samples => "fetch example pictures".to_owned(),
        }
    }

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
            Self::Samples => out.join("samples.json"),
        }
    }
}

/// How often each network's inference is timed, the networks in turns: a machine shared with others has slow minutes, which
/// then meet all networks alike and are no network's median.
pub const BENCH_ROUNDS: u64 = 3;

/// Batches at which each block is timed: an image alone, whose latency the report divides among the blocks, and so many that
/// the weights no longer count among what is moved.
pub const BLOCK_BATCHES: [u64; 2] = [1, 128];

/// Untimed and timed passes of [`Stage::Blocks`].
pub fn block_passes(batch: u64) -> (u64, u64) {
    if batch == 1 { (10, 100) } else { (2, 10) }
}

/// File name of a summary.
fn summary_name(network: Network, imagenet: bool) -> String {
    let suffix = if imagenet { "-imagenet" } else { "" };
    format!("summary-{network}{suffix}.json")
}

/// Folder name of one training run.
pub fn run_name(network: Network, seed: u64) -> String {
    format!("{network}-s{seed}")
}

/// All stages in order. Summaries cover every published network, compared or not: they take no time, and the audit of the
/// article's claims needs them. Timing comes before training, while the machine is cool and quiet.
pub fn stages(settings: &Settings, samples: bool) -> Vec<Stage> {
    let mut stages = vec![Stage::Data];
    for imagenet in [false, true] {
        stages.extend(summarized(settings).into_iter().map(|network| Stage::Summary { network, imagenet }));
    }
    for round in 1..=BENCH_ROUNDS {
        stages.extend(settings.models.iter().map(|&network| Stage::Bench { network, round }));
    }
    stages.extend(settings.models.iter().map(|&network| Stage::BenchTraining(network)));
    // What is timed block by block are the CPU's kernels.
    if settings.device == "cpu" {
        for &network in &settings.models {
            stages.extend(BLOCK_BATCHES.map(|batch| Stage::Blocks { network, batch }));
        }
        stages.push(Stage::Roofline);
    }
    for &seed in &settings.seeds {
        for &network in &settings.models {
            stages.extend([Stage::Train(network, seed), Stage::Eval(network, seed)]);
        }
    }
    if samples {
        stages.push(Stage::Samples);
    }
    stages
}

/// The networks with a summary: the published ones, then what else is compared.
pub fn summarized(settings: &Settings) -> Vec<Network> {
    let mut networks: Vec<Network> = Arch::PUBLISHED.map(Network::from).into();
    networks
        .extend(settings.models.iter().filter(|network| !Arch::PUBLISHED.iter().any(|&arch| **network == arch.into())));
    networks
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    #[test]
    fn every_run_is_trained_before_it_is_evaluated() {
        let mut settings = settings();
        settings.seeds = vec![1, 2];
        let stages = stages(&settings, true);
        let position = |stage: &Stage| stages.iter().position(|s| s == stage).unwrap();
        for seed in [1, 2] {
            for arch in [Arch::V2, Arch::V3Large] {
                let eval = position(&Stage::Eval(arch.into(), seed));
                assert!(position(&Stage::Train(arch.into(), seed)) < eval);
                assert!(eval < position(&Stage::Samples));
            }
        }
        assert_eq!(stages[0], Stage::Data);
        let mut files: Vec<_> = stages.iter().map(|s| s.artefact(Path::new(""))).collect();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), stages.len(), "two stages share an artefact");
    }

    #[test]
    fn other_widths_have_artefacts_of_their_own() {
        let models = ["v2", "v2@0.5", "v2-hs"].map(|key| key.parse().unwrap()).into();
        let stages = stages(&Settings { models, ..settings() }, false);
        let files: Vec<_> = stages.iter().map(|s| s.artefact(Path::new(""))).collect();
        for file in ["summary-v2@0.5.json", "summary-v3-small.json", "bench-v2-hs.json", "v2@0.5-s1/train.json"] {
            assert_eq!(files.iter().filter(|path| **path == Path::new(file)).count(), 1, "{file}");
        }
    }

    #[test]
    fn blocks_are_timed_on_the_cpu_alone() {
        let block_stages = |device: &str| {
            let settings = Settings { device: device.to_owned(), ..settings() };
            let is_one = |stage: &Stage| matches!(stage, Stage::Blocks { .. } | Stage::Roofline);
            stages(&settings, true).iter().filter(|stage| is_one(stage)).count()
        };
        assert_eq!((block_stages("cpu"), block_stages("cuda")), (2 * BLOCK_BATCHES.len() + 1, 0));
    }

    #[test]
    fn networks_are_timed_in_turns() {
        let stages = stages(&settings(), true);
        let turns: Vec<_> = stages.iter().filter(|stage| matches!(stage, Stage::Bench { .. })).collect();
        assert_eq!(turns.len() as u64, 2 * BENCH_ROUNDS);
        for (turn, arch) in turns.iter().zip([Arch::V2, Arch::V3Large].into_iter().cycle()) {
            assert!(matches!(turn, Stage::Bench { network, .. } if *network == arch.into()), "{turns:?}");
        }
    }

    #[test]
    fn no_samples_means_no_pictures() {
        assert!(!stages(&settings(), false).contains(&Stage::Samples));
    }
}
