//! Training a folded network a little more, by mobilenet-train's loop.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use mobilenet_common::random::Fingerprint;
use mobilenet_layers::DropoutRng;
use mobilenet_runtime::{Network, Values};
use mobilenet_schema::RunConfig;
use mobilenet_train::{AdamWConfig, OptimizerConfig, RunOptions, Schedule, TrainConfig, Trainer};
use mobilenet_tune::Tuned;

use super::images::Images;
use crate::output::note;
use crate::progress::Training;

/// Epochs of linear warm-up: AdamW's first steps know little of the gradients' size.
const WARM_UP: f64 = 0.1;

/// What is trained, and for how long.
pub struct Plan<'a> {
    /// For messages, and a part of the folder's name.
    pub what: &'static str,
    pub epochs: usize,
    pub lr: f64,
    /// The file that is being made: a checkpoint lies beside it, so that an interrupted training goes on.
    pub out: &'a Path,
}

/// Trains `network`, with the numbers of `quantized` if there is one; returns it in float32.
pub fn train(
    plan: &Plan,
    network: &Network,
    quantized: Option<&Network>,
    images: &Images,
    config: &RunConfig,
) -> Result<Network> {
    let mut tuned = Tuned::new(network)?;
    if let Some(quantized) = quantized {
        tuned = tuned.with_ranges_of(quantized)?;
    }
    let settings = settings(&config.train.config, plan);
    let folder = checkpoint_folder(plan);
    let options = RunOptions {
        resume: true,
        model: serde_json::json!({
            "what": plan.what,
            "model": config.model,
            "from": fingerprint(network),
            "quantized": quantized.map(fingerprint),
        }),
        ..RunOptions::default()
    };
    note(&format!(
        "{}: {} training images, {} epochs of batch {}, learning rate {:e}",
        plan.what,
        images.0.train.len(),
        plan.epochs,
        settings.batch_size,
        plan.lr
    ));
    let trainer = Trainer::new(&tuned, tuned.vars(), DropoutRng::new(), settings, &Device::Cpu)?;
    let mut training = Training::new();
    let outcome = trainer.fit(&images.0, &folder, &options, &mut training);
    training.finish();
    outcome.with_context(|| {
        format!("{}; an interrupted one goes on from {}, which may be removed", plan.what, folder.display())
    })?;
    let mut trained = tuned.network()?;
    let epochs = if plan.epochs == 1 { "epoch" } else { "epochs" };
    trained.description.origin.changes.push(format!("{} for {} {epochs}", plan.what, plan.epochs));
    Ok(trained)
}

/// Removes the checkpoints, once the file is written.
pub fn clean_up(plan: &Plan) -> Result<()> {
    let folder = checkpoint_folder(plan);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The run's own images, batches, augmentation and order; a small rate that falls to 0, no decay, no average.
fn settings(run: &TrainConfig, plan: &Plan) -> TrainConfig {
    TrainConfig {
        epochs: plan.epochs,
        optimizer: OptimizerConfig::AdamW(AdamWConfig { lr: plan.lr, weight_decay: 0.0, ..AdamWConfig::default() }),
        schedule: Schedule::Cosine,
        warmup_epochs: WARM_UP,
        ema: None,
        lr_factors: Vec::new(),
        low_resolution: None,
        distillation: None,
        early_stop: None,
        ..run.clone()
    }
}

/// `FILE.fine-tuned`
fn checkpoint_folder(plan: &Plan) -> PathBuf {
    let mut name: OsString = plan.out.as_os_str().to_owned();
    name.push(format!(".{}", plan.what.replace(' ', "-")));
    PathBuf::from(name)
}

/// A hash of a network's numbers.
fn fingerprint(network: &Network) -> String {
    let mut fingerprint = Fingerprint::new();
    for (name, tensor) in &network.tensors {
        fingerprint.add_bytes(name.as_bytes());
        match &tensor.values {
            Values::F32(values) => values.iter().for_each(|value| fingerprint.add(u64::from(value.to_bits()))),
            Values::Bf16(values) => values.iter().for_each(|bits| fingerprint.add(u64::from(*bits))),
            Values::I8(values) => values.iter().for_each(|value| fingerprint.add(u64::from(value.cast_unsigned()))),
        }
    }
    format!("{:016x}", fingerprint.value())
}
