//! What was run: machine, versions, method and commands.

use mobilenet_arch::{Arch, Preset};
use mobilenet_report::text::{count, list, significant};

use crate::peers::arguments::{ours, theirs};
use crate::peers::cell::Measured;
use crate::peers::environment::PACKAGES;
use crate::peers::measure::KEEP_PAGES;
use crate::peers::settings::PeersPlan;
use crate::peers::task::Program;

/// Machine, versions and method.
pub fn setup(measured: &Measured) -> String {
    let (settings, machine) = (&measured.settings, &measured.machine);
    let unknown = || "unknown".to_owned();
    let said = |value: &Option<String>| value.clone().unwrap_or_else(unknown);
    let memory = machine
        .memory_bytes
        .map_or_else(String::new, |bytes| format!(", {} GB of memory", significant(bytes as f64 / f64::from(1 << 30))));
    let versions: Vec<_> = measured.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let versions = if versions.is_empty() { unknown() } else { list(&versions) };
    let networks: Vec<_> = settings.models.iter().map(|arch| arch.label().to_owned()).collect();
    let size = settings.preset.image_size();
    let held = held(settings);
    format!(
        "- Processor: {}, {}{memory}; {}. Every process computes on {}.\n\
         - This project: version {}, commit {}, {}, Candle {}, float32 if not said otherwise.\n\
         - Peers: {versions}.\n\
         - Networks: {}, for {size}×{size} images and 10 classes. The peers' are {}{}; ONNX Runtime runs the same, \
         exported by PyTorch.\
         {}{held}\n\
         - Memory allocation: our binary keeps the pages of freed tensors for the next step. So that this is not what \
         is \
         compared, the peers run with {}, by which glibc does the same. Without that, PyTorch is much slower and \
         its peak memory somewhat lower.\n\
         - Method: {}; in each, for each network and task, all programs take their turn one after the other, each in a \
         process of its own. A process's figure is the median of its timed passes; the tables show the median over \
         the rounds \
         and, as spread, the lowest and the highest. Ratios are taken round by round, then their median and spread. \
         Images \
         are made up, weights are fresh. {}{}\n\n{}",
        machine.processor,
        count(machine.cores, "core"),
        machine.os,
        count(settings.threads, "thread"),
        machine.version,
        said(&machine.commit),
        said(&machine.rustc),
        said(&machine.candle),
        list(&networks),
        list(&libraries(&settings.models)),
        match settings.preset {
            Preset::Cifar => {
                ", with stride 1 in the stem and in the first strided depthwise convolution, as in our `cifar` preset"
            }
            Preset::Imagenet => "",
        },
        activation(&settings.models),
        list(&KEEP_PAGES.map(|(name, value)| format!("`{name}={value}`"))),
        count(settings.rounds, "round"),
        quiet(measured),
        few_rounds(settings.rounds),
        commands(measured)
    )
}

/// What holds programs to an instruction set.
fn held(settings: &PeersPlan) -> String {
    let variables: Vec<_> = settings.environment().iter().map(|(name, value)| format!("`{name}={value}`")).collect();
    match variables.is_empty() {
        true => String::new(),
        false => format!(" Held to an instruction set by {}; ONNX Runtime has no such switch.", list(&variables)),
    }
}

/// The libraries that the peers' networks are of: `torchvision's`.
fn libraries(models: &[Arch]) -> Vec<String> {
    let of = |arch: &Arch| arch.description().peer.map(|peer| format!("{}'s", peer.library));
    let mut libraries = Vec::new();
    for library in models.iter().filter_map(of) {
        if !libraries.contains(&library) {
            libraries.push(library);
        }
    }
    libraries
}

/// In what the peers' networks differ from ours; only V1 does.
fn activation(models: &[Arch]) -> &'static str {
    if models.contains(&Arch::V1) { " timm's MobileNetV1 has ReLU6 where ours has ReLU, as in the paper." } else { "" }
}

/// What is known of other programs' work.
fn quiet(measured: &Measured) -> String {
    let known = measured.cells.iter().flat_map(|cell| &cell.samples).map(|sample| sample.others_cores);
    match known.collect::<Option<Vec<f64>>>().filter(|cores| !cores.is_empty()) {
        Some(cores) => {
            let most = cores.into_iter().fold(0.0, f64::max);
            format!("During the measurements other programs used at most {most:.2} of a core.")
        }
        None => "Whether other programs ran meanwhile is not known.".to_owned(),
    }
}

fn few_rounds(rounds: u64) -> &'static str {
    if rounds < 3 { " **With fewer than three rounds the spread says little.**" } else { "" }
}

/// The processes behind the first network's figures.
fn commands(measured: &Measured) -> String {
    let settings = &measured.settings;
    let mut lines: Vec<String> = Vec::new();
    for cell in measured.cells.iter().filter(|cell| Some(&cell.arch) == settings.models.first()) {
        match cell.program {
            Program::Ours | Program::OursBf16 => lines.push(format!("mobilenet {}", ours(cell, settings).join(" "))),
            // The others differ in --program alone.
            Program::TorchChannelsLast => {
                lines.push(format!("python worker.py {}", theirs(cell, settings).join(" ")));
            }
            _ => {}
        }
    }
    format!(
        "The processes, for one network and one of the peers' programs (`worker.py` is `xtask/src/peers/worker.py`; \
         it needs {}):\n\n\
         ```text\n{}\n```\n",
        list(&PACKAGES.map(str::to_owned)),
        lines.join("\n")
    )
}
