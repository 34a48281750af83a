//! A run's folder: its settings and its weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::{DType, Device};
use candle_nn::VarMap;
use mobilenet_bench::Environment;
use mobilenet_common::files;
use mobilenet_data::{Dataset, Normalization, Source, Split};
use mobilenet_layers::{Precision, seeded_var_builder};
use mobilenet_models::{MobileNet, ModelConfig, weights};
use mobilenet_train::{CHECKPOINT_FILE, METRICS_FILE, TrainConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;

/// All settings, written first.
pub const CONFIG_FILE: &str = "config.json";
/// The final weights under torchvision's names.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Written last: the training is complete.
pub const TRAIN_FILE: &str = "train.json";
/// What `mobilenet eval` found.
pub const EVAL_FILE: &str = "eval.json";

/// The largest JSON file that is read: 64 MiB.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

/// `config.json`: everything that the run was started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunConfig {
    pub model: ModelConfig,
    pub train: TrainSettings,
    pub data: DataConfig,
    /// What the settings started from.
    #[serde(default)]
    pub recipe: Recipe,
    /// Weights that the training started from.
    pub init: Option<PathBuf>,
    /// Whether everything below the classifier stays as it was at the start.
    #[serde(default)]
    pub freeze_features: bool,
    /// The run whose network teaches.
    #[serde(default)]
    pub teacher: Option<PathBuf>,
    pub environment: Environment,
    pub command: String,
}

/// How a run is trained: the trainer's settings, and in the same JSON object what the network itself is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    #[serde(flatten)]
    pub config: TrainConfig,
    /// What the network multiplies and keeps while it is trained; evaluation is always float32.
    #[serde(default)]
    pub precision: Precision,
}

/// The data of a run, as it was asked for and as it was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DataConfig {
    pub source: Source,
    pub data_dir: Option<PathBuf>,
    /// What folders of pictures are resized to.
    pub image_size: usize,
    pub name: String,
    pub copy: String,
    pub classes: Vec<String>,
    /// Height and width of the images.
    pub image: [usize; 2],
    /// Images that were trained on: after the limit, without the validation images.
    pub train_images: usize,
    /// Test images, after the limit.
    pub test_images: usize,
    pub limit_train: Option<usize>,
    pub limit_test: Option<usize>,
    pub validation: Option<usize>,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub fallback: bool,
}

/// The images of a run.
pub struct RunData {
    pub train: Split,
    /// Held out of the training images.
    pub validation: Option<Split>,
    pub test: Split,
}

impl DataConfig {
    /// Takes the run's part of a set and notes its numbers. The same set gives the same part.
    pub fn cut(&mut self, dataset: Dataset, seed: u64) -> Result<RunData> {
        let Normalization { mean, std } = dataset.normalization();
        (self.mean, self.std, self.fallback) = (mean, std, dataset.fallback);
        self.image = [dataset.train.height(), dataset.train.width()];
        let limited = |split: Split, limit: Option<usize>| split.take(limit.unwrap_or(usize::MAX));
        let mut train = limited(dataset.train, self.limit_train);
        let test = limited(dataset.test, self.limit_test);
        let mut validation = None;
        if let Some(n) = self.validation {
            let (rest, held_out) = train.split_off_validation(n, seed).context("--validation")?;
            (train, validation) = (rest, Some(held_out));
        }
        (self.train_images, self.test_images) = (train.len(), test.len());
        Ok(RunData { train, validation, test })
    }

    pub fn normalization(&self) -> Normalization {
        Normalization { mean: self.mean, std: self.std }
    }

    /// Fails unless `dataset` is the set that the run was started with.
    pub fn check_same(&self, dataset: &Dataset) -> Result<()> {
        let same = (&self.name, &self.copy, &self.classes) == (&dataset.name, &dataset.copy, &dataset.classes);
        ensure!(
            same,
            "the data is not the run's: expected {} ({}), found {} ({}); --data-dir names another folder",
            self.name,
            self.copy,
            dataset.name,
            dataset.copy
        );
        Ok(())
    }
}

impl RunConfig {
    /// The weights that the run ends with.
    pub fn weights_label(&self) -> String {
        let chosen = match self.data.validation {
            Some(n) => format!("best on {n} validation images"),
            None => "last epoch".into(),
        };
        match self.train.config.ema {
            Some(decay) => format!("{chosen}, moving average {decay}"),
            None => chosen,
        }
    }
}

/// Whether the folder holds the beginnings of a training. Settings alone are none.
pub fn has_training(folder: &Path) -> bool {
    [CHECKPOINT_FILE, METRICS_FILE, WEIGHTS_FILE, TRAIN_FILE].iter().any(|name| folder.join(name).exists())
}

/// Reads a JSON file of a run.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = files::read_text(path, MAX_JSON_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: truncated or not a run's file", path.display()))
}

/// Reads a run's settings.
pub fn read_config(folder: &Path) -> Result<RunConfig> {
    ensure!(folder.is_dir(), "{}: no such folder", folder.display());
    let path = folder.join(CONFIG_FILE);
    ensure!(path.is_file(), "{}: not a run of `mobilenet train`: it holds no {CONFIG_FILE}", folder.display());
    read_json(&path)
}

/// A trained network.
pub struct Trained {
    pub model: MobileNet,
    /// Where the weights come from.
    pub weights: String,
}

/// A network with the run's final weights, or its checkpoint's if the training is not complete.
pub fn load_model(folder: &Path, config: &RunConfig, device: &Device) -> Result<Trained> {
    let vars = VarMap::new();
    let vb = seeded_var_builder(&vars, config.train.config.seed, DType::F32, device);
    let model = MobileNet::new(&config.model, vb)?;
    let (path, checkpoint) = (folder.join(WEIGHTS_FILE), folder.join(CHECKPOINT_FILE));
    // A link that leads nowhere is an error, not a reason to take the checkpoint.
    let weights = if path.symlink_metadata().is_ok() {
        let report = weights::load(&vars, &path)?;
        if let Some(fresh) = report.fresh_classifier {
            let (expected, found) = (fresh.model_classes, fresh.file_classes);
            bail!("{}: expected {expected} classes as in {CONFIG_FILE}, found {found}", path.display());
        }
        config.weights_label()
    } else if checkpoint.exists() {
        load_checkpoint(&vars, &checkpoint, device)?;
        "checkpoint of an unfinished training".into()
    } else {
        bail!("{}: holds neither {WEIGHTS_FILE} nor {CHECKPOINT_FILE}: nothing has been trained yet", folder.display());
    };
    Ok(Trained { model, weights })
}

/// The weights in a checkpoint of the trainer: its tensors `model.*`, or their moving average `ema.*` if there is one.
fn load_checkpoint(vars: &VarMap, path: &Path, device: &Device) -> Result<()> {
    let values: usize = vars.all_vars().iter().map(|var| var.elem_count()).sum();
    // Weights, an optimizer's buffers and an average, each of the network's size, and a history.
    let bytes = files::read(path, 8 * 4 * values as u64 + (64 << 20))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, device)
        .with_context(|| format!("{}: cut short, damaged or not a checkpoint", path.display()))?;
    let vars = vars.data().lock().map_err(|_| anyhow!("the network's variables are locked"))?;
    // What the run would end with, and its metrics are of.
    let kind = if tensors.keys().any(|name| name.starts_with("ema.")) { "ema." } else { "model." };
    let mut problems = Vec::new();
    for (name, var) in vars.iter() {
        match tensors.get(&format!("{kind}{name}")) {
            Some(tensor) if tensor.shape() == var.shape() => var.set(&tensor.to_dtype(var.dtype())?)?,
            Some(tensor) => problems.push(format!("{name} expected {:?}, found {:?}", var.dims(), tensor.dims())),
            None => problems.push(format!("{name} is missing")),
        }
    }
    problems.sort();
    ensure!(problems.is_empty(), "{}: a checkpoint of another network: {}", path.display(), problems.join("; "));
    Ok(())
}
