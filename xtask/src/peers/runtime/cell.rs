//! What is measured of the runtime and its peers, and what was found.

use std::collections::BTreeMap;

use mobilenet_arch::Arch;
use mobilenet_report::text::count;

use super::machine::Machine;
use super::{RuntimePlan, SIZES};
use crate::peers::figures::Figure;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeTask {
    /// One image at a time on so many threads.
    Latency { threads: u64 },
    /// A batch at a time.
    Batch { images: u64, threads: u64 },
    /// So many sessions of one thread each, one image at a time each.
    Sessions { sessions: u64 },
}

impl RuntimeTask {
    /// Images of a pass of all sessions.
    pub fn images(self) -> u64 {
        match self {
            Self::Latency { .. } => 1,
            Self::Batch { images, .. } => images,
            Self::Sessions { sessions } => sessions,
        }
    }

    /// Images of a pass, threads of a session, and sessions.
    pub fn shape(self) -> [u64; 3] {
        match self {
            Self::Latency { threads } => [1, threads, 1],
            Self::Batch { images, threads } => [images, threads, 1],
            Self::Sessions { sessions } => [1, 1, sessions],
        }
    }
}

/// Who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RuntimeProgram {
    /// This project's runtime
    Ours,
    /// ONNX Runtime
    #[value(name = "onnxruntime")]
    OnnxRuntime,
    /// OpenVINO
    #[value(name = "openvino")]
    OpenVino,
    /// tract, which takes minutes to build
    Tract,
    /// PyTorch, compiled, which takes minutes to start
    TorchCompiled,
}

impl RuntimeProgram {
    pub const ALL: [Self; 5] = [Self::Ours, Self::OnnxRuntime, Self::OpenVino, Self::Tract, Self::TorchCompiled];

    /// As the processes spell it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OnnxRuntime => "onnxruntime",
            Self::OpenVino => "openvino",
            Self::Tract => "tract",
            Self::TorchCompiled => "torch-compiled",
        }
    }

    /// As people spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ours => "this project",
            Self::OnnxRuntime => "ONNX Runtime",
            Self::OpenVino => "OpenVINO",
            Self::Tract => "tract",
            Self::TorchCompiled => "PyTorch, compiled",
        }
    }

    /// Whether it has such a task; tract has one thread, and PyTorch's network is its own, in float32.
    fn can(self, task: RuntimeTask, is_int8: bool) -> bool {
        match self {
            Self::Ours | Self::OnnxRuntime | Self::OpenVino => true,
            Self::Tract => !is_int8 && task.shape()[1] == 1,
            Self::TorchCompiled => !is_int8 && matches!(task, RuntimeTask::Latency { .. }),
        }
    }
}

/// One program with one precision, and its milliseconds of a pass, one per round.
#[derive(Clone, Debug)]
pub struct Entry {
    pub program: RuntimeProgram,
    pub is_int8: bool,
    pub milliseconds: Vec<f64>,
    /// Why there are none.
    pub failure: Option<String>,
    /// Why it runs the file whose weights have no sign, if it does.
    pub unsigned: Option<String>,
}

impl Entry {
    /// Nothing yet.
    pub fn new(program: RuntimeProgram, is_int8: bool) -> Self {
        Self { program, is_int8, milliseconds: Vec::new(), failure: None, unsigned: None }
    }

    pub fn figure(&self) -> Option<Figure> {
        Figure::of(&self.milliseconds)
    }
}

/// One task on one network, and all who do it.
#[derive(Clone, Debug)]
pub struct RuntimeCell {
    pub arch: Arch,
    pub size: u64,
    pub task: RuntimeTask,
    pub entries: Vec<Entry>,
    /// Cores that other programs kept busy meanwhile; nothing where the system does not tell.
    pub others_cores: Option<f64>,
}

impl RuntimeCell {
    /// `V2 32×32 batch 128`
    pub fn title(&self) -> String {
        let task = match self.task {
            RuntimeTask::Latency { threads } => count(threads, "thread"),
            RuntimeTask::Batch { images, .. } => format!("batch {images}"),
            RuntimeTask::Sessions { sessions } => count(sessions, "session"),
        };
        format!("{} {}×{} {task}", self.arch.short(), self.size, self.size)
    }

    /// Ours and the peers of a precision that were timed.
    fn raced(&self, is_int8: bool) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.is_int8 == is_int8 && !entry.milliseconds.is_empty())
    }

    pub fn entry(&self, program: RuntimeProgram, is_int8: bool) -> Option<&Entry> {
        self.raced(is_int8).find(|entry| entry.program == program)
    }

    /// The fastest peer, by its median.
    pub fn best_peer(&self, is_int8: bool) -> Option<&Entry> {
        let median = |entry: &Entry| entry.figure().map_or(f64::INFINITY, |figure| figure.median);
        let peers = self.raced(is_int8).filter(|entry| entry.program != RuntimeProgram::Ours);
        peers.min_by(|a, b| median(a).total_cmp(&median(b)))
    }

    /// Our time over another's, round by round.
    pub fn ratio(&self, is_int8: bool, other: &Entry) -> Option<Figure> {
        let ours = self.entry(RuntimeProgram::Ours, is_int8)?;
        let ratios = ours.milliseconds.iter().zip(&other.milliseconds).map(|(ours, theirs)| ours / theirs);
        Figure::of(&ratios.collect::<Vec<_>>())
    }
}

/// Everything that was found.
#[derive(Debug)]
pub struct RuntimeMeasured {
    pub plan: RuntimePlan,
    pub machine: Machine,
    /// The instruction set of our runtime, in words.
    pub level: String,
    pub versions: BTreeMap<String, String>,
    pub cells: Vec<RuntimeCell>,
}

/// All tasks, in the order in which they are done.
pub fn cells(plan: &RuntimePlan) -> Vec<RuntimeCell> {
    let mut cells = Vec::new();
    for &arch in &plan.models {
        for size in SIZES {
            let images = if size == SIZES[0] { plan.batch } else { plan.batch.div_ceil(4) };
            let mut tasks = vec![RuntimeTask::Latency { threads: 1 }];
            if plan.threads > 1 {
                tasks.push(RuntimeTask::Latency { threads: plan.threads });
                tasks.push(RuntimeTask::Sessions { sessions: plan.threads });
            }
            tasks.push(RuntimeTask::Batch { images, threads: plan.threads });
            for task in tasks {
                let of = |is_int8: bool| {
                    let able = plan.programs.iter().filter(move |program| program.can(task, is_int8));
                    able.map(move |&program| Entry::new(program, is_int8))
                };
                let entries = of(false).chain(of(true)).collect();
                cells.push(RuntimeCell { arch, size, task, entries, others_cores: None });
            }
        }
    }
    cells
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn plan() -> RuntimePlan {
        RuntimePlan {
            models: vec![Arch::V2],
            threads: 2,
            batch: 128,
            rounds: 3,
            programs: RuntimeProgram::ALL.to_vec(),
            level: None,
        }
    }

    pub fn entry(program: RuntimeProgram, is_int8: bool, milliseconds: &[f64]) -> Entry {
        Entry { milliseconds: milliseconds.to_vec(), ..Entry::new(program, is_int8) }
    }

    pub fn cell(task: RuntimeTask, entries: Vec<Entry>) -> RuntimeCell {
        RuntimeCell { arch: Arch::V2, size: 32, task, entries, others_cores: Some(0.01) }
    }

    #[test]
    fn everybody_does_what_it_can() {
        let cells = cells(&plan());
        assert_eq!(cells.len(), 2 * 4);
        for cell in &cells {
            let has = |program, is_int8| {
                cell.entries.iter().any(|entry| (entry.program, entry.is_int8) == (program, is_int8))
            };
            assert!(has(RuntimeProgram::Ours, true) && has(RuntimeProgram::OpenVino, false));
            assert_eq!(has(RuntimeProgram::Tract, false), cell.task.shape()[1] == 1);
            assert!(!has(RuntimeProgram::Tract, true) && !has(RuntimeProgram::TorchCompiled, true));
        }
        assert_eq!(cells[7].task, RuntimeTask::Batch { images: 32, threads: 2 });
    }

    #[test]
    fn the_best_peer_is_the_one_with_the_least_median() {
        use RuntimeProgram::{OnnxRuntime, OpenVino, Ours};
        let cell = cell(
            RuntimeTask::Latency { threads: 1 },
            vec![
                entry(Ours, false, &[1.0, 2.0, 1.0]),
                entry(OnnxRuntime, false, &[2.0, 4.0, 2.0]),
                entry(OpenVino, false, &[1.0, 9.0, 3.0]),
                entry(OpenVino, true, &[0.1, 0.1, 0.1]),
            ],
        );
        let best = cell.best_peer(false).unwrap();
        assert_eq!(best.program, OnnxRuntime);
        assert_eq!(cell.ratio(false, best), Some(Figure { median: 0.5, min: 0.5, max: 0.5 }));
        assert!(cell.ratio(true, best).is_none());
    }
}
