//! `cargo xtask peers`: this project, PyTorch and ONNX Runtime on the same networks, side by side, in turns.

mod arguments;
mod cell;
mod environment;
mod figures;
mod measure;
mod process;
mod quiet;
mod render;
mod settings;
mod task;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mobilenet_arch::Arch;
use mobilenet_report::text;

use self::settings::PeersPlan;
use crate::compare::{build, unique};
use crate::files;

/// Measure this project against PyTorch and ONNX Runtime on this machine
///
/// Times training steps, evaluation and the latency of a single image, and takes the memory of training, of this
/// project, of PyTorch (NCHW, channels_last, channels_last with bf16 autocast) and of ONNX Runtime, on the same
/// networks for 32x32 images. The programs take turns in rounds, each measurement is a process of its own, and ratios
/// are taken round by round, so that a machine that gets slower meanwhile slows all of them. The result is one Markdown
/// file.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask peers                                    about ten minutes on two cores
  cargo xtask peers --models v2 --rounds 1 --iterations 2 --out target/try.md
  cargo xtask peers --rounds 5 --iterations 10         for figures to be published
  cargo xtask peers --python ~/torch/bin/python        with packages that are there already

Without --python, the first call makes a Python environment in target/peers and installs torch, torchvision, timm,
onnxruntime, onnx and numpy there: a download that, depending on the system, takes some gigabytes. Needed for that:
python3 and a network. The peers run with glibc settings that keep the pages of freed memory, as our own binary does:
PyTorch is much slower without. Leave the machine alone while it measures. On Linux, a measurement during which other
programs used a tenth of a core or more is repeated, twice at most; if that does not help, the result opens with a
warning.")]
pub struct Args {
    /// Networks, separated by commas
    #[arg(long, value_parser = with_peer, value_delimiter = ',', default_value = "v2,v3-large")]
    models: Vec<Arch>,
    /// Images per step of training and of evaluation
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    /// Threads of each process
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u64).range(1..))]
    threads: u64,
    /// How often all programs take their turn
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Timed steps of each process; twenty times as many single images for the latency
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: u64,
    /// File for the result [default: docs/benchmarks.md of this workspace]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Python interpreter that has torch, torchvision, timm, onnxruntime, onnx and numpy; nothing is installed then
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// A network that there is in Python, too.
fn with_peer(name: &str) -> Result<Arch, String> {
    let mut known = Arch::all().filter(|arch| arch.description().peer.is_some());
    let names = known.clone().map(Arch::name).collect::<Vec<_>>().join(", ");
    known.find(|arch| arch.name() == name).ok_or_else(|| format!("expected one of {names}"))
}

/// Runs the command.
pub fn run(args: &Args) -> Result<()> {
    let settings = PeersPlan {
        models: unique(&args.models),
        batch: args.batch,
        threads: args.threads,
        rounds: args.rounds,
        iterations: args.iterations,
    };
    let out = args.out.clone().unwrap_or_else(|| build::workspace_root().join("docs").join("benchmarks.md"));
    // Better to fail now than after all the measuring.
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let environment = environment::prepare(args.python.as_deref())?;
    eprintln!("building mobilenet (release) …");
    let binary = build::mobilenet(&[])?;
    let measured = measure::measure(&settings, &binary, &environment)?;
    files::write(&out, render::render(&measured, &text::now()).as_bytes())?;
    println!();
    if let Some(warning) = render::disturbance(&measured) {
        println!("WARNING: {warning}\n");
    }
    for sentence in render::verdicts(&measured) {
        println!("{sentence}");
    }
    println!("\n{}", out.display());
    Ok(())
}
