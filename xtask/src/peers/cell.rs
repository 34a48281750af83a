//! What is measured: one program at one task on one network, and what was found.

use std::collections::BTreeMap;

use mobilenet_arch::Arch;
use serde::Deserialize;

use super::quiet::TOLERATED_CORES;
use super::settings::PeersPlan;
use super::task::{Program, Task};

/// What one process found.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Of a pass, median
    pub milliseconds: f64,
    pub peak_rss_bytes: Option<u64>,
    /// Cores that other programs kept busy meanwhile; nothing where the system does not tell
    pub others_cores: Option<f64>,
}

impl Sample {
    /// Whether other programs were in the way.
    pub fn is_disturbed(&self) -> bool {
        self.others_cores.is_some_and(|cores| cores > TOLERATED_CORES)
    }
}

/// One program at one task on one network.
#[derive(Debug)]
pub struct Cell {
    pub arch: Arch,
    pub task: Task,
    pub program: Program,
    /// One per round
    pub samples: Vec<Sample>,
    /// Why there are no more of them
    pub failure: Option<String>,
}

/// The machine and our build, as `mobilenet bench` tells them.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Machine {
    pub commit: Option<String>,
    pub processor: String,
    pub cores: u64,
    pub memory_bytes: Option<u64>,
    pub os: String,
    pub rustc: Option<String>,
    pub version: String,
    pub candle: Option<String>,
}

/// Everything that was found.
#[derive(Debug)]
pub struct Measured {
    pub settings: PeersPlan,
    pub machine: Machine,
    /// Of Python and its packages
    pub versions: BTreeMap<String, String>,
    pub cells: Vec<Cell>,
}

/// All programs at all tasks they can do, those that are compared next to each other.
pub fn cells(models: &[Arch]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &arch in models {
        for task in Task::ALL {
            let able = Program::ALL.into_iter().filter(|program| program.can(task));
            cells.extend(able.map(|program| Cell { arch, task, program, samples: Vec::new(), failure: None }));
        }
    }
    cells
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A cell with these times, in milliseconds.
    pub fn cell(task: Task, program: Program, times: &[f64]) -> Cell {
        let sample = |&milliseconds| Sample { milliseconds, peak_rss_bytes: None, others_cores: None };
        Cell { arch: Arch::V2, task, program, samples: times.iter().map(sample).collect(), failure: None }
    }

    #[test]
    fn we_go_first_and_only_those_who_can_train_do() {
        let cells = cells(&[Arch::V2, Arch::V3Small]);
        for group in cells.chunk_by(|a, b| (a.arch, a.task) == (b.arch, b.task)) {
            let programs: Vec<_> = group.iter().map(|cell| cell.program).collect();
            assert_eq!(programs[0], Program::Ours);
            assert_eq!(programs.contains(&Program::OnnxRuntime), !group[0].task.trains());
        }
        assert_eq!(cells.iter().filter(|cell| cell.program == Program::Ours).count(), 2 * Task::ALL.len());
        assert!(cells.iter().all(|cell| cell.program != Program::OursBf16 || cell.task.trains()));
    }
}
