//! The runtime's part of `docs/benchmarks.md`.

use std::fmt::Write as _;

use mobilenet_report::text::{count, list, significant};

use super::cell::{RuntimeMeasured, RuntimeProgram, RuntimeTask};
use super::measure::TURN_MS;
use crate::peers::figures::Figure;
use crate::peers::quiet::TOLERATED_CORES;
use crate::peers::render::wrap::wrap;

/// The whole part.
pub fn render(measured: &RuntimeMeasured, created: &str) -> String {
    let level = measured.plan.level.as_deref();
    let at = level.map_or_else(String::new, |_| format!(", held to {}", measured.level));
    let mut out = format!(
        "## The runtime and its peers{at}\n\n\
         Networks that are ready to ship, run by `mobilenet-runtime` and by others, in turns. Written on {created} \
         by\n\n```text\n{}\n```\n\n",
        measured.plan.command()
    );
    if let Some(warning) = disturbance(measured) {
        let _ = writeln!(out, "> **WARNING: {warning}**\n");
    }
    let _ = writeln!(out, "{}\n\n### Where we lose\n", setup(measured));
    for sentence in verdicts(measured) {
        let _ = writeln!(out, "- {sentence}");
    }
    for is_int8 in [false, true] {
        let _ = writeln!(out, "\n### Latency, {}\n\n{}", precision(is_int8), latency(measured, is_int8));
        let _ = writeln!(out, "### Throughput, {}\n\n{}", precision(is_int8), throughput(measured, is_int8));
    }
    if let Some(unsigned) = unsigned(measured) {
        let _ = writeln!(out, "### With weights that have no sign\n\n{unsigned}");
    }
    if let Some(failures) = failures(measured) {
        let _ = writeln!(out, "### Programs that could not be run\n\n{failures}");
    }
    wrap(&out)
}

fn precision(is_int8: bool) -> &'static str {
    if is_int8 { "int8" } else { "float32" }
}

/// A warning if other programs were in the way.
fn disturbance(measured: &RuntimeMeasured) -> Option<String> {
    let known: Vec<f64> = measured.cells.iter().filter_map(|cell| cell.others_cores).collect();
    let disturbed = known.iter().filter(|cores| **cores > TOLERATED_CORES).count();
    let most = known.into_iter().fold(0.0, f64::max);
    (disturbed > 0).then(|| {
        format!(
            "During {disturbed} of {} other programs kept up to {most:.1} cores busy. That slows some programs more than \
             others, most of all those with several threads: the ratios are not to be relied on.",
            count(measured.cells.len() as u64, "task")
        )
    })
}

fn setup(measured: &RuntimeMeasured) -> String {
    let machine = &measured.machine;
    let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    let versions: Vec<_> = measured.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let tract = match measured.plan.programs.contains(&RuntimeProgram::Tract) {
        true => "; tract is the version in `Cargo.lock`",
        false => "",
    };
    let level = match measured.plan.environment() {
        held if held.is_empty() => "every program chooses for itself".to_owned(),
        held => format!(
            "OpenVINO and PyTorch are held to the same ({}); ONNX Runtime and tract have no such switch and choose for \
             themselves",
            list(&held.iter().map(|(name, value)| format!("`{name}={value}`")).collect::<Vec<_>>())
        ),
    };
    format!(
        "- Processor: {}, {}. Our instruction set: {}; {level}.\n\
         - This project: commit {}, {}. Peers: {}{}.\n\
         - Networks: fresh weights by seed, with 10 classes at 32×32 (the `cifar` preset) and 1,000 at 224×224, batch norm \
         folded. ONNX Runtime, OpenVINO and tract run what `mobilenet-deploy` writes as ONNX, in int8 with the profile \
         `cpu` (QDQ); PyTorch runs torchvision's network, by `torch.compile`, channels last. OpenVINO is told to compute \
         in float32, not bf16. Before anything is timed, the logits of all who run the same network are compared.\n\
         - Method: {} of turns. For each task all programs are started first; in a turn a program does {} ms of passes \
         after some untimed ones, and the turn's figure is their median. The tables show the median over the turns; \
         ratios are taken round by round, then their median and, in parentheses, the lowest and the highest.\n",
        said(&machine.processor),
        machine.cores.map_or_else(|| "cores unknown".to_owned(), |cores| count(cores, "core")),
        measured.level,
        said(&machine.commit),
        said(&machine.rustc),
        list(&versions),
        tract,
        count(measured.plan.rounds, "round"),
        TURN_MS,
    )
}

/// Where we win and where we lose, a sentence for each kind of task and precision.
pub fn verdicts(measured: &RuntimeMeasured) -> Vec<String> {
    let mut sentences = Vec::new();
    for is_int8 in [false, true] {
        for (name, wanted) in [("Latency", true), ("Throughput", false)] {
            let raced: Vec<_> = measured
                .cells
                .iter()
                .filter(|cell| matches!(cell.task, RuntimeTask::Latency { .. }) == wanted)
                .filter_map(|cell| {
                    let best = cell.best_peer(is_int8)?;
                    Some((cell, best.program, cell.ratio(is_int8, best)?))
                })
                .collect();
            let lost: Vec<_> = raced
                .iter()
                .filter(|(.., ratio)| ratio.median >= 1.0)
                .map(|(cell, program, ratio)| {
                    format!("{} to {} ({:.2} times its time)", cell.title(), program.label(), ratio.median)
                })
                .collect();
            let head = format!("{name}, {}: ", precision(is_int8));
            sentences.push(match (raced.len(), lost.len()) {
                (0, _) => format!("{head}nothing to compare with."),
                (all, 0) => format!("{head}we are the fastest in all {all} cells."),
                (all, some) => format!("{head}we lose {some} of {all} cells: {}.", lost.join("; ")),
            });
        }
    }
    sentences
}

fn ratio(figure: Option<Figure>) -> String {
    figure.map_or_else(String::new, |f| format!("{:.2} ({:.2}–{:.2})", f.median, f.min, f.max))
}

fn latency(measured: &RuntimeMeasured, is_int8: bool) -> String {
    use RuntimeProgram::{OnnxRuntime, OpenVino, Ours, TorchCompiled, Tract};
    let programs: &[RuntimeProgram] =
        if is_int8 { &[Ours, OnnxRuntime, OpenVino] } else { &[Ours, OnnxRuntime, OpenVino, Tract, TorchCompiled] };
    let mut out =
        "Milliseconds for one image. The ratio is our time over that of the fastest peer: below 1, we are faster."
            .to_owned();
    if is_int8 {
        out += " The last column is our time in float32 over ours in int8.";
    }
    out += "\n\n| network | image | threads |";
    programs.iter().for_each(|program| out += &format!(" {} |", program.label()));
    out += if is_int8 { " ours ÷ best | float32 ÷ int8 |\n" } else { " ours ÷ best |\n" };
    out += &format!("|---|---:|---:|{}---:|{}\n", "---:|".repeat(programs.len()), if is_int8 { "---:|" } else { "" });
    for cell in &measured.cells {
        let RuntimeTask::Latency { threads } = cell.task else { continue };
        let _ = write!(out, "| {} | {}×{} | {threads} |", cell.arch.label(), cell.size, cell.size);
        for &program in programs {
            let figure = cell.entry(program, is_int8).and_then(|entry| entry.figure());
            let _ = write!(out, " {} |", figure.map_or_else(|| "–".to_owned(), |f| significant(f.median)));
        }
        let best = cell.best_peer(is_int8).and_then(|best| cell.ratio(is_int8, best));
        let _ = write!(out, " {} |", ratio(best));
        if is_int8 {
            let gain = cell.entry(Ours, true).and_then(|int8| cell.ratio(false, int8));
            let _ = write!(out, " {} |", gain.map_or_else(String::new, |gain| format!("{:.2}", gain.median)));
        }
        out += "\n";
    }
    out
}

fn throughput(measured: &RuntimeMeasured, is_int8: bool) -> String {
    use RuntimeProgram::{OnnxRuntime, OpenVino, Ours, Tract};
    let programs: &[RuntimeProgram] =
        if is_int8 { &[Ours, OnnxRuntime, OpenVino] } else { &[Ours, OnnxRuntime, OpenVino, Tract] };
    let mut out =
        "Images per second: a batch at a time on all threads, or as many sessions of one thread each, one image at \
                   a time. The ratios are our images per second over theirs: above 1, we are faster.\n\n\
                   | network | image | how |"
            .to_owned();
    programs.iter().for_each(|program| out += &format!(" {} |", program.label()));
    out += " ours ÷ ONNX Runtime | ours ÷ best |\n|---|---:|---|";
    out += &format!("{}---:|---:|\n", "---:|".repeat(programs.len()));
    for cell in &measured.cells {
        let how = match cell.task {
            RuntimeTask::Latency { .. } => continue,
            RuntimeTask::Batch { images, threads } => format!("batch {images}, {}", count(threads, "thread")),
            RuntimeTask::Sessions { sessions } => count(sessions, "session"),
        };
        let _ = write!(out, "| {} | {}×{} | {how} |", cell.arch.label(), cell.size, cell.size);
        for &program in programs {
            let figure = cell.entry(program, is_int8).and_then(|entry| entry.figure());
            let speed = figure.map(|f| 1e3 * cell.task.images() as f64 / f.median);
            let _ = write!(out, " {} |", speed.map_or_else(|| "–".to_owned(), significant));
        }
        for other in [cell.entry(OnnxRuntime, is_int8), cell.best_peer(is_int8)] {
            let times = other.and_then(|other| cell.ratio(is_int8, other));
            let _ = write!(out, " {} |", ratio(times.map(inverse)));
        }
        out += "\n";
    }
    out
}

fn inverse(figure: Figure) -> Figure {
    Figure { median: 1.0 / figure.median, min: 1.0 / figure.max, max: 1.0 / figure.min }
}

/// Who runs the other profile, since its answers by the first are not the network's.
fn unsigned(measured: &RuntimeMeasured) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for cell in &measured.cells {
        for entry in cell.entries.iter().filter(|entry| entry.failure.is_none()) {
            let Some(reason) = &entry.unsigned else { continue };
            let (program, network) = (entry.program.label(), cell.arch.label());
            let line = format!("- {program}, {network} {}×{}: by `cpu` {reason}.\n", cell.size, cell.size);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    let head = "In int8 these run the profile `cpu-unsigned`, whose products do not saturate on processors without \
                VNNI:\n\n";
    (!lines.is_empty()).then(|| head.to_owned() + &lines.concat())
}

/// The programs that failed, and why, once each.
fn failures(measured: &RuntimeMeasured) -> Option<String> {
    let mut lines = Vec::new();
    for entry in measured.cells.iter().flat_map(|cell| &cell.entries) {
        let Some(reason) = &entry.failure else { continue };
        let line = format!("- {}: `{}`\n", entry.program.label(), reason.replace('`', "'").replace('\n', " "));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    (!lines.is_empty()).then(|| lines.concat())
}

#[cfg(test)]
mod tests {
    use super::super::cell::Entry;
    use super::super::cell::tests::{cell, entry, plan};
    use super::super::machine::Machine;
    use super::*;

    fn measured() -> RuntimeMeasured {
        use RuntimeProgram::{OnnxRuntime, OpenVino, Ours, Tract};
        let mut tract = entry(Tract, false, &[]);
        tract.failure = Some("no `such` operator".to_owned());
        let unsigned = Some("its logits differ by 0.5".to_owned());
        let cells = vec![
            cell(
                RuntimeTask::Latency { threads: 1 },
                vec![
                    entry(Ours, false, &[1.0, 1.2, 1.0]),
                    entry(OnnxRuntime, false, &[2.0, 2.4, 2.0]),
                    tract,
                    entry(Ours, true, &[0.5, 0.5, 0.5]),
                    Entry { unsigned, ..entry(OpenVino, true, &[0.4, 0.4, 0.4]) },
                ],
            ),
            cell(
                RuntimeTask::Batch { images: 128, threads: 2 },
                vec![entry(Ours, false, &[64.0]), entry(OnnxRuntime, false, &[128.0])],
            ),
        ];
        let machine = Machine { processor: Some("A Processor".to_owned()), cores: Some(2), ..Machine::default() };
        let versions = [("onnxruntime".to_owned(), "9.9".to_owned())].into();
        RuntimeMeasured { plan: plan(), machine, level: "AVX-512".to_owned(), versions, cells }
    }

    #[test]
    fn the_part_says_what_was_found() {
        let text = render(&measured(), "2026-06-05 20:18 UTC");
        for part in [
            "cargo xtask peers --part runtime --models v2 --batch 128 --threads 2 --rounds 3\n",
            "| MobileNetV2 | 32×32 | 1 | 1.00 | 2.00 | – | – | – | 0.50 (0.50–0.50) |\n",
            "| MobileNetV2 | 32×32 | 1 | 0.50 | – | 0.40 | 1.25 (1.25–1.25) | 2.00 |\n",
            "| MobileNetV2 | 32×32 | batch 128, 2 threads | 2,000 | 1,000 | – | – | 2.00 (2.00–2.00) |",
            "- Latency, float32: we are the fastest in all 1 cells.\n",
            "- Latency, int8: we lose 1 of 1 cells: V2 32×32 1 thread to OpenVINO (1.25 times its time).\n",
            "- Throughput, int8: nothing to compare with.\n",
            "- tract: `no 'such' operator`\n",
            "- OpenVINO, MobileNetV2 32×32: by `cpu` its logits differ by 0.5.\n",
            "onnxruntime 9.9",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("WARNING"));
        let mut busy = measured();
        busy.cells[1].others_cores = Some(1.5);
        assert!(render(&busy, "").contains("During 1 of 2 tasks other programs kept up to 1.5 cores busy."));
    }
}
