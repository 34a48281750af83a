//! `cargo xtask peers`: this project and others on the same networks, side by side, in turns.

mod arguments;
mod cell;
mod environment;
mod figures;
mod level;
mod measure;
mod parts;
mod process;
mod quiet;
mod render;
mod runtime;
mod settings;
mod task;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mobilenet_arch::{Arch, Preset};
use mobilenet_report::text;

use self::environment::{Environment, PACKAGES, RUNTIME_PACKAGES};
use self::runtime::{RuntimePlan, RuntimeProgram};
use self::settings::PeersPlan;
use crate::compare::{build, unique};
use crate::files;

/// Measure this project against PyTorch, ONNX Runtime, OpenVINO and tract on this machine
///
/// Two parts, each with its own share of one Markdown file. The first times training steps, evaluation and the latency of
/// a single image, and takes the memory of training, of this project, of PyTorch (NCHW, channels_last, channels_last with
/// bf16 autocast) and of ONNX Runtime, on the same networks, for 32x32 images or 224x224. The second times networks that are ready to
/// ship, float32 and int8, 32x32 and 224x224: the runtime, ONNX Runtime, OpenVINO, tract and compiled PyTorch. Programs
/// take turns in rounds and ratios are taken round by round, so that a machine that gets slower meanwhile slows all of
/// them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask peers                                    about half an hour on two cores
  cargo xtask peers --part runtime                     what ships alone
  cargo xtask peers --part runtime --level avx2 --out docs/benchmarks-avx2.md
  cargo xtask peers --part training --preset imagenet  training of 224x224 images
  cargo xtask peers --part training --models v2 --rounds 1 --iterations 2 --out target/try.md
  cargo xtask peers --rounds 5 --iterations 10         for figures to be published
  cargo xtask peers --python ~/torch/bin/python        with packages that are there already

Without --python, the first call makes a Python environment in target/peers and installs torch, torchvision, timm,
onnxruntime, onnx, openvino and numpy there: a download that, depending on the system, takes some gigabytes. Needed for
that: python3 and a network. In the first part the peers run with glibc settings that keep the pages of freed memory, as
our own binary does: PyTorch is much slower without. Leave the machine alone while it measures. On Linux, a measurement
of the first part during which other programs used a tenth of a core or more is repeated, twice at most; if that does
not help, and in the second part at once, the result opens with a warning.")]
pub struct Args {
    /// What is measured, separated by commas: training, runtime
    #[arg(long, value_enum, value_delimiter = ',', default_value = "training,runtime")]
    part: Vec<Part>,
    /// Networks, separated by commas [default: v2,v3-large, of the runtime v3-small too]
    #[arg(long, value_parser = with_peer, value_delimiter = ',')]
    models: Vec<Arch>,
    /// Images of the first part: of 32x32 (cifar) or 224x224 (imagenet); the second has both
    #[arg(long, value_name = "PRESET", default_value = "cifar", value_parser = preset)]
    preset: Preset,
    /// Images per step of training and of evaluation; of 224x224 a quarter of them
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Threads of each process; the runtime's latency is measured on one, too
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u64).range(1..))]
    threads: u64,
    /// How often all programs take their turn [default: 3, of the runtime 9]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// Timed steps of each process of the first part; twenty times as many single images for the latency
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: u64,
    /// Programs of the second part, separated by commas; this project is always one [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    programs: Vec<RuntimeProgram>,
    /// Instruction set for us, OpenVINO and PyTorch; ONNX Runtime has no such switch [default: the best]
    #[arg(long, value_name = "LEVEL", value_parser = level::LEVELS)]
    level: Option<String>,
    /// File for the result [default: docs/benchmarks.md of this workspace]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Python interpreter that has the packages of the parts; nothing is installed then
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Training, evaluation and latency of the stack that trains
    Training,
    /// Networks that are ready to ship
    Runtime,
}

fn preset(name: &str) -> Result<Preset, String> {
    name.parse().map_err(|error: mobilenet_arch::Error| error.to_string())
}

/// A network that there is in Python, too.
fn with_peer(name: &str) -> Result<Arch, String> {
    let mut known = Arch::all().filter(|arch| arch.description().peer.is_some());
    let names = known.clone().map(Arch::name).collect::<Vec<_>>().join(", ");
    known.find(|arch| arch.name() == name).ok_or_else(|| format!("expected one of {names}"))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let out = args.out.clone().unwrap_or_else(|| build::workspace_root().join("docs").join("benchmarks.md"));
    // Better to fail now than after all the measuring.
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let packages: &[&str] = if args.part.contains(&Part::Training) { &PACKAGES } else { &RUNTIME_PACKAGES };
    let environment = environment::prepare(args.python.as_deref(), packages)?;
    for part in [Part::Training, Part::Runtime] {
        if args.part.contains(&part) {
            let sentences = match part {
                Part::Training => training(args, &environment, &out)?,
                Part::Runtime => shipped(args, &environment, &out)?,
            };
            println!();
            sentences.iter().for_each(|sentence| println!("{sentence}"));
        }
    }
    println!("\n{}", out.display());
    Ok(())
}

/// The file as it is; empty if it is not there.
fn existing(out: &Path) -> String {
    std::fs::read_to_string(out).unwrap_or_default()
}

/// Measures the first part; what to tell.
fn training(args: &Args, environment: &Environment, out: &Path) -> Result<Vec<String>> {
    let models = if args.models.is_empty() { &[Arch::V2, Arch::V3Large][..] } else { &args.models };
    let settings = PeersPlan {
        models: unique(models),
        preset: args.preset,
        batch: if args.preset == Preset::Imagenet { args.batch.div_ceil(4) } else { args.batch },
        threads: args.threads,
        rounds: args.rounds.unwrap_or(3),
        iterations: args.iterations,
        level: args.level.clone(),
    };
    eprintln!("building mobilenet (release) …");
    let binary = build::mobilenet(&[])?;
    let measured = measure::measure(&settings, &binary, environment)?;
    let (found, before) = (render::render(&measured, &text::now()), existing(out));
    let document = match settings.part() {
        Some(name) => parts::splice(&before, &name, &found),
        None => format!("{}\n\n{}", found.trim_end(), parts::parts_of(&before)),
    };
    files::write(out, (document.trim_end().to_owned() + "\n").as_bytes())?;
    let warning = render::disturbance(&measured).map(|warning| format!("WARNING: {warning}\n"));
    Ok(warning.into_iter().chain(render::verdicts(&measured)).collect())
}

/// Measures the second part; what to tell.
fn shipped(args: &Args, environment: &Environment, out: &Path) -> Result<Vec<String>> {
    let models = if args.models.is_empty() { &[Arch::V2, Arch::V3Large, Arch::V3Small][..] } else { &args.models };
    let plan = RuntimePlan {
        models: unique(models),
        threads: args.threads,
        batch: args.batch,
        rounds: args.rounds.unwrap_or(9),
        programs: RuntimeProgram::ALL
            .into_iter()
            .filter(|program| {
                args.programs.is_empty() || args.programs.contains(program) || *program == RuntimeProgram::Ours
            })
            .collect(),
        level: args.level.clone(),
    };
    let measured = runtime::run(&plan, environment)?;
    let part = runtime::render(&measured, &text::now());
    let document = parts::splice(&existing(out), &plan.part(), &part) + "\n";
    files::write(out, document.as_bytes())?;
    Ok(runtime::verdicts(&measured))
}
