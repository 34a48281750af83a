//! The race: for each task all programs are started, and then take their turns, round by round.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use mobilenet_report::text;

use super::cell::{Entry, RuntimeCell, RuntimeMeasured, RuntimeProgram, cells};
use super::machine::Machine;
use super::racer::Racer;
use super::{RuntimePlan, SIZES};
use crate::peers::arguments::peer as library;
use crate::peers::environment::Environment;
use crate::peers::figures::Figure;
use crate::peers::level;
use crate::peers::process::run_to_end;
use crate::peers::quiet::Counters;

/// No start takes that long, compiling included, and no turn, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What a turn is to take, and the fewest and most passes of it.
pub const TURN_MS: f64 = 120.0;
const PASSES: (f64, f64) = (3.0, 400.0);

/// Untimed passes before those of a turn.
const WARMUP: u64 = 3;

/// Between turns: threads of some programs go on looking for work for a while.
const PAUSE: Duration = Duration::from_millis(50);

/// What others' logits may differ by from our float32 ones, in shares of the largest: in float32; and in 8 bits at least so
/// much, and so many times what ours in 8 bits differ by. Where a program rounds to 8 bits, and where it goes on in float32,
/// is its own affair, and with fresh weights it shows.
const TOLERANCES: [f64; 2] = [1e-3, 0.2];
const TIMES_OURS: f64 = 2.0;

/// Measures everything. Fails only if this project's own part does; a peer that fails is left out.
pub fn measure(plan: &RuntimePlan, peer: &Path, environment: &Environment) -> Result<RuntimeMeasured> {
    let folder = environment.folder.join("runtime");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let networks = plan.models.iter().flat_map(|arch| SIZES.map(|size| network(arch.name(), size)));
    let mut command = Command::new(peer);
    run_to_end(command.arg("files").arg(&folder).args(networks), &folder, PATIENCE)
        .context("the networks cannot be written")?;
    let mut measured = RuntimeMeasured {
        plan: plan.clone(),
        machine: Machine::found(),
        level: String::new(),
        versions: BTreeMap::new(),
        cells: cells(plan),
    };
    let race = Race { plan, peer, environment, folder: &folder };
    let count = measured.cells.len();
    let mut cells = std::mem::take(&mut measured.cells);
    for (i, cell) in cells.iter_mut().enumerate() {
        let what = cell.title();
        let before = Counters::now();
        race.run(cell, &mut measured).with_context(|| what.clone())?;
        cell.others_cores = before.and_then(|before| Counters::now().map(|after| after.others_since(before)));
        eprintln!("{} of {count}: {what}: {}", i + 1, said(cell));
    }
    measured.cells = cells;
    Ok(measured)
}

fn network(model: &str, size: u64) -> String {
    format!("{model}-{size}")
}

/// The medians, for those who watch.
fn said(cell: &RuntimeCell) -> String {
    let one = |entry: &Entry| {
        let precision = if entry.is_int8 { " int8" } else { "" };
        let figure = entry.figure().map_or_else(|| "–".to_owned(), |figure| text::significant(figure.median));
        format!("{}{precision} {figure}", entry.program.label())
    };
    format!("{} ms", cell.entries.iter().map(one).collect::<Vec<_>>().join(", "))
}

struct Race<'a> {
    plan: &'a RuntimePlan,
    peer: &'a Path,
    environment: &'a Environment,
    folder: &'a Path,
}

impl Race<'_> {
    fn run(&self, cell: &mut RuntimeCell, measured: &mut RuntimeMeasured) -> Result<()> {
        let mut racers = Vec::new();
        for i in 0..cell.entries.len() {
            match self.start(cell, i) {
                Ok((racer, passes)) => {
                    measured.versions.extend(racer.ready.versions.clone());
                    racers.push((i, racer, passes));
                }
                Err(error) if cell.entries[i].program == RuntimeProgram::Ours => return Err(error),
                Err(error) => leave_out(&mut cell.entries[i], format!("{error:#}")),
            }
        }
        // In 8 bits, who finds others with weights that have a sign gets those without one.
        for (i, reason) in disagreeing(&cell.entries, &racers) {
            racers.retain(|(other, ..)| *other != i);
            if !cell.entries[i].is_int8 {
                leave_out(&mut cell.entries[i], reason);
                continue;
            }
            eprintln!("{}: {reason}; once more with weights without a sign", cell.entries[i].program.label());
            cell.entries[i].unsigned = Some(reason);
            match self.start(cell, i) {
                Ok((racer, passes)) => racers.push((i, racer, passes)),
                Err(error) => leave_out(&mut cell.entries[i], format!("{error:#}")),
            }
        }
        for (i, reason) in disagreeing(&cell.entries, &racers) {
            racers.retain(|(other, ..)| *other != i);
            leave_out(&mut cell.entries[i], reason);
        }
        let ours = racers.iter().find(|(i, ..)| cell.entries[*i].program == RuntimeProgram::Ours);
        measured.level = ours.map_or_else(String::new, |(_, racer, _)| racer.ready.level.clone());
        for _ in 0..self.plan.rounds {
            for (i, racer, passes) in &mut racers {
                std::thread::sleep(PAUSE);
                racer.passes(WARMUP, PATIENCE)?;
                let times = racer.passes(*passes, PATIENCE)?;
                cell.entries[*i].milliseconds.extend(Figure::of(&times).map(|figure| figure.median));
            }
        }
        Ok(())
    }

    /// Starts the program of an entry, which then is ready to take turns of so many passes.
    fn start(&self, cell: &RuntimeCell, i: usize) -> Result<(Racer, u64)> {
        let stderr = self.folder.join(format!("stderr-{i}.txt"));
        self.ready(Racer::start(&mut self.command(cell, &cell.entries[i]), &stderr, PATIENCE)?)
    }

    /// How many passes are a turn of this one.
    fn ready(&self, mut racer: Racer) -> Result<(Racer, u64)> {
        racer.passes(WARMUP, PATIENCE)?;
        let times = racer.passes(PASSES.0 as u64, PATIENCE)?;
        let least = times.into_iter().fold(f64::INFINITY, f64::min);
        Ok((racer, (TURN_MS / least).clamp(PASSES.0, PASSES.1) as u64))
    }

    fn command(&self, cell: &RuntimeCell, entry: &Entry) -> Command {
        let program = entry.program;
        let precision = match (entry.is_int8, &entry.unsigned) {
            (false, _) => "float32",
            (true, None) => "int8",
            (true, Some(_)) => "int8-unsigned",
        };
        let ending = if program == RuntimeProgram::Ours { "safetensors" } else { "onnx" };
        let name = network(cell.arch.name(), cell.size);
        let file = self.folder.join(format!("{name}.{precision}.{ending}"));
        let [batch, threads, sessions] = cell.task.shape();
        let mut command = match program {
            RuntimeProgram::Ours | RuntimeProgram::Tract => {
                let mut command = Command::new(self.peer);
                command.arg(program.key()).arg(file).arg(batch.to_string());
                match sessions {
                    1 => command.arg(threads.to_string()),
                    _ => command.arg("sessions").arg(sessions.to_string()),
                };
                command
            }
            _ => {
                let mut command = Command::new(&self.environment.python);
                command.arg(&self.environment.worker).args(["serve", "--program", program.key()]);
                command.arg("--file").arg(file).args(library(cell.arch));
                let numbers =
                    [("--size", cell.size), ("--batch", batch), ("--threads", threads), ("--sessions", sessions)];
                command.args(numbers.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]));
                command
            }
        };
        if let Some(name) = &self.plan.level {
            command.env(level::OURS, name);
        }
        command.env("OMP_NUM_THREADS", threads.to_string()).envs(self.plan.environment());
        command
    }
}

fn leave_out(entry: &mut Entry, reason: String) {
    eprintln!("error: {}: {reason}; continuing without it", entry.program.label());
    entry.failure = Some(reason);
}

/// The programs that run our network and do not find what we find, and by how much.
fn disagreeing(entries: &[Entry], racers: &[(usize, Racer, u64)]) -> Vec<(usize, String)> {
    let found = |is_int8: bool| {
        let of_precision = racers.iter().filter(move |(i, ..)| entries[*i].is_int8 == is_int8);
        of_precision.filter_map(|(i, racer, _)| racer.ready.logits.as_ref().map(|logits| (*i, logits)))
    };
    // We are the first of each precision.
    let Some((_, expected)) = found(false).next() else { return Vec::new() };
    let own = found(true).next().and_then(|(_, logits)| difference(expected, logits)).unwrap_or(0.0);
    let limits = [TOLERANCES[0], (TIMES_OURS * own).max(TOLERANCES[1])];
    let mut disagreeing = Vec::new();
    for is_int8 in [false, true] {
        for (i, logits) in found(is_int8).filter(|(i, _)| entries[*i].program != RuntimeProgram::Ours) {
            let reason = match difference(expected, logits) {
                Some(difference) if difference <= limits[usize::from(is_int8)] => continue,
                Some(difference) => {
                    format!("its logits differ from our float32 ones by {difference:.3} of the largest")
                }
                None => format!("expected {} finite logits, found {}", expected.len(), logits.len()),
            };
            disagreeing.push((i, reason));
        }
    }
    disagreeing
}

/// The largest difference, in shares of the largest number; nothing where there are more of one than of the other.
fn difference(expected: &[f64], found: &[f64]) -> Option<f64> {
    let largest = expected.iter().fold(0f64, |most, value| most.max(value.abs()));
    let most = expected.iter().zip(found).fold(0f64, |most, (a, b)| most.max((a - b).abs()));
    (expected.len() == found.len() && most.is_finite()).then(|| most / largest.max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shares_of_the_largest_number() {
        assert_eq!(difference(&[4.0, -8.0], &[5.0, -8.0]), Some(0.125));
        assert_eq!(difference(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(difference(&[1.0], &[f64::INFINITY]), None);
    }
}
