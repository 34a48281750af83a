//! From the processes' figures to medians, spreads and ratios.

use mobilenet_common::numbers::quantile;

use super::cell::{Cell, Sample};
use super::task::{Program, Task};

/// A value over the rounds.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Figure {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Figure {
    /// Nothing if there are no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self { median: quantile(&sorted, 0.5)?, min: *sorted.first()?, max: *sorted.last()? })
    }
}

/// What one table shows.
pub struct Metric {
    pub task: Task,
    /// Who is compared with the peers
    pub ours: Program,
    /// Of a sample, given the images per pass; nothing where the system does not tell
    value: fn(&Sample, u64) -> Option<f64>,
    pub more_is_better: bool,
}

/// Images of a pass per second.
pub fn images_per_second(task: Task) -> Metric {
    let value = |sample: &Sample, batch: u64| Some(1e3 * batch as f64 / sample.milliseconds);
    Metric { task, ours: Program::Ours, value, more_is_better: true }
}

/// Milliseconds of a pass.
pub fn milliseconds(task: Task) -> Metric {
    Metric { task, ours: Program::Ours, value: |sample, _| Some(sample.milliseconds), more_is_better: false }
}

/// Peak memory of the process, in megabytes (2^20 bytes).
pub fn megabytes(task: Task) -> Metric {
    let value = |sample: &Sample, _| sample.peak_rss_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
    Metric { task, ours: Program::Ours, value, more_is_better: false }
}

/// One line of a table.
#[derive(Debug)]
pub struct Row<'a> {
    pub cell: &'a Cell,
    pub figure: Option<Figure>,
    /// Ours divided by theirs, round by round; nothing for ourselves
    pub ratio: Option<Figure>,
}

/// How the race with one peer ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Won,
    Lost,
    /// Some rounds say so, some the opposite
    Open,
}

impl Metric {
    /// The same of our bf16.
    pub fn in_bf16(self) -> Self {
        Self { ours: Program::OursBf16, ..self }
    }

    /// The lines of the table, in the order of the cells.
    pub fn rows<'a>(&self, cells: &'a [Cell], batch: u64) -> Vec<Row<'a>> {
        let values = |cell: &Cell| cell.samples.iter().map(|s| (self.value)(s, batch)).collect::<Vec<_>>();
        let compared = |program: Program| program == self.ours || !program.is_ours();
        let mine = cells.iter().filter(|cell| cell.task == self.task && compared(cell.program));
        mine.map(|cell| {
            let theirs = values(cell);
            let ours = cells
                .iter()
                .find(|other| (other.task, other.arch, other.program) == (cell.task, cell.arch, self.ours))
                .filter(|_| cell.program != self.ours)
                .map_or_else(Vec::new, values);
            let ratios: Vec<f64> = ours.iter().zip(&theirs).filter_map(|(a, b)| Some((*a)? / (*b)?)).collect();
            let known: Vec<f64> = theirs.iter().copied().flatten().collect();
            Row { cell, figure: Figure::of(&known), ratio: Figure::of(&ratios) }
        })
        .collect()
    }

    /// Whether a ratio is in our favor, in every round.
    pub fn outcome(&self, ratio: Figure) -> Outcome {
        let (above, below) =
            if self.more_is_better { (Outcome::Won, Outcome::Lost) } else { (Outcome::Lost, Outcome::Won) };
        match ratio {
            Figure { min, .. } if min > 1.0 => above,
            Figure { max, .. } if max < 1.0 => below,
            _ => Outcome::Open,
        }
    }
}

/// How a program's images per second change with the task, against another cell's, round by round.
pub fn speed_up(cell: &Cell, than: &Cell, [batch, than_batch]: [u64; 2]) -> Option<Figure> {
    let ratios = cell
        .samples
        .iter()
        .zip(&than.samples)
        .map(|(sample, than)| (batch as f64 / sample.milliseconds) / (than_batch as f64 / than.milliseconds));
    Figure::of(&ratios.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::cell::tests::cell;

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The machine halves its speed in round 2: the figures scatter, the ratio does not.
        let cells = [
            cell(Task::Training, Program::Ours, &[500.0, 1_000.0, 500.0]),
            cell(Task::Training, Program::TorchNchw, &[1_000.0, 2_000.0, 1_000.0]),
            cell(Task::Latency, Program::Ours, &[1.0]),
        ];
        let metric = images_per_second(Task::Training);
        let rows = metric.rows(&cells, 100);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].figure, Some(Figure { median: 200.0, min: 100.0, max: 200.0 }));
        assert_eq!(rows[0].ratio, None);
        assert_eq!(rows[1].figure, Some(Figure { median: 100.0, min: 50.0, max: 100.0 }));
        assert_eq!(rows[1].ratio, Some(Figure { median: 2.0, min: 2.0, max: 2.0 }));
    }

    #[test]
    fn a_peer_that_gave_up_is_compared_as_far_as_it_came() {
        let cells = [
            cell(Task::Latency, Program::Ours, &[2.0, 4.0]),
            cell(Task::Latency, Program::OnnxRuntime, &[1.0]),
            cell(Task::Latency, Program::TorchNchw, &[]),
        ];
        let rows = milliseconds(Task::Latency).rows(&cells, 1);
        assert_eq!(rows[1].ratio.map(|r| r.median), Some(2.0));
        assert_eq!((rows[2].figure, rows[2].ratio), (None, None));
        // Nobody's memory is known here.
        assert!(megabytes(Task::Latency).rows(&cells, 1).iter().all(|row| row.figure.is_none()));
    }

    #[test]
    fn who_wins_depends_on_what_is_measured() {
        let ratio = |min, max| Figure { median: f64::midpoint(min, max), min, max };
        let (speed, time) = (images_per_second(Task::Evaluation), milliseconds(Task::Evaluation));
        for (ratio, by_speed, by_time) in [
            (ratio(1.1, 1.3), Outcome::Won, Outcome::Lost),
            (ratio(0.5, 0.9), Outcome::Lost, Outcome::Won),
            (ratio(0.9, 1.1), Outcome::Open, Outcome::Open),
        ] {
            assert_eq!((speed.outcome(ratio), time.outcome(ratio)), (by_speed, by_time));
        }
    }
}
