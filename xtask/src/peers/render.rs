//! `docs/benchmarks.md` from what was measured.

mod setup;
mod tables;
mod verdict;
pub mod wrap;

use std::fmt::Write as _;

use mobilenet_report::text::count;

use self::setup::setup;
use self::tables::{growth, table};
use self::verdict::verdict;
use super::cell::Measured;
use super::figures::{self, Metric};
use super::settings::PeersPlan;
use super::task::Task;

/// One heading and its table.
struct Section {
    title: &'static str,
    /// What the figures are
    explanation: &'static str,
    unit: &'static str,
    /// What a ratio says
    ratio: &'static str,
    metric: Metric,
}

fn sections() -> [Section; 5] {
    [
        Section {
            title: "Training",
            explanation: "One step: forward, cross-entropy, backward, AdamW.",
            unit: "images/s",
            ratio: "our images per second over theirs: above 1, we are faster",
            metric: figures::images_per_second(Task::Training),
        },
        Section {
            title: "Training in bf16",
            explanation: "The same step, ours at `--precision bf16`: bf16 products and activations, float32 sums and \
                          weights.",
            unit: "images/s",
            ratio: "our images per second in bf16 over theirs: above 1, we are faster",
            metric: figures::images_per_second(Task::Training).in_bf16(),
        },
        Section {
            title: "Evaluation",
            explanation: "A batch through the network in evaluation mode, without gradients.",
            unit: "images/s",
            ratio: "our images per second over theirs: above 1, we are faster",
            metric: figures::images_per_second(Task::Evaluation),
        },
        Section {
            title: "Latency, batch 1",
            explanation: "A single image through the network in evaluation mode.",
            unit: "ms",
            ratio: "our time over theirs: below 1, we are faster",
            metric: figures::milliseconds(Task::Latency),
        },
        Section {
            title: "Memory in training",
            explanation: "Peak resident memory of the training process, its interpreter and libraries included.",
            unit: "MB",
            ratio: "our memory over theirs: below 1, we need less",
            metric: figures::megabytes(Task::Training),
        },
    ]
}

/// The whole document.
pub fn render(measured: &Measured, created: &str) -> String {
    wrap::wrap(document(measured, created).trim_end())
}

/// [`render`] with a line for each paragraph.
fn document(measured: &Measured, created: &str) -> String {
    let settings = &measured.settings;
    // What is a part of its own stands a level deeper.
    let (title, deeper) = match settings.part() {
        None => ("Benchmarks".to_owned(), ""),
        Some(_) => (title(settings), "#"),
    };
    let mut out = format!(
        "{deeper}# {title}\n\n\
         This project, PyTorch and ONNX Runtime on the same networks on the same machine, in turns. Written on \
         {created} by\n\n\
         ```text\n{}\n```\n\n\
         Figures hold for the machine they were taken on; ratios travel better, but the call above gives your own.\n\n",
        settings.command()
    );
    if let Some(warning) = disturbance(measured) {
        let _ = writeln!(out, "> **WARNING: {warning}**\n");
    }
    let _ = writeln!(out, "{deeper}## What was run\n\n{}", setup(measured));
    for section in sections() {
        let rows = section.metric.rows(&measured.cells, section.metric.task.batch(settings));
        let _ = writeln!(
            out,
            "{deeper}## {}\n\n{} Ratio: {}.\n\n{}\n\n{}",
            section.title,
            section.explanation,
            section.ratio,
            verdict(&section.metric, &rows),
            table(section.unit, &rows)
        );
    }
    if let Some(growth) = growth(measured) {
        let _ = writeln!(
            out,
            "{deeper}## How our cost grows\n\nTraining steps of this project alone. Against: images per second over those of \
             the \
             first line.\n\n{growth}"
        );
    }
    if let Some(failures) = failures(measured) {
        let _ = writeln!(out, "{deeper}## What could not be run\n\n{failures}");
    }
    out
}

/// `Training at 224×224, held to avx2`
fn title(settings: &PeersPlan) -> String {
    let size = settings.preset.image_size();
    let held = settings.level.as_ref().map_or_else(String::new, |level| format!(", held to {level}"));
    format!("Training and evaluation at {size}×{size}{held}")
}

/// A warning if other programs were in the way.
pub fn disturbance(measured: &Measured) -> Option<String> {
    let samples = || measured.cells.iter().flat_map(|cell| &cell.samples);
    let disturbed = samples().filter(|sample| sample.is_disturbed()).count();
    let most = samples().filter_map(|sample| sample.others_cores).fold(0.0, f64::max);
    (disturbed > 0).then(|| {
        format!(
            "During {disturbed} of {} other programs kept up to {most:.1} cores busy. That slows some programs far \
             more \
             than others: the ratios are not to be relied on.",
            count(samples().count() as u64, "measurement")
        )
    })
}

/// One line per table: where we win and where we lose.
pub fn verdicts(measured: &Measured) -> Vec<String> {
    sections()
        .into_iter()
        .map(|section| {
            let rows = section.metric.rows(&measured.cells, section.metric.task.batch(&measured.settings));
            format!("{}: {} Ratio: {}.", section.title, verdict(&section.metric, &rows), section.ratio)
        })
        .collect()
}

/// The peers that failed, and why.
fn failures(measured: &Measured) -> Option<String> {
    let lines: Vec<_> = measured
        .cells
        .iter()
        .filter_map(|cell| {
            let reason = cell.failure.as_ref()?;
            let after = match cell.samples.len() as u64 {
                0 => String::new(),
                n => format!(" after {}", count(n, "round")),
            };
            Some(format!(
                "- {}, {}, {}{after}: `{}`\n",
                cell.program.label(),
                cell.task.key(),
                cell.arch.label(),
                reason.replace('`', "'").replace('\n', " ")
            ))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.concat())
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;

    use super::super::cell::tests::cell;
    use super::super::cell::{Cell, Machine, Sample};
    use super::super::settings::tests::settings;
    use super::super::task::Program;
    use super::*;

    fn measured() -> Measured {
        let with_memory = |mut cell: Cell, megabytes: u64| {
            for sample in &mut cell.samples {
                *sample = Sample { peak_rss_bytes: Some(megabytes << 20), ..sample.clone() };
            }
            cell
        };
        let failed = |mut cell: Cell| {
            cell.failure = Some("RuntimeError: no `such` operator".to_owned());
            cell
        };
        let cells = vec![
            with_memory(cell(Task::Training, Program::Ours, &[500.0, 520.0, 480.0]), 1_500),
            with_memory(cell(Task::Training, Program::TorchNchw, &[1_000.0, 1_040.0, 960.0]), 3_000),
            with_memory(cell(Task::Training, Program::TorchChannelsLast, &[400.0, 500.0, 500.0]), 1_000),
            failed(cell(Task::Training, Program::TorchBf16, &[])),
            cell(Task::Training, Program::OursBf16, &[250.0, 260.0, 240.0]),
            cell(Task::OneThread, Program::Ours, &[1_000.0, 1_040.0, 960.0]),
            cell(Task::Latency, Program::Ours, &[3.0, 3.0, 3.0]),
            cell(Task::Latency, Program::OnnxRuntime, &[1.5, 1.0, 1.5]),
        ];
        let versions = [("torch".to_owned(), "9.9".to_owned())].into();
        let machine = Machine { processor: "A Processor".to_owned(), cores: 2, ..Machine::default() };
        Measured { settings: settings(), machine, versions, cells }
    }

    #[test]
    fn verdicts_follow_the_figures() {
        let verdicts = verdicts(&measured());
        assert!(
            verdicts[0].starts_with(
                "Training: We win against PyTorch, NCHW (V2 2.00). The rounds do not agree on PyTorch, channels_last \
                 (V2 0.96)."
            ),
            "{}",
            verdicts[0]
        );
        assert!(verdicts[2].starts_with("Evaluation: There is nothing to compare with."), "{}", verdicts[2]);
        assert!(
            verdicts[3].starts_with("Latency, batch 1: We lose against ONNX Runtime (V2 2.00)."),
            "{}",
            verdicts[3]
        );
        assert!(
            verdicts[4].starts_with(
                "Memory in training: We win against PyTorch, NCHW (V2 0.50). We lose against PyTorch, channels_last \
                 (V2 1.50)."
            ),
            "{}",
            verdicts[4]
        );
    }

    #[test]
    fn the_document_says_what_was_run_and_found() {
        let document = document(&measured(), "2026-06-05 20:18 UTC");
        for part in [
            "2026-06-05 20:18 UTC",
            "cargo xtask peers --part training --models v2,v3-large --preset cifar --batch 100 --threads 2 --rounds 3 --iterations 5\n",
            "mobilenet bench --model v2 --preset cifar --train --batch 100 --threads 2",
            "Processor: A Processor, 2 cores",
            "torch 9.9",
            "`MALLOC_MMAP_THRESHOLD_=4000000000` and `MALLOC_TRIM_THRESHOLD_=8000000000`",
            "| MobileNetV2 | **this project** | 200 | 192–208 |  |  |\n",
            "| MobileNetV2 | PyTorch, NCHW | 100 | 96.2–104 | 2.00 | 2.00–2.00 |\n",
            "| MobileNetV2 | PyTorch, channels_last, bf16 | – | – |  |  |\n",
            "| MobileNetV2 | ONNX Runtime | 1.50 | 1.00–1.50 | 2.00 | 2.00–3.00 |\n",
            "| MobileNetV2 | **this project, bf16** | 400 | 385–417 |  |  |\n",
            "| MobileNetV2 | PyTorch, NCHW | 100 | 96.2–104 | 4.00 | 4.00–4.00 |\n",
            "| MobileNetV2 | float32 | 100 | 2 | 200 | 192–208 |  |  |\n",
            "| MobileNetV2 | float32 | 100 | 1 | 100 | 96.2–104 | 0.50 | 0.50–0.50 |\n",
            "- PyTorch, channels_last, bf16, training, MobileNetV2: `RuntimeError: no 'such' operator`\n",
        ] {
            assert!(document.contains(part), "{part:?} is missing in\n{document}");
        }
        assert!(!document.contains("fewer than three rounds"));
    }

    #[test]
    fn a_busy_machine_is_owned_up_to() {
        let mut measured = measured();
        let say = |measured: &Measured| document(measured, "");
        assert!(say(&measured).contains("Whether other programs ran meanwhile is not known."));
        for sample in measured.cells.iter_mut().flat_map(|cell| &mut cell.samples) {
            sample.others_cores = Some(0.02);
        }
        assert!(say(&measured).contains("at most 0.02 of a core") && !say(&measured).contains("WARNING"));
        measured.cells[1].samples[2].others_cores = Some(0.9);
        assert!(
            say(&measured)
                .contains("> **WARNING: During 1 of 21 measurements other programs kept up to 0.9 cores busy.")
        );
    }

    #[test]
    fn a_single_round_is_owned_up_to() {
        let mut measured = measured();
        measured.settings.rounds = 1;
        assert!(document(&measured, "").contains("fewer than three rounds"));
    }

    #[test]
    fn the_libraries_of_the_peers_are_named_and_what_differs_in_them() {
        let mut measured = measured();
        let say = |measured: &Measured| document(measured, "");
        assert!(say(&measured).contains("The peers' are torchvision's, with") && !say(&measured).contains("ReLU6"));
        measured.settings.models.push(Arch::V1);
        let document = say(&measured);
        assert!(document.contains("The peers' are torchvision's and timm's, with"), "{document}");
        assert!(document.contains("timm's MobileNetV1 has ReLU6 where ours has ReLU"), "{document}");
    }
}
