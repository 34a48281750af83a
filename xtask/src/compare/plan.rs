//! What a comparison is: its settings, kept as `plan.json`, and the stages that follow from them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::{Arch, Precision, Profile, RecipeName, Source};
use super::network::Network;

/// How the networks are trained: a recipe of `mobilenet train`, and what is changed of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// `mobilenet train --recipe`
    #[serde(default)]
    pub name: RecipeName,
    /// Passes over the training images
    pub epochs: u64,
    /// Images per step
    pub batch_size: u64,
    /// Only the first so many training images; all of them if absent
    pub limit_train: Option<u64>,
    /// Only the first so many test images; all of them if absent
    pub limit_test: Option<u64>,
    /// `mobilenet train --optimizer`, if not the recipe's
    pub optimizer: Option<String>,
    /// Peak learning rate, if not the recipe's
    pub lr: Option<f64>,
    /// Weight decay, if not the recipe's
    pub weight_decay: Option<f64>,
    /// `mobilenet train --schedule`, if not the recipe's
    pub schedule: Option<String>,
}

impl Recipe {
    /// The recipe as it is.
    fn plain(name: RecipeName, epochs: u64) -> Self {
        Self {
            name,
            epochs,
            batch_size: 128,
            limit_train: None,
            limit_test: None,
            optimizer: None,
            lr: None,
            weight_decay: None,
            schedule: None,
        }
    }

    /// In a few words: the recipe and what is changed of it.
    pub fn describe(&self) -> String {
        let mut parts = vec![format!("recipe {}", self.name.key())];
        parts.extend(self.optimizer.clone());
        parts.extend(self.lr.map(|lr| format!("learning rate {lr}")));
        parts.extend(self.weight_decay.map(|decay| format!("weight decay {decay}")));
        parts.extend(self.schedule.as_ref().map(|schedule| format!("{schedule} schedule")));
        parts.join(", ")
    }
}

/// The numbers of each profile.
///
/// V3's batch norm moves its running statistics by a hundredth per step: below some 300 steps in all they still remember
/// their initial values, and the network evaluates at chance however well it trains. Hence smoke's small batches.
pub fn recipe(profile: Profile) -> Recipe {
    let short = |batch_size, limit_train, limit_test| Recipe {
        batch_size,
        limit_train,
        limit_test,
        lr: Some(2e-3),
        schedule: Some("one-cycle".to_owned()),
        ..Recipe::plain(RecipeName::Article, 4)
    };
    match profile {
        Profile::Smoke => short(16, Some(4_096), Some(1_000)),
        Profile::Quick => short(64, None, None),
        Profile::Fast => Recipe::plain(RecipeName::Fast, 36),
        Profile::Article => Recipe::plain(RecipeName::Article, 100),
    }
}

/// Everything that decides what the artefacts of a comparison hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The profile the recipe started from
    pub profile: Profile,
    /// Networks, in the order of the report
    pub models: Vec<Network>,
    /// One training per network and seed
    pub seeds: Vec<u64>,
    /// `--data`
    pub data: Source,
    /// `--data-dir`, as it was typed
    pub data_dir: Option<PathBuf>,
    /// `--threads`
    pub threads: Option<u64>,
    /// `--device`
    pub device: String,
    /// `--precision` of the trainings
    #[serde(default)]
    pub precision: Precision,
    /// Hyper-parameters
    pub recipe: Recipe,
}

impl Settings {
    /// Settings in which `self` and `earlier` differ, as (name, earlier value, present value). More or fewer
    /// models and seeds do no harm: their artefacts lie side by side.
    pub fn differences(&self, earlier: &Self) -> Vec<(String, String, String)> {
        let comparable = |settings: &Self| {
            let mut settings = settings.clone();
            settings.models.clear();
            settings.seeds.clear();
            settings.data_dir = settings.data_dir.map(|dir| dir.canonicalize().unwrap_or(dir));
            let mut fields = Vec::new();
            if let Ok(value) = serde_json::to_value(&settings) {
                flatten("", &value, &mut fields);
            }
            fields
        };
        comparable(earlier)
            .into_iter()
            .zip(comparable(self))
            .filter(|(before, now)| before != now)
            .map(|((name, before), (_, now))| (name, before, now))
            .collect()
    }

    /// True if this network is trained with this seed.
    pub fn has(&self, network: Network, seed: u64) -> bool {
        self.models.contains(&network) && self.seeds.contains(&seed)
    }

    /// Reads `plan.json` of a comparison's folder.
    pub fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join("plan.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings =
            serde_json::from_str(&text).with_context(|| format!("{} is not a comparison's plan", path.display()))?;
        Ok(Some(settings))
    }

    /// Fails if the folder's earlier artefacts were made with other settings.
    pub fn check_against(&self, out: &Path) -> Result<()> {
        // Before the first artefact, a plan binds nobody.
        let begun = Stage::Data.artefact(out).exists();
        let Some(earlier) = Self::read(out)?.filter(|_| begun) else {
            return Ok(());
        };
        let differences = self.differences(&earlier);
        if let Some((name, before, now)) = differences.first() {
            let others = match differences.len() - 1 {
                0 => String::new(),
                n => format!(" (and {n} more)"),
            };
            bail!(
                "{} holds a comparison with {name} = {before}, this one has {name} = {now}{others}; \
                 choose another --out, repeat the earlier options, or remove that folder",
                out.display()
            );
        }
        Ok(())
    }
}

/// Leaves of a JSON value with their dotted names.
pub fn flatten(prefix: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                let name =
                    if prefix.is_empty() || prefix == "recipe" { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, inner, fields);
            }
        }
        Value::Null => fields.push((prefix.to_owned(), "none".to_owned())),
        Value::String(text) => fields.push((prefix.to_owned(), text.clone())),
        other => fields.push((prefix.to_owned(), other.to_string())),
    }
}

/// One process and the artefact it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Describe the data set: `data.json`
    Data,
    /// Layers, parameters, MACs: `summary-<model>.json`, `summary-<model>-imagenet.json`
    Summary { network: Network, imagenet: bool },
    /// Latency, throughput and memory of inference: `bench-<model>.json`
    Bench(Network),
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
            Self::Bench(network) => format!("time inference, {network}"),
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
            Self::Bench(network) => out.join(format!("bench-{network}.json")),
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

/// Batches at which each block is timed: an image alone, whose latency the report divides among the blocks, and so many that
/// the weights no longer count among what is moved.
pub const BLOCK_BATCHES: [u64; 2] = [1, 128];

/// Untimed and timed passes of [`Stage::Blocks`].
pub fn block_passes(batch: u64) -> (u64, u64) {
    if batch == 1 { (10, 100) } else { (2, 10) }
}

/// File name of a summary.
pub fn summary_name(network: Network, imagenet: bool) -> String {
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
    for &network in &settings.models {
        stages.extend([Stage::Bench(network), Stage::BenchTraining(network)]);
    }
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
pub mod tests {
    use super::*;

    /// Settings with numbers of their own: what is tested with them does not hang on how a profile is tuned.
    pub fn settings() -> Settings {
        let recipe = Recipe {
            epochs: 3,
            batch_size: 16,
            limit_train: Some(2_000),
            limit_test: Some(1_000),
            ..recipe(Profile::Smoke)
        };
        Settings {
            profile: Profile::Smoke,
            models: vec![Arch::V2.into(), Arch::V3Large.into()],
            seeds: vec![1],
            data: Source::Auto,
            data_dir: None,
            threads: None,
            device: "cpu".to_owned(),
            precision: Precision::F32,
            recipe,
        }
    }

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
    fn no_samples_means_no_pictures() {
        assert!(!stages(&settings(), false).contains(&Stage::Samples));
    }

    #[test]
    fn more_seeds_are_the_same_comparison_but_other_epochs_are_not() {
        let earlier = settings();
        let mut now = earlier.clone();
        now.seeds.push(7);
        now.models = vec![Arch::V3Small.into()];
        assert_eq!(now.differences(&earlier), []);
        now.recipe.epochs = 9;
        now.threads = Some(2);
        let names: Vec<_> = now.differences(&earlier).into_iter().collect();
        assert_eq!(
            names,
            [
                ("epochs".to_owned(), earlier.recipe.epochs.to_string(), "9".to_owned()),
                ("threads".to_owned(), "none".to_owned(), "2".to_owned()),
            ]
        );
    }

    #[test]
    fn the_article_profile_is_the_article() {
        let article = recipe(Profile::Article);
        assert_eq!((article.epochs, article.batch_size), (100, 128));
        assert_eq!(article.describe(), "recipe article");
        assert_eq!((article.limit_train, article.limit_test), (None, None));
    }
}
