//! Runs the stages, one process each, and says how far it is.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mobilenet_common::files::FolderLock;
use mobilenet_report::{Inspect, Sizes, Stage, data_warning, example_images, text};
use mobilenet_schema::{
    Bench, ComparisonPlan, DataInfo, Eval, ShippedBench, ShippedEval, Source, TrainRecord, read,
    to_pretty_json_with_short_arrays,
};

use super::arguments::arguments;
use super::complete::{is_complete, is_out_of_reach};
use super::estimate::Estimator;
use super::process::Program;
use super::stages::title;
use super::{announce, build};
use crate::files;

/// Runs everything that is not complete yet, by `binary` or by one that is built for it.
///
/// The lock of the folder is every child's standard input (it is empty): so it holds as long as a child lives, even if
/// this process is killed, and no second training can start in the folder of one that still runs.
pub fn run(
    settings: &ComparisonPlan,
    out: &Path,
    stages: &[Stage],
    binary: Option<PathBuf>,
    lock: &FolderLock,
) -> Result<()> {
    let mut runner = Runner {
        program: Program { binary: PathBuf::new(), lock },
        warned: false,
        settings,
        out,
        stages,
        estimator: Estimator::new(settings.threads.unwrap_or_else(available_threads)),
        data: None,
        started: Instant::now(),
    };
    runner.recall();
    let open: Vec<_> = stages.iter().filter(|stage| runner.is_open(stage)).collect();
    announce::plan(settings, out, (stages.len(), &open), &runner.estimator, runner.data.as_ref());
    if matches!(settings.data, Source::Shapes10 | Source::Flaws) || runner.data.is_some() {
        runner.warn();
    }
    runner.program.binary = match binary {
        Some(binary) => binary,
        None => {
            eprintln!("building mobilenet (release) …");
            build::mobilenet(&device_feature(settings))?
        }
    };
    runner.started = Instant::now();
    for position in 0..stages.len() {
        runner.stage(position)?;
    }
    remove_exports(stages, out)
}

/// Removes the files that were exported to be measured; the runs' weights make them again in a moment.
fn remove_exports(stages: &[Stage], out: &Path) -> Result<()> {
    for stage in stages.iter().filter(|stage| matches!(stage, Stage::Export(..) | Stage::Inspect(Inspect::Export))) {
        let path = stage.artefact(out);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Threads the machine offers.
pub fn available_threads() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// The cargo feature a device asks for.
fn device_feature(settings: &ComparisonPlan) -> Vec<&'static str> {
    match settings.device.as_str() {
        "metal" => vec!["metal"],
        device if device.starts_with("cuda") => vec!["cuda"],
        _ => Vec::new(),
    }
}

struct Runner<'a> {
    program: Program<'a>,
    settings: &'a ComparisonPlan,
    out: &'a Path,
    stages: &'a [Stage],
    estimator: Estimator,
    data: Option<DataInfo>,
    started: Instant,
    /// Whether a stand-in for the data has been announced
    warned: bool,
}

impl Runner<'_> {
    /// Takes the data set and the rates that earlier calls have found.
    fn recall(&mut self) {
        self.data = read(&Stage::Data.artefact(self.out)).ok();
        for stage in self.stages {
            self.learn(stage);
        }
    }

    /// Says, once, that the pictures are not the article's.
    fn warn(&mut self) {
        let asked = DataInfo { name: self.settings.data.name().to_owned(), ..DataInfo::default() };
        let data = self.data.as_ref().unwrap_or(&asked);
        if let Some(warning) = data_warning(data).filter(|_| !self.warned) {
            println!("\nWARNING: {warning}");
            if data.fallback {
                println!(
                    "To compare on CIFAR-10, give --data-dir and another --out, or remove {} and call again with a \
                     network.",
                    self.out.display()
                );
            }
            println!();
            self.warned = true;
        }
    }

    /// Whether a stage is still to be run, as far as it can be told without failing.
    fn is_open(&self, stage: &Stage) -> bool {
        let images = self.wanted_images(stage).unwrap_or_default();
        !is_complete(stage, self.settings, self.out, &images).unwrap_or(false)
            && !is_out_of_reach(stage, self.settings, self.out)
    }

    fn wanted_images(&self, stage: &Stage) -> Result<Vec<usize>> {
        match stage {
            Stage::Samples => Ok(example_images(self.settings, self.out)?),
            _ => Ok(Vec::new()),
        }
    }

    fn stage(&mut self, position: usize) -> Result<()> {
        let stage = &self.stages[position];
        let images = self.wanted_images(stage)?;
        let number = format!("[{}/{}]", position + 1, self.stages.len());
        if is_complete(stage, self.settings, self.out, &images)? {
            eprintln!("{number} {}: done before", title(stage));
        } else if is_out_of_reach(stage, self.settings, self.out) {
            eprintln!("{number} {}: left out, the weights that it needs are gone", title(stage));
        } else {
            eprintln!("{number} {}{}", title(stage), self.timing(position));
            let begun = Instant::now();
            self.execute(stage, &images)?;
            if !is_complete(stage, self.settings, self.out, &images)? {
                bail!(
                    "{}: the command ended well but {} is missing or unreadable",
                    title(stage),
                    stage.artefact(self.out).display()
                );
            }
            self.learn(stage);
            if let Some(outcome) = self.outcome(stage) {
                eprintln!("      {outcome}, took {}", text::duration(begun.elapsed().as_secs_f64()));
            }
        }
        if *stage == Stage::Data {
            let data: DataInfo = read(&stage.artefact(self.out))?;
            println!("Data: {}", data.copy);
            self.data = Some(data);
            self.warn();
        }
        Ok(())
    }

    /// What a stage and all that follow it should take; nothing for stages that take next to none.
    fn timing(&self, position: usize) -> String {
        let sizes = Sizes::new(self.settings, self.data.as_ref());
        let seconds = |stage: &Stage| self.estimator.seconds(stage, self.settings, sizes);
        let this = seconds(&self.stages[position]);
        if this < 5.0 {
            return String::new();
        }
        let open = self.stages[position..].iter().filter(|stage| self.is_open(stage));
        format!(
            ": {} (elapsed {}, remaining {})",
            text::about(this),
            text::duration(self.started.elapsed().as_secs_f64()),
            text::about(open.map(seconds).sum())
        )
    }

    /// Corrects the estimate from a finished stage.
    fn learn(&mut self, stage: &Stage) {
        let path = stage.artefact(self.out);
        match *stage {
            Stage::BenchTraining(network) => {
                if let Ok(bench) = read::<Bench>(&path) {
                    self.estimator.correct(network, bench.images_per_second);
                }
            }
            Stage::Train(network, _) => {
                if let Ok(record) = read::<TrainRecord>(&path) {
                    self.estimator.correct(network, record.images_per_second);
                }
            }
            _ => {}
        }
    }

    /// The figure a stage was run for.
    fn outcome(&self, stage: &Stage) -> Option<String> {
        let path = stage.artefact(self.out);
        match *stage {
            Stage::Bench { .. } => {
                let bench: Bench = read(&path).ok()?;
                Some(format!("{} ms an image (median, batch {})", text::significant(bench.latency_ms.p50), bench.batch))
            }
            Stage::BenchTraining(network) => {
                Some(format!("{} images per second", text::significant(self.estimator.train_rate(network))))
            }
            Stage::Train(..) | Stage::Advice(_) => {
                let record: TrainRecord = read(&path).ok()?;
                Some(format!(
                    "{} at {} images per second",
                    text::count(record.epochs, "epoch"),
                    text::significant(record.images_per_second)
                ))
            }
            Stage::Eval(..) | Stage::AdviceEval(_) => {
                let eval: Eval = read(&path).ok()?;
                Some(format!("{} of the test images classified correctly", text::percent(eval.test_top1)))
            }
            Stage::ShippedEval(..) | Stage::Inspect(Inspect::Eval) => {
                let eval: ShippedEval = read(&path).ok()?;
                Some(format!("{} of the test images classified correctly", text::percent(eval.test_top1)))
            }
            Stage::ShippedBench { .. } | Stage::Inspect(Inspect::Bench) => {
                let bench: ShippedBench = read(&path).ok()?;
                Some(format!("{} ms an image (median)", text::significant(bench.latency_ms.p50)))
            }
            _ => None,
        }
    }

    fn execute(&mut self, stage: &Stage, images: &[usize]) -> Result<()> {
        if *stage == Stage::Data {
            return self.look_at_data();
        }
        let args = arguments(stage, self.settings, self.out, self.data.as_ref(), images);
        if let Some(run) = stage.training(self.out) {
            std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
            return self.program.run_loud(&args)?.check(stage, &args);
        }
        match stage {
            // They store their own result.
            Stage::Eval(..) | Stage::AdviceEval(_) => self.program.run(&args)?.check(stage, &args),
            // The file is its result, and the process writes it.
            Stage::Export(..) => {
                let folder = self.out.join("shipped");
                std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
                self.program.run(&args)?.check(stage, &args)
            }
            Stage::Inspect(Inspect::Export) => self.program.run(&args)?.check(stage, &args),
            // Ten thousand answers are to take a line, not as many.
            Stage::ShippedEval(..) | Stage::Inspect(Inspect::Eval) => {
                let ended = self.program.run(&args)?;
                ended.check(stage, &args)?;
                let eval: ShippedEval = serde_json::from_slice(&ended.stdout)
                    .with_context(|| format!("{}: the command printed no such result", title(stage)))?;
                files::write(&stage.artefact(self.out), to_pretty_json_with_short_arrays(&eval)?.as_bytes())
            }
            _ => {
                let ended = self.program.run(&args)?;
                ended.check(stage, &args)?;
                files::write(&stage.artefact(self.out), &ended.stdout)
            }
        }
    }

    /// The data stage, which downloads CIFAR where it has to.
    fn look_at_data(&self) -> Result<()> {
        let stage = Stage::Data;
        let args = arguments(&stage, self.settings, self.out, None, &[]);
        let ended = self.program.run(&args)?;
        ended.check(&stage, &args)?;
        files::write(&stage.artefact(self.out), &ended.stdout)
    }
}
