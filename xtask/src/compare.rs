//! `cargo xtask compare`: trains, evaluates and times MobileNetV2 and V3, each in a process of its own, and writes
//! a report that compares the article's figures with ours.

mod advice;
mod announce;
mod arguments;
pub mod build;
mod commands;
mod complete;
mod estimate;
mod process;
mod profile;
mod run;
mod stages;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use mobilenet_arch::{Arch, Network, Selection, Width};
use mobilenet_report::text::list;
use mobilenet_report::{Scope, Snapshot, Stage, against, data_warning, describe_change, gather, lock, verdict, write};
use mobilenet_schema::{Against, ComparisonPlan, PlannedRecipe, Precision, Profile, RecipeName, Source};

use crate::files;
use advice::AdviceArgs;

/// Compare MobileNetV2 and V3: train, evaluate, time, report
///
/// Trains each network with each seed, evaluates it, measures latency, throughput and memory, measures it once more as it
/// is shipped (exported, in 8 bits, with simpler activations), and writes report.html, report.md and results.json. It
/// can be stopped at any time: the same command resumes where it stopped.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask compare --profile smoke                  does everything work? A few minutes
  cargo xtask compare                                  about half an hour on two cores
  cargo xtask compare --data-dir data/cifar10          with a copy of CIFAR-10 that is there already
  cargo xtask compare --models v2,v3-large,v3-small --seeds 1,2,3
  cargo xtask compare --profile fast --precision bf16 --seeds 1,2   hours on two cores: 30 epochs of all images
  cargo xtask compare --models ladder --recipe article --out runs/ladder   what does each part of V3 bring?
  cargo xtask compare --models widths --out runs/widths    which width is worth its cost? `mobilenet choose` reads it
  cargo xtask compare --models v2,v3-small --advice        does what the article advises help the smaller one?
  cargo xtask compare --profile article --device cuda  the article's 100 epochs
  cargo xtask compare --report-only runs/compare-quick only write the report again
  cargo xtask compare --against runs/old               and compare it with an earlier comparison

--data-dir may hold CIFAR's binary version (data_batch_*.bin), its parquet files, or train/<class>/* and
test/<class>/*.")]
pub struct Args {
    /// How much is done
    #[arg(long, value_enum, default_value = "quick")]
    profile: Profile,
    // Its help is made of what the registry of networks says.
    #[arg(long, help = models_help(), long_help = models_long_help())]
    #[arg(value_name = "NETWORK,...", value_delimiter = ',', default_value = "v2,v3-large")]
    models: Vec<Selection>,
    /// Seeds, separated by commas; each network is trained once with each
    #[arg(long, value_delimiter = ',', default_value = "1")]
    seeds: Vec<u64>,
    /// Settings of the trainings instead of the profile's, with the recipe's own learning rate and schedule
    #[arg(long, value_enum)]
    recipe: Option<RecipeName>,
    /// Epochs of training instead of the profile's
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Data set
    #[arg(long, value_enum, default_value = "auto")]
    data: Source,
    /// Folder with the data set; nothing is downloaded then
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Folder for results and report [default: runs/compare-PROFILE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Threads of each process [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    threads: Option<u64>,
    /// cpu, cuda, cuda:N or metal
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    device: String,
    /// What the trainings multiply and keep; evaluation is always float32
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    #[command(flatten)]
    advice: AdviceArgs,
    /// A mobilenet binary that is there already, to be run instead of one that is built for this
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Leave the data set's own pictures out of the report
    #[arg(long)]
    no_samples: bool,
    /// An earlier comparison to compare this one with: its folder, or its results.json
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,
    /// Run nothing; write this folder's report again, with every finished run in it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "recipe", "epochs", "data_dir", "threads", "advice", "binary"])]
    report_only: Option<PathBuf>,
}

fn models_help() -> String {
    format!(
        "Networks, separated by commas: {}; with @WIDTH for another width multiplier; ladder; widths",
        Arch::names()
    )
}

fn models_long_help() -> String {
    let names = |archs: &mut dyn Iterator<Item = Arch>| list(&archs.map(|arch| arch.name().into()).collect::<Vec<_>>());
    let widths = list(&Width::PUBLISHED.map(|width| width.to_string()));
    format!(
        "{}\n\n`v2@0.5` is V2 with half the channels. `ladder` stands for {}: from V2 to V3-Large one change at a \
         time. \
         `widths` stands for {} at {widths} times the channels.",
        models_help(),
        names(&mut Arch::LADDER.into_iter()),
        names(&mut Arch::all().filter(|arch| arch.description().in_widths)),
    )
}

/// Where the networks run; handed on to `mobilenet --device`.
fn parse_device(text: &str) -> Result<String, String> {
    let known = match text.split_once(':') {
        Some(("cuda", ordinal)) => ordinal.parse::<usize>().is_ok(),
        Some(_) => false,
        None => matches!(text, "cpu" | "cuda" | "metal"),
    };
    if known { Ok(text.to_owned()) } else { Err("expected cpu, cuda, cuda:N or metal".to_owned()) }
}

/// Who else may be writing in a folder.
const BUSY: &str = "a comparison, or a process that one left behind, is still running";

/// How long a report waits for another that is being written into the same folder.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    // Read first: what is wrong with it is not to come out after hours of training.
    let earlier = args.against.as_deref().map(|path| Snapshot::read(path).map_err(of_against)).transpose()?;
    if let Some(out) = &args.report_only {
        if !out.is_dir() {
            bail!("{} is not a folder", out.display());
        }
        if let Some(earlier) = &earlier {
            earlier.check_other_than(out).map_err(of_against)?;
        }
        let _lock = lock(out, BUSY, PATIENCE)?;
        return report(out, args, earlier.as_ref());
    }
    let settings = settings(args)?;
    let binary = args.binary.as_deref().map(existing_binary).transpose()?;
    let out = args.out.clone().unwrap_or_else(|| default_out(settings.profile));
    profile::check_against(&settings, &out)?;
    if let Some(earlier) = &earlier {
        earlier.check_other_than(&out).map_err(of_against)?;
    }
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let lock = lock(&out, BUSY, Duration::ZERO)?;
    files::write(&out.join("plan.json"), &serde_json::to_vec_pretty(&settings)?)?;
    let stages = stages::stages(&settings, !args.no_samples);
    run::run(&settings, &out, &stages, binary, &lock)?;
    report(&out, args, earlier.as_ref())
}

/// The whole path of a binary that was named.
fn existing_binary(path: &Path) -> Result<PathBuf> {
    if !path.is_file() {
        let found = if path.exists() { "a folder" } else { "nothing" };
        bail!("--binary {}: expected a file, found {found}", path.display());
    }
    path.canonicalize().with_context(|| format!("--binary {}", path.display()))
}

fn report(out: &Path, args: &Args, earlier: Option<&Snapshot>) -> Result<()> {
    let pictures = Stage::Samples.artefact(out);
    if args.no_samples && pictures.exists() {
        // Who leaves the pictures out wants a folder without them; they are fetched again in a second.
        std::fs::remove_file(&pictures).with_context(|| format!("cannot remove {}", pictures.display()))?;
    }
    let scope = Scope { pictures: !args.no_samples, every_run: args.report_only.is_some() };
    let mut gathered = gather(out, scope)?;
    gathered.commands = commands::all(&gathered, out);
    let against = earlier.map(|earlier| against(earlier, &gathered));
    write(out, &gathered, against.as_ref())?;
    println!();
    if let Some(warning) = data_warning(&gathered.data) {
        println!("WARNING: {warning}\n");
    }
    for sentence in verdict(&gathered) {
        println!("{sentence}");
    }
    for note in &gathered.notes {
        println!("Note: {note}");
    }
    if let Some(against) = &against {
        say_against(against);
    }
    println!("\n{}", out.join("report.html").display());
    println!("{}", out.join("report.md").display());
    println!("{}", out.join("results.json").display());
    Ok(())
}

fn say_against(against: &Against) {
    println!("\nAgainst {}:", against.path.display());
    for warning in &against.warnings {
        println!("Note: {warning}");
    }
    for change in &against.networks {
        println!("{}", describe_change(change));
    }
    if against.networks.is_empty() {
        println!("the two comparisons have no network in common");
    }
}

/// An error of what `--against` names, which begins with its path.
fn of_against(error: mobilenet_report::Error) -> anyhow::Error {
    anyhow!("--against {error}")
}

/// The options as settings, checked as far as possible before any long work.
fn settings(args: &Args) -> Result<ComparisonPlan> {
    if args.data == Source::Folder && args.data_dir.is_none() {
        bail!("--data folder needs --data-dir");
    }
    if let Some(dir) = &args.data_dir {
        let mut entries =
            std::fs::read_dir(dir).with_context(|| format!("cannot read the data folder {}", dir.display()))?;
        if entries.next().is_none() {
            bail!("the data folder {} is empty", dir.display());
        }
    }
    let mut recipe = profile::recipe(args.profile);
    if let Some(name) = args.recipe {
        recipe = PlannedRecipe { name, optimizer: None, lr: None, weight_decay: None, schedule: None, ..recipe };
    }
    recipe.epochs = args.epochs.unwrap_or(recipe.epochs);
    let models: Vec<Network> = unique(&args.models.iter().flat_map(|word| word.0.iter().copied()).collect::<Vec<_>>());
    let seeds = unique(&args.seeds);
    Ok(ComparisonPlan {
        profile: args.profile,
        advice: args.advice.plan(&models, seeds.first().copied(), recipe.epochs, &args.device)?,
        models,
        seeds,
        data: args.data,
        data_dir: args.data_dir.clone(),
        threads: args.threads,
        device: args.device.clone(),
        precision: args.precision,
        recipe,
        out: Some(args.out.clone().unwrap_or_else(|| usual_out(args.profile))),
    })
}

/// Each value once, in the order given.
pub fn unique<T: PartialEq + Copy>(values: &[T]) -> Vec<T> {
    let mut seen = Vec::new();
    for &value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// `runs/compare-PROFILE`.
fn usual_out(profile: Profile) -> PathBuf {
    Path::new("runs").join(format!("compare-{}", profile.name()))
}

/// [`usual_out`] in the workspace, as short as it can be written from here.
fn default_out(profile: Profile) -> PathBuf {
    let out = usual_out(profile);
    let root = build::workspace_root();
    match std::env::current_dir() {
        Ok(here) if here == root => out,
        _ => root.join(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices() {
        for good in ["cpu", "cuda", "cuda:1", "metal"] {
            assert!(parse_device(good).is_ok(), "{good}");
        }
        for bad in ["gpu", "cuda:x", "metal:0", ""] {
            assert!(parse_device(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_binary_has_to_be_a_file() {
        let error = |path: &str| existing_binary(Path::new(path)).unwrap_err().to_string();
        assert_eq!(error("no-such-binary"), "--binary no-such-binary: expected a file, found nothing");
        assert_eq!(error("src"), "--binary src: expected a file, found a folder");
        assert!(existing_binary(Path::new("Cargo.toml")).unwrap().is_absolute());
    }

    #[test]
    fn an_earlier_comparison_that_is_none_is_named_by_its_option() {
        let error = Snapshot::read(Path::new("no-such-folder")).map_err(of_against).unwrap_err();
        assert_eq!(error.to_string(), "--against no-such-folder: there is no such folder or file");
    }
}
