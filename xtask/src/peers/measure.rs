//! The measurements: who runs what, one process each, in rounds.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mobilenet_arch::Arch;
use mobilenet_report::text;
use serde::Deserialize;

use super::arguments::{ours, peer, size, theirs};
use super::cell::{Cell, Machine, Measured, Sample, cells};
use super::environment::Environment;
use super::figures::Figure;
use super::process::run_to_end;
use super::quiet::Counters;
use super::settings::PeersPlan;
use super::task::Program;
use crate::stop;

/// No measurement takes that long, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// A measurement that others disturb is tried that often, with a pause in between.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(10);

/// Lets glibc keep the pages of freed tensors, as our own binary's allocator does. Without it, large tensors are given
/// back to the system after each use and come back page by page, which costs PyTorch far more time than it costs us:
/// that would compare allocators. Other C libraries ignore it.
pub const KEEP_PAGES: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "4000000000"), ("MALLOC_TRIM_THRESHOLD_", "8000000000")];

/// Measures everything. Fails only if this project's own part does; a peer that fails is left out from then on.
pub fn measure(settings: &PeersPlan, binary: &Path, environment: &Environment) -> Result<Measured> {
    let mut runner = Runner { settings, binary, environment, exported: HashMap::new() };
    let mut measured = Measured {
        settings: settings.clone(),
        machine: Machine::default(),
        versions: BTreeMap::new(),
        cells: cells(&settings.models),
    };
    eprintln!(
        "{} in each of {}",
        text::count(measured.cells.len() as u64, "measurement"),
        text::count(settings.rounds, "round")
    );
    for round in 1..=settings.rounds {
        for cell in &mut measured.cells {
            if cell.failure.is_some() {
                continue;
            }
            let what = format!("{}, {}, {}", cell.task.key(), cell.arch.label(), cell.program.label());
            let begun = Instant::now();
            let found = runner.undisturbed(cell, &what);
            stop::check()?;
            match found {
                Ok(Found { sample, machine, versions }) => {
                    eprintln!(
                        "round {round}/{}: {what}: {} ms, took {}",
                        settings.rounds,
                        text::significant(sample.milliseconds),
                        text::duration(begun.elapsed().as_secs_f64())
                    );
                    cell.samples.push(sample);
                    measured.machine = machine.unwrap_or(measured.machine);
                    measured.versions.extend(versions);
                }
                Err(error) if cell.program.is_ours() => return Err(error.context(what)),
                Err(error) => {
                    eprintln!("error: {what}: {error:#}; continuing without it");
                    let scratch = environment.folder.display().to_string();
                    cell.failure = Some(format!("{error:#}").replace(&scratch, "target/peers"));
                }
            }
        }
    }
    Ok(measured)
}

/// What one process says.
#[derive(Debug)]
struct Found {
    sample: Sample,
    machine: Option<Machine>,
    versions: BTreeMap<String, String>,
}

struct Runner<'a> {
    settings: &'a PeersPlan,
    binary: &'a Path,
    environment: &'a Environment,
    /// Networks for ONNX Runtime, by network and batch
    exported: HashMap<(&'static str, u64), PathBuf>,
}

impl Runner<'_> {
    /// Measures, again if others were in the way; the least disturbed attempt counts.
    fn undisturbed(&mut self, cell: &Cell, what: &str) -> Result<Found> {
        let mut best: Option<Found> = None;
        for attempt in 1..=ATTEMPTS {
            let before = Counters::now();
            let mut found = self.run(cell)?;
            found.sample.others_cores =
                before.and_then(|before| Counters::now().map(|after| after.others_since(before)));
            let Some(cores) = found.sample.others_cores.filter(|_| found.sample.is_disturbed()) else {
                return Ok(found);
            };
            eprintln!("{what}: other programs kept {cores:.1} cores busy (attempt {attempt} of {ATTEMPTS})");
            if best.as_ref().is_none_or(|best| Some(cores) < best.sample.others_cores) {
                best = Some(found);
            }
            if attempt < ATTEMPTS {
                std::thread::sleep(PAUSE);
            }
        }
        best.context("nothing was measured")
    }

    fn run(&mut self, cell: &Cell) -> Result<Found> {
        if cell.program.is_ours() {
            return parse_ours(&self.process(Command::new(self.binary).args(ours(cell, self.settings)))?);
        }
        let mut command = self.worker();
        command.args(theirs(cell, self.settings));
        if cell.program == Program::OnnxRuntime {
            command.arg("--file").arg(self.export(cell.arch, cell.task.batch(self.settings))?);
        }
        parse_theirs(&self.process(&mut command)?)
    }

    fn worker(&self) -> Command {
        let mut command = Command::new(&self.environment.python);
        command.envs(KEEP_PAGES).arg(&self.environment.worker);
        command
    }

    /// The network as an ONNX file for just this batch, written once.
    fn export(&mut self, arch: Arch, batch: u64) -> Result<PathBuf> {
        if let Some(file) = self.exported.get(&(arch.name(), batch)) {
            return Ok(file.clone());
        }
        let file = self.environment.folder.join(format!("{arch}-{}-b{batch}.onnx", self.settings.preset));
        let mut command = self.worker();
        command
            .arg("export")
            .args(peer(arch))
            .args(size(self.settings))
            .args(["--batch", &batch.to_string(), "--file"])
            .arg(&file);
        self.process(&mut command).context("the network could not be exported")?;
        self.exported.insert((arch.name(), batch), file.clone());
        Ok(file)
    }

    /// Runs a process to its end and returns what it printed.
    fn process(&self, command: &mut Command) -> Result<Vec<u8>> {
        run_to_end(
            command.env("OMP_NUM_THREADS", self.settings.threads.to_string()).envs(self.settings.environment()),
            &self.environment.folder,
            PATIENCE,
        )
    }
}

/// What `mobilenet bench --json` prints.
fn parse_ours(json: &[u8]) -> Result<Found> {
    #[derive(Deserialize)]
    struct Latency {
        p50: f64,
    }
    #[derive(Deserialize)]
    struct Report {
        latency_ms: Latency,
        peak_rss_bytes: Option<u64>,
        environment: Machine,
    }
    let report: Report = serde_json::from_slice(json).context("mobilenet bench does not print what was expected")?;
    let sample =
        Sample { milliseconds: report.latency_ms.p50, peak_rss_bytes: report.peak_rss_bytes, others_cores: None };
    Ok(Found { sample: checked(sample)?, machine: Some(report.environment), versions: BTreeMap::new() })
}

/// What the worker prints.
fn parse_theirs(json: &[u8]) -> Result<Found> {
    #[derive(Deserialize)]
    struct Report {
        milliseconds: Vec<f64>,
        peak_rss_bytes: Option<u64>,
        versions: BTreeMap<String, String>,
    }
    let report: Report = serde_json::from_slice(json).context("the worker does not print what was expected")?;
    let milliseconds = Figure::of(&report.milliseconds).context("the worker has timed nothing")?.median;
    let sample = Sample { milliseconds, peak_rss_bytes: report.peak_rss_bytes, others_cores: None };
    Ok(Found { sample: checked(sample)?, machine: None, versions: report.versions })
}

/// A time that can be divided by.
fn checked(sample: Sample) -> Result<Sample> {
    if sample.milliseconds.is_finite() && sample.milliseconds > 0.0 {
        return Ok(sample);
    }
    bail!("{} ms is not a time", sample.milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_processes_print() {
        let found = parse_ours(include_bytes!("../../fixtures/peers/ours.json")).unwrap();
        assert_eq!(
            found.sample,
            Sample { milliseconds: 640.5, peak_rss_bytes: Some(1_610_612_736), others_cores: None }
        );
        let machine = found.machine.unwrap();
        assert_eq!((&*machine.processor, machine.cores), ("A Processor", 2));
        let found = parse_theirs(include_bytes!("../../fixtures/peers/theirs.json")).unwrap();
        assert_eq!(found.sample, Sample { milliseconds: 1_600.0, peak_rss_bytes: None, others_cores: None });
        assert_eq!(found.versions["torch"], "2.1.0+cpu");
    }

    #[test]
    fn nonsense_is_an_error() {
        for json in [
            "",
            "{}",
            r#"{"milliseconds":[],"peak_rss_bytes":1,"versions":{}}"#,
            r#"{"milliseconds":[0.0],"peak_rss_bytes":1,"versions":{}}"#,
        ] {
            assert!(parse_theirs(json.as_bytes()).is_err(), "{json}");
            assert!(parse_ours(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn peers_keep_their_pages_as_we_do() {
        let set: Vec<_> = KEEP_PAGES.iter().map(|(name, _)| *name).collect();
        // Both are needed: blocks must come from the heap, and the heap must not be trimmed.
        assert_eq!(set, ["MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"]);
        assert!(KEEP_PAGES.iter().all(|(_, bytes)| bytes.parse::<u64>().is_ok_and(|bytes| bytes > 1 << 30)));
    }
}
