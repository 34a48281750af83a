//! A run's folder: its settings and its weights.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use candle_core::{DType, Device};
use candle_nn::VarMap;
use mobilenet_common::files;
use mobilenet_data::{Dataset, Normalization, Split};
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::{MobileNet, weights};
use mobilenet_schema::{DataConfig, RunConfig};
use mobilenet_train::{CHECKPOINT_FILE, METRICS_FILE};

/// All settings, written first.
pub const CONFIG_FILE: &str = "config.json";
/// The final weights under torchvision's names.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// Written last: the training is complete.
pub const TRAIN_FILE: &str = "train.json";
/// What `mobilenet eval` found.
pub const EVAL_FILE: &str = "eval.json";

/// The images of a run.
pub struct RunData {
    pub train: Split,
    /// Held out of the training images.
    pub validation: Option<Split>,
    pub test: Split,
}

/// Takes the run's part of a set and notes its numbers in `config`. The same set gives the same part.
pub fn cut(config: &mut DataConfig, dataset: Dataset, seed: u64) -> Result<RunData> {
    if !config.fixed_mean_std {
        let Normalization { mean, std } = dataset.normalization();
        (config.mean, config.std) = (mean, std);
    }
    config.fallback = dataset.fallback;
    config.left_out = dataset.left_out;
    config.image = [dataset.train.height(), dataset.train.width()];
    let limited = |split: Split, limit: Option<usize>| split.take(limit.unwrap_or(usize::MAX));
    let mut train = limited(dataset.train, config.limit_train);
    let test = limited(dataset.test, config.limit_test);
    let mut validation = None;
    if let Some(n) = config.validation {
        let (rest, held_out) = train.split_off_validation(n, seed).context("--validation")?;
        (train, validation) = (rest, Some(held_out));
    }
    (config.train_images, config.test_images) = (train.len(), test.len());
    Ok(RunData { train, validation, test })
}

/// What the run's images were normalized by.
pub fn normalization(config: &DataConfig) -> Normalization {
    Normalization { mean: config.mean, std: config.std }
}

/// Fails unless `dataset` is the set that the run was started with.
pub fn check_same(config: &DataConfig, dataset: &Dataset) -> Result<()> {
    if let Some(label) =
        (0..config.classes.len().max(dataset.classes.len())).find(|&i| config.classes.get(i) != dataset.classes.get(i))
    {
        let name = |classes: &[String]| classes.get(label).map_or("none", |class| class.as_str()).to_owned();
        bail!(
            "the data has other classes than the run's: expected {} as class {label}, found {}; --data-dir names another \
             folder",
            name(&config.classes),
            name(&dataset.classes)
        );
    }
    ensure!(
        (&config.name, &config.copy) == (&dataset.name, &dataset.copy),
        "the data is not the run's: expected {} ({}), found {} ({}); --data-dir names another folder",
        config.name,
        config.copy,
        dataset.name,
        dataset.copy
    );
    let (expected, found) = (&config.classes, &dataset.classes);
    ensure!(
        expected.len() == found.len(),
        "the data is not the run's: expected {} classes, found {}",
        expected.len(),
        found.len()
    );
    if let Some(i) = (0..expected.len()).find(|&i| expected[i] != found[i]) {
        bail!("the data is not the run's: expected class {i} to be {:?}, found {:?}", expected[i], found[i]);
    }
    Ok(())
}

/// Whether the folder holds the beginnings of a training. Settings alone are none.
pub fn has_training(folder: &Path) -> bool {
    [CHECKPOINT_FILE, METRICS_FILE, WEIGHTS_FILE, TRAIN_FILE].iter().any(|name| folder.join(name).exists())
}

/// Reads a run's settings.
pub fn read_config(folder: &Path) -> Result<RunConfig> {
    let path = folder.join(CONFIG_FILE);
    // What else is wrong, such as a folder that one may not enter, the system says.
    if let Err(error) = path.metadata()
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
    {
        ensure!(folder.is_dir(), "{}: no such folder", folder.display());
        bail!("{}: not a run of `mobilenet train`: it holds no {CONFIG_FILE}", folder.display());
    }
    Ok(mobilenet_schema::read(&path)?)
}

/// A trained network.
pub struct Trained {
    pub model: MobileNet,
    /// Its variables.
    pub vars: VarMap,
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
    Ok(Trained { model, vars, weights })
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
            Some(tensor) if tensor.shape() == var.shape() => {
                let sum = tensor.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
                ensure!(sum.is_finite(), "{}: {name} holds NaN or infinite numbers", path.display());
                var.set(&tensor.to_dtype(var.dtype())?)?;
            }
            Some(tensor) => problems.push(format!("{name} expected {:?}, found {:?}", var.dims(), tensor.dims())),
            None => problems.push(format!("{name} is missing")),
        }
    }
    problems.sort();
    ensure!(problems.is_empty(), "{}: a checkpoint of another network: {}", path.display(), problems.join("; "));
    Ok(())
}
