//! `mobilenet train`

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device};
use candle_nn::VarMap;
use mobilenet_bench::peak_rss_bytes;
use mobilenet_data::LoadOptions;
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::{MobileNet, ModelConfig, weights};
use mobilenet_schema::{RecipeName, RunConfig, TrainRecord};
use mobilenet_train::{
    CHECKPOINT_FILE, DeviceTraining, EvalMetrics, EvalSplit, FitData, Outcome, RunOptions, TrainConfig, Trainer,
};

use crate::args::{MeanStd, TrainArgs};
use crate::data;
use crate::interrupt;
use crate::kernels;
use crate::output::{note, print, print_json, write_json};
use crate::progress::{Training, duration, percent};
use crate::request::TrainingRequest;
use crate::run::{self, CONFIG_FILE, EVAL_FILE, RunData, TRAIN_FILE, WEIGHTS_FILE};
use crate::teacher::{self, Teacher};

/// The classes of a network that was trained on ImageNet.
const IMAGENET_CLASSES: usize = 1000;

pub fn run(args: &TrainArgs) -> Result<()> {
    let out = args.out.as_path();
    ensure!(args.resume || !run::has_training(out), already_holds_a_run(out));
    let stored = match args.resume && out.join(CONFIG_FILE).exists() {
        true => Some(run::read_config(out)?),
        false => None,
    };
    let mut request = TrainingRequest::new(args, stored.as_ref())?;
    // Without a checkpoint nothing has been trained yet, and other settings do no harm.
    let stored = stored.filter(|_| run::has_training(out));
    if request.recipe == RecipeName::Finetune && request.init.is_none() {
        note("the recipe finetune starts from no weights (--init, --init-from)");
    }
    let more_epochs = stored.as_ref().is_some_and(|stored| request.has_more_epochs_than(stored));
    if let Some(stored) = &stored {
        let differences = request.differences(stored)?;
        ensure!(
            differences.is_empty(),
            "{}: the run was started with other settings: {}",
            out.display(),
            differences.join("; ")
        );
    }
    if args.resume && out.join(TRAIN_FILE).exists() && !more_epochs {
        return already_complete(out, args.json);
    }
    // Before the data is read: that it is no weights at all is soon said.
    if let Some(init) = request.init.as_ref().filter(|_| !out.join(CHECKPOINT_FILE).exists()) {
        let found = weights::inspect(init)?;
        let of_imagenet = found.network.is_some_and(|network| network.num_classes == IMAGENET_CLASSES);
        if of_imagenet && request.mean_std.is_none() && args.init_from.is_none() {
            request.mean_std = Some(MeanStd::IMAGENET);
            note("images are normalized by ImageNet's mean and standard deviation, as its weights expect (--mean-std)");
        }
    }

    let device = args.device.device.open()?;
    // Before there is a folder; what the kernels cover is found out later.
    if !device.is_cuda() {
        kernels::check_tf32(request.train.precision, None, &device)?;
    }
    request.teacher.as_deref().map(|path| teacher::Source::find(path, &device)).transpose()?;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let _lock = lock(out)?;
    // Another training may have begun and ended since the first check.
    ensure!(args.resume || !run::has_training(out), already_holds_a_run(out));
    let (mut config, data) = prepare(&mut request, stored, &device, out)?;
    if more_epochs {
        go_on(&mut config, request.train.config.epochs, data.train.len(), out)?;
    }
    let record = train(&config, data, out, args.resume, more_epochs, &device)?;
    if args.json {
        return print_json(&record);
    }
    print(&said(&record, out))
}

fn already_holds_a_run(out: &Path) -> String {
    format!("{}: already holds a run: resume it with --resume, or choose another --out", out.display())
}

/// Keeps other trainings out of the folder, by a lock on the folder itself: no file is left in it.
fn lock(out: &Path) -> Result<Option<File>> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let folder = File::open(out).with_context(|| format!("cannot lock {}", out.display()))?;
    match folder.try_lock() {
        Err(TryLockError::WouldBlock) => {
            bail!("{}: in use: another training is running there; choose another --out", out.display())
        }
        // Some network file systems have no locks; better to run without than not at all.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(Some(folder)),
    }
}

/// Loads the data and writes `config.json`, or checks that both are those of the stored run.
fn prepare(
    request: &mut TrainingRequest,
    stored: Option<RunConfig>,
    device: &Device,
    out: &Path,
) -> Result<(RunConfig, RunData)> {
    let options = LoadOptions {
        source: request.source,
        data_dir: request.data_dir.clone(),
        image_size: request.image_size,
        read: request.read.clone(),
        picture_cache: request.picture_cache,
        ..LoadOptions::default()
    };
    let dataset = data::load(&options)?;
    note(&format!("data: {}, {}", dataset.name, dataset.copy));

    if let Some(mut config) = stored {
        run::check_same(&config.data, &dataset)?;
        let data = run::cut(&mut config.data, dataset, request.train.config.seed)?;
        return Ok((config, data));
    }
    request.model.num_classes = dataset.classes.len();
    let (name, copy, classes) = (dataset.name.clone(), dataset.copy.clone(), dataset.classes.clone());
    let mut data_config = request.data_config(name, copy, classes);
    let data = run::cut(&mut data_config, dataset, request.train.config.seed)?;
    let config = RunConfig {
        model: request.model.clone(),
        train: request.train.clone(),
        data: data_config,
        recipe: request.recipe,
        init: request.init.clone(),
        freeze_features: request.freeze_features,
        teacher: request.teacher.clone(),
        environment: crate::environment::collect_on(device),
        command: command_line(),
    };
    write_json(&out.join(CONFIG_FILE), &config)?;
    Ok((config, data))
}

/// Makes a run longer: its record and its evaluation, which are of the shorter one, go; its settings change.
fn go_on(config: &mut RunConfig, epochs: usize, images: usize, out: &Path) -> Result<()> {
    let TrainConfig { epochs: before, schedule, .. } = config.train.config;
    let steps = config.train.config.steps_per_epoch(images);
    let last = config.train.config.lr((before * steps).saturating_sub(1), steps);
    config.train.config.epochs = epochs;
    note(&format!(
        "{epochs} epochs instead of {before}: the schedule ({schedule}) is that of {epochs} epochs from here on; after \
         {before} epochs the learning rate is {:.2e} and not {last:.2e}",
        config.train.config.lr(before * steps, steps)
    ));
    // The record first: without it the run is unfinished, whatever its settings say.
    for name in [TRAIN_FILE, EVAL_FILE] {
        match fs::remove_file(out.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", out.join(name).display()));
            }
            _ => {}
        }
    }
    write_json(&out.join(CONFIG_FILE), config)
}

fn train(
    config: &RunConfig,
    data: RunData,
    out: &Path,
    resume: bool,
    more_epochs: bool,
    device: &Device,
) -> Result<TrainRecord> {
    let teacher = config.teacher.as_deref().map(|path| teacher::Source::find(path, device)).transpose()?;
    let gpu = kernels::for_training(device, config, teacher.as_ref().and_then(teacher::Source::model))?;
    kernels::check_tf32(config.train.precision, gpu.as_ref(), device)?;
    kernels::note_bf16(config.train.precision, device);
    // The variables that kernels train are the host's whenever something is saved.
    let device = if gpu.is_some() { &Device::Cpu } else { device };
    let vars = VarMap::new();
    let vb = seeded_var_builder(&vars, config.train.config.seed, DType::F32, device);
    let network = |model: &ModelConfig| -> Result<MobileNet> {
        let network = MobileNet::new(model, vb.clone())?;
        Ok(if config.freeze_features { network.with_frozen_features() } else { network })
    };
    let model = network(&config.model)?.with_precision(config.train.precision);
    // Of float32, as evaluation is.
    let of_last_batch = ModelConfig { bn_momentum: Some(1.0), ..config.model.clone() };
    let statistics = config.train.config.precise_bn.map(|_| network(&of_last_batch)).transpose()?;
    let teacher = teacher.map(|source| source.open(config, device)).transpose()?;
    let resumed = out.join(CHECKPOINT_FILE).exists();
    // A checkpoint holds what has become of the initial weights, and their file may be gone.
    if let Some(init) = config.init.as_ref().filter(|_| !resumed) {
        let report = weights::load(&vars, init)?;
        note(&format!("initial weights: {report}"));
    }
    note(&format!(
        "{} {}: {} training images, {} test images, {} epochs of batch {}",
        if resumed { "resuming" } else { "training" },
        config.model.title(),
        config.data.train_images,
        config.data.test_images,
        config.train.config.epochs,
        config.train.config.batch_size
    ));
    let eval_split = if data.validation.is_some() { EvalSplit::Validation } else { EvalSplit::Test };
    let fit = FitData {
        train: Arc::new(data.train),
        eval: Arc::new(data.validation.unwrap_or(data.test)),
        eval_split,
        normalization: run::normalization(&config.data),
    };
    let options = RunOptions {
        resume,
        more_epochs,
        model: serde_json::json!({
            "model": config.model,
            "precision": config.train.precision,
            "init": config.init,
            "freeze_features": config.freeze_features,
            "teacher": config.teacher,
        }),
        ..RunOptions::default()
    };
    let mut trainer = Trainer::new(&model, &vars, model.dropout_rng().clone(), config.train.config.clone(), device)?;
    if let Some(statistics) = &statistics {
        trainer = trainer.with_statistics(statistics);
    }
    trainer = match (gpu, &teacher) {
        (None, None) => trainer,
        (None, Some(teacher)) => trainer.with_teacher(teacher.module()),
        (Some(gpu), teacher) => trainer.on_device(match teacher.as_ref().and_then(Teacher::network) {
            None => DeviceTraining::new(gpu, &config.model, config.train.precision),
            Some(taught) => DeviceTraining::taught(gpu, &config.model, config.train.precision, taught)?,
        }),
    };
    let mut training = Training::new();
    let way_on = format!("go on with: mobilenet train --resume --out {}", quoted(&out.to_string_lossy()));
    let graceful = interrupt::graceful(way_on.clone());
    let outcome = trainer.fit(&fit, out, &options, &mut training);
    training.finish();
    let outcome = outcome.map_err(|error| stopped(error, &way_on))?;
    drop(graceful);
    weights::save(&vars, out.join(WEIGHTS_FILE))?;
    let record = record(outcome, config)?;
    write_json(&out.join(TRAIN_FILE), &record)?;
    Ok(record)
}

/// What a training ends with that was asked to stop.
fn stopped(error: mobilenet_train::Error, way_on: &str) -> anyhow::Error {
    use mobilenet_train::Error::{EvaluationStopped, Stopped};
    let place = match (&error, interrupt::asked()) {
        (Stopped { epoch, step }, Some(signal)) => Some((signal, format!("in epoch {epoch} after step {step}"))),
        (EvaluationStopped, Some(signal)) => Some((signal, "while it was evaluated".to_owned())),
        _ => None,
    };
    match place {
        Some((signal, place)) => {
            interrupt::Stopped { signal, words: format!("{place}; the checkpoint is written, {way_on}") }.into()
        }
        None => error.into(),
    }
}

fn record(outcome: Outcome, config: &RunConfig) -> Result<TrainRecord> {
    let history = outcome.history;
    let seconds: f64 = history.iter().map(|m| m.seconds).sum();
    let images: f64 = history.iter().map(|m| m.images_per_second * m.seconds).sum();
    let epochs = history.len();
    let last = history.into_iter().last().context("the training has no epoch")?;
    Ok(TrainRecord {
        epochs: epochs as u64,
        last,
        seconds: outcome.elapsed_seconds,
        seconds_per_epoch: seconds / epochs as f64,
        images_per_second: images / seconds,
        peak_rss_bytes: peak_rss_bytes(),
        weights: config.weights_label(),
    })
}

fn already_complete(out: &Path, json: bool) -> Result<()> {
    let record: TrainRecord = mobilenet_schema::read(&out.join(TRAIN_FILE))?;
    note(&format!("{}: the training is complete", out.display()));
    if json {
        return print_json(&record);
    }
    print(&said(&record, out))
}

fn said(record: &TrainRecord, out: &Path) -> String {
    let TrainRecord { epochs, last, weights, .. } = record;
    let split = match last.eval {
        EvalMetrics::Test { .. } => "test",
        EvalMetrics::Validation { .. } => "validation",
    };
    format!(
        "{epochs} epochs in {} ({} each), {:.0} images/s\n\
         last epoch: {split} top-1 {}, top-5 {}, loss {:.4}\n\
         weights ({weights}): {}\n",
        duration(record.seconds),
        duration(record.seconds_per_epoch),
        record.images_per_second,
        percent(last.eval.top1()),
        percent(last.eval.top5()),
        last.eval.loss(),
        out.join(WEIGHTS_FILE).display()
    )
}

/// The command as one would type it.
fn command_line() -> String {
    let args = std::env::args_os().skip(1).map(|arg| quoted(&arg.to_string_lossy()));
    std::iter::once("mobilenet".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// A word of a command as one would type it.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+".contains(c);
    match !arg.is_empty() && arg.chars().all(plain) {
        true => arg.to_owned(),
        false => format!("'{}'", arg.replace('\'', r"'\''")),
    }
}
