//! From a folder of artefacts to what the report is made of.

mod found;
mod quiet;

use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;

use super::artefacts::{self, Bench, Blocks, DataInfo, Epoch, Eval, Picture, Roofline, Samples, Summary, TrainRecord};
use super::command;
use super::estimate::Sizes;
use super::network::{self, Network};
use super::origins::{self, Origin};
use super::plan::{BLOCK_BATCHES, Settings, Stage, run_name, stages, summarized};
use super::stats::{self, Answers, Comparison};

/// Everything that a comparison has left.
#[derive(Debug)]
pub struct Gathered {
    pub settings: Settings,
    pub data: DataInfo,
    pub models: Vec<Model>,
    pub summaries: Vec<Counts>,
    pub roofline: Option<Roofline>,
    pub pictures: Vec<Picture>,
    /// That of the last run; `origins` has all
    pub environment: Value,
    pub origins: Vec<Origin>,
    /// Each pair of networks held against each other, that of the verdict first
    pub comparisons: Vec<Pair>,
    pub commands: Vec<String>,
    /// What is missing or odd, one sentence each
    pub notes: Vec<String>,
}

/// Two networks and how their accuracies compare; nothing if they saw different images.
#[derive(Debug)]
pub struct Pair {
    pub first: Network,
    pub second: Network,
    pub comparison: Option<Comparison>,
}

/// What is gathered.
#[derive(Copy, Clone, Debug, Default)]
pub struct Scope {
    /// The data set's own pictures, if they are there
    pub pictures: bool,
    /// Every finished run in the folder, not only those of the last plan
    pub every_run: bool,
}

/// Layers and counts of one network at both presets.
#[derive(Debug)]
pub struct Counts {
    pub arch: Network,
    pub cifar: Summary,
    pub imagenet: Option<Summary>,
}

/// One network.
#[derive(Debug)]
pub struct Model {
    pub arch: Network,
    pub params: u64,
    pub macs: u64,
    pub bench: Option<Bench>,
    pub training_bench: Option<Bench>,
    /// Block by block, at each of the batches that were timed
    pub blocks: Vec<Blocks>,
    pub runs: Vec<Run>,
}

/// One finished training.
#[derive(Debug)]
pub struct Run {
    pub seed: u64,
    pub name: String,
    pub epochs: Vec<Epoch>,
    pub record: TrainRecord,
    pub eval: Eval,
    /// `train` of its `config.json`
    pub settings: Value,
}

impl Model {
    /// Mean over the seeds.
    pub fn mean(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        stats::mean(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// Spread over the seeds; 0 for one seed.
    pub fn deviation(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        stats::deviation(&self.runs.iter().map(figure).collect::<Vec<_>>())
    }

    /// Test accuracy, mean over the seeds.
    pub fn test_top1(&self) -> f64 {
        self.mean(|run| run.eval.test_top1)
    }

    /// Accuracy on plain training images, mean over the seeds.
    pub fn train_top1(&self) -> f64 {
        self.mean(|run| run.eval.train_top1)
    }

    /// Images per second of training, mean over the seeds.
    pub fn training_speed(&self) -> f64 {
        self.mean(|run| run.record.images_per_second)
    }

    /// Highest resident memory of any training process, in bytes.
    pub fn training_memory(&self) -> Option<u64> {
        self.runs.iter().filter_map(|run| run.record.peak_rss_bytes).max()
    }

    /// Median latency in milliseconds.
    pub fn latency(&self) -> Option<f64> {
        self.bench.as_ref().map(|bench| bench.latency_ms.p50)
    }

    /// The times of its blocks at a batch.
    pub fn blocks_at(&self, batch: u64) -> Option<&Blocks> {
        self.blocks.iter().find(|blocks| blocks.batch == batch && !blocks.blocks.is_empty())
    }

    /// The evaluations of all runs.
    pub fn evals(&self) -> Vec<&Eval> {
        self.runs.iter().map(|run| &run.eval).collect()
    }

    /// The answers of all runs.
    pub fn answers(&self) -> Vec<Answers<'_>> {
        self.runs.iter().map(Run::answers).collect()
    }
}

impl Run {
    /// For the tests of significance.
    pub fn answers(&self) -> Answers<'_> {
        let Eval { test_top1, labels, predicted, .. } = &self.eval;
        Answers { seed: self.seed, top1: *test_top1, labels, predicted }
    }
}

impl Gathered {
    /// One network of the comparison.
    pub fn model(&self, network: impl Into<Network>) -> Option<&Model> {
        let network = network.into();
        self.models.iter().find(|model| model.arch == network)
    }

    /// Counts of any network, compared or not.
    pub fn counts(&self, network: impl Into<Network>) -> Option<&Counts> {
        let network = network.into();
        self.summaries.iter().find(|counts| counts.arch == network)
    }

    /// All networks, in the order of the report.
    pub fn networks(&self) -> Vec<Network> {
        self.models.iter().map(|model| model.arch).collect()
    }

    /// The two networks the verdict is about.
    pub fn pair(&self) -> Option<(&Model, &Model)> {
        let (first, second) = network::pair(&self.networks());
        Some((self.models.get(first)?, self.models.get(second?)?))
    }

    /// How these two compare.
    pub fn difference(&self) -> Option<&Comparison> {
        self.comparisons.first()?.comparison.as_ref()
    }

    /// The networks that are shown one by one, with a picture or a column each: all, or the two of the verdict where there
    /// are more than six.
    pub fn few(&self) -> Vec<&Model> {
        const FEW: usize = 6;
        match self.pair() {
            Some((first, second)) if self.models.len() > FEW => vec![first, second],
            _ => self.models.iter().collect(),
        }
    }

    /// Images per epoch and test images.
    pub fn sizes(&self) -> Sizes {
        Sizes::new(&self.settings, Some(&self.data))
    }

    /// Share of the article's training that was run.
    pub fn share_of_article(&self) -> f64 {
        self.sizes().share_of_article(self.settings.recipe.epochs)
    }

    /// True if accuracies may be held against the article's: its data, all of it, as many epochs.
    pub fn is_articles_protocol(&self) -> bool {
        let sizes = self.sizes();
        self.data.name == "cifar10" && self.share_of_article() >= 0.95 && sizes.test >= 10_000
    }
}

/// Reads the artefacts under `out`. Runs that are not complete are left out and named in the notes; a folder
/// without one complete run is an error.
pub fn gather(out: &Path, scope: Scope) -> Result<Gathered> {
    let Some(mut settings) = Settings::read(out)? else {
        bail!("{} holds no comparison (no plan.json)", out.display());
    };
    let data: DataInfo = artefacts::read(&Stage::Data.artefact(out))?;
    let mut notes = Vec::new();
    let planned = settings.clone();
    if scope.every_run {
        notes.extend(found::extend(&mut settings, out)?);
    }

    let mut summaries = Vec::new();
    for network in summarized(&settings) {
        let read = |imagenet| artefacts::read::<Summary>(&Stage::Summary { network, imagenet }.artefact(out));
        match read(false) {
            Ok(cifar) => summaries.push(Counts { arch: network, cifar, imagenet: read(true).ok() }),
            Err(error) if settings.models.contains(&network) => return Err(error),
            Err(_) => {}
        }
    }

    let mut models = Vec::new();
    let mut origins = Vec::new();
    for &network in &settings.models {
        let mut runs = Vec::new();
        for &seed in &settings.seeds {
            match found::read_run(out, &settings, network, seed) {
                Ok((run, origin)) => {
                    origins.push(origin);
                    runs.push(run);
                }
                // Nobody asked for each network with each seed that any other has.
                Err(_) if !planned.has(network, seed) && !out.join(run_name(network, seed)).exists() => {}
                Err(error) => notes.push(format!("{} is left out: {error:#}.", run_name(network, seed))),
            }
        }
        let Some(counts) = summaries.iter().find(|c| c.arch == network) else { continue };
        if runs.is_empty() {
            continue;
        }
        let bench = |stage: Stage| artefacts::read::<Bench>(&stage.artefact(out)).ok();
        models.push(Model {
            arch: network,
            params: counts.cifar.params,
            macs: counts.cifar.macs,
            bench: bench(Stage::Bench(network)),
            training_bench: bench(Stage::BenchTraining(network)),
            blocks: BLOCK_BATCHES
                .iter()
                .filter_map(|&batch| artefacts::read(&Stage::Blocks { network, batch }.artefact(out)).ok())
                .collect(),
            runs,
        });
    }
    if models.is_empty() {
        bail!("{} holds no finished run: {}", out.display(), notes.join(" "));
    }
    let environment = origins.last().map_or(Value::Null, |origin| origin.environment.clone());
    for model in &models {
        let Some(bench) = &model.bench else { continue };
        let what = format!("latency of {}", model.arch.short());
        origins.push(Origin { what, environment: bench.environment.clone(), copy: None });
    }
    notes.extend(models.iter().flat_map(quiet::notes));
    notes.extend(origins::differences(&origins));

    let pictures = match artefacts::read::<Samples>(&Stage::Samples.artefact(out)) {
        Ok(samples) if scope.pictures => samples.images,
        _ => Vec::new(),
    };
    let indices: Vec<_> = pictures.iter().map(|picture| picture.index).collect();
    let commands = stages(&settings, !pictures.is_empty())
        .iter()
        .map(|stage| {
            let mut args = command::arguments(stage, &settings, out, Some(&data), &indices);
            args.retain(|arg| arg != "--resume");
            command::display(&args)
        })
        .collect();
    let comparisons = compare(&models);
    let roofline = artefacts::read(&Stage::Roofline.artefact(out)).ok();
    Ok(Gathered {
        settings,
        data,
        models,
        summaries,
        roofline,
        pictures,
        environment,
        origins,
        comparisons,
        commands,
        notes,
    })
}

/// Every pair of networks, that of the verdict first.
fn compare(models: &[Model]) -> Vec<Pair> {
    let mut pairs: Vec<(&Model, &Model)> =
        models.iter().enumerate().flat_map(|(i, a)| models[i + 1..].iter().map(move |b| (a, b))).collect();
    let networks: Vec<_> = models.iter().map(|model| model.arch).collect();
    if let (first, Some(second)) = network::pair(&networks) {
        let (first, second) = (networks[first], networks[second]);
        let is_verdicts =
            |a: &Model, b: &Model| (a.arch, b.arch) == (first, second) || (b.arch, a.arch) == (first, second);
        pairs.sort_by_key(|(a, b)| !is_verdicts(a, b));
        pairs.iter_mut().filter(|(a, b)| is_verdicts(a, b) && a.arch != first).for_each(|(a, b)| std::mem::swap(a, b));
    }
    pairs
        .into_iter()
        .map(|(a, b)| Pair { first: a.arch, second: b.arch, comparison: stats::compare(&a.answers(), &b.answers()) })
        .collect()
}

#[cfg(test)]
pub mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::names::Arch;
    use super::*;

    /// A small comparison, committed: two networks, one seed, twelve test images.
    pub fn fixture() -> Gathered {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison");
        gather(&folder, Scope { pictures: true, ..Scope::default() }).unwrap()
    }

    /// The fixture with other networks (keys as on the command line): each is its V2 under another name, a little faster,
    /// smaller and less accurate than the one before it.
    pub fn fixture_of(models: &str) -> Gathered {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison");
        let networks = models.split(',').flat_map(|word| word.parse::<network::Selection>().unwrap().0);
        let networks: Vec<Network> = networks.collect();
        // Tests run side by side, some with the same networks.
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let call = CALLS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("xtask-{}-{call}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = |name: &str| artefacts::read::<Value>(&fixture.join(name)).unwrap();
        let write = |name: String, value: &Value| {
            std::fs::write(folder.join(name), serde_json::to_vec(value).unwrap()).unwrap();
        };
        write("data.json".to_owned(), &read("data.json"));
        let mut plan = read("plan.json");
        plan["models"] = serde_json::to_value(&networks).unwrap();
        write("plan.json".to_owned(), &plan);
        for (i, network) in networks.iter().enumerate() {
            let share = 1.0 - i as f64 / 20.0;
            let mut summary = read("summary-v2.json");
            summary["params"] = ((2e6 * share) as u64).into();
            write(format!("summary-{network}.json"), &summary);
            let mut bench = read("bench-v2.json");
            bench["latency_ms"]["p50"] = (2.0 * share).into();
            write(format!("bench-{network}.json"), &bench);
            let run = run_name(*network, 1);
            std::fs::create_dir_all(folder.join(&run)).unwrap();
            for name in ["config.json", "metrics.jsonl", "train.json"] {
                std::fs::copy(fixture.join("v2-s1").join(name), folder.join(&run).join(name)).unwrap();
            }
            let mut eval = read("v2-s1/eval.json");
            eval["test_top1"] = (0.5 * share).into();
            write(format!("{run}/eval.json"), &eval);
        }
        let gathered = gather(&folder, Scope::default()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        gathered
    }

    #[test]
    fn many_networks_are_shown_by_their_pair() {
        let gathered = fixture_of("widths");
        assert_eq!(gathered.models.len(), 15);
        let few: Vec<_> = gathered.few().iter().map(|model| model.arch.key()).collect();
        assert_eq!(few, ["v2", "v3-large"]);
        assert_eq!(fixture_of("ladder").few().len(), 5);
    }

    #[test]
    fn the_fixture_is_read_whole() {
        let gathered = fixture();
        assert!(gathered.notes.is_empty(), "{:?}", gathered.notes);
        let (v2, v3) = gathered.pair().unwrap();
        assert_eq!((v2.arch, v3.arch), (Arch::V2.into(), Arch::V3Large.into()));
        assert_eq!((v2.params, v3.params), (2_236_682, 4_214_842));
        assert_eq!(v2.runs[0].epochs.len(), 3);
        assert_eq!(v2.runs[0].eval.labels.len(), 12);
        assert_eq!(v2.latency(), Some(2.11));
        assert_eq!(gathered.summaries.len(), 3);
        assert_eq!(gathered.environment["cores"], 2);
        assert!(gathered.commands.iter().any(|c| c.contains("train --model v3-large")));
        assert!(!gathered.is_articles_protocol());
        let only_one = &gathered.difference().unwrap().mcnemar[0];
        assert_eq!((only_one.only_first, only_one.only_second), (2, 6));
    }

    #[test]
    fn a_folder_without_a_comparison_says_so() {
        let error = gather(&std::env::temp_dir().join("xtask-no-such-folder"), Scope::default()).unwrap_err();
        assert!(error.to_string().contains("no plan.json"), "{error}");
    }
}
