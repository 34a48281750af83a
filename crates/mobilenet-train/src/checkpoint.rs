//! One `.safetensors` file with everything that resuming needs.
//!
//! Tensors: `model.NAME` for every variable (weights and batch-norm statistics) and `optimizer.BUFFER.NAME` for the
//! optimizer's state, `ema.NAME` for the moving average if there is one. The metadata entry `mobilenet_train` is JSON:
//! format version, configuration, position in the run, metrics so far. Data order, augmentation and dropout are
//! functions of (seed, epoch, step), so they need no state.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{Tensor, Var};
use mobilenet_common::files;
use mobilenet_common::json::{Difference, differences};
use safetensors::tensor::Dtype;
use safetensors::{SafeTensorError, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::metrics::Tally;
use crate::run::Best;
use crate::variables::{NamedArray, host_values, sorted_vars};
use crate::{Ema, EpochMetrics, Error, Optimizer};

const FORMAT_VERSION: u32 = 1;
const METADATA_KEY: &str = "mobilenet_train";
const EMA: &str = "ema.";

/// Position in a run and its history: the JSON part of a checkpoint.
#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Completed epochs.
    pub epochs_done: usize,
    /// Completed steps of the epoch after those.
    pub steps_done: usize,
    /// Sums over these steps.
    pub tally: Tally,
    /// Wall time of these steps.
    pub epoch_seconds: f64,
    /// Wall time of the run.
    pub elapsed_seconds: f64,
    /// One line per completed epoch.
    pub history: Vec<EpochMetrics>,
    /// The best epoch on the held-out images, if there are any.
    pub best: Option<Best>,
}

impl Progress {
    /// What no run of so many epochs of so many steps can have written.
    fn problem(&self, epochs: usize, steps: usize) -> Option<String> {
        let Self { epochs_done, steps_done, history, best, .. } = self;
        let numbers = [self.epoch_seconds, self.elapsed_seconds, self.tally.loss()];
        let numbered = history.iter().zip(1..).all(|(metrics, epoch)| metrics.epoch == epoch);
        match () {
            () if *epochs_done > epochs => Some(format!("{epochs_done} epochs done, expected at most {epochs}")),
            () if *steps_done > steps => Some(format!("{steps_done} steps done, expected at most {steps}")),
            () if history.len() != *epochs_done || !numbered => {
                Some(format!("a history of {} epochs, expected {epochs_done}", history.len()))
            }
            () if best.is_some_and(|best| best.epoch > *epochs_done) => Some("a best epoch that is yet to come".into()),
            () if !numbers.iter().all(|number| number.is_finite()) => Some("a time or a loss that is no number".into()),
            () => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    format_version: u32,
    optimizer_steps: u64,
    #[serde(default)]
    ema_updates: u64,
    progress: Progress,
    /// Everything that must be the same on resuming.
    settings: Value,
}

/// All that a training changes as it goes, besides its [`Progress`].
pub(crate) struct State<'a> {
    pub vars: &'a candle_nn::VarMap,
    pub optimizer: Optimizer,
    pub ema: Option<Ema>,
}

/// Writes the state of a run.
pub(crate) fn save(path: &Path, state: &State<'_>, progress: &Progress, settings: &Value) -> Result<(), Error> {
    let State { vars, optimizer, ema } = state;
    let mut arrays = var_arrays(vars, "model.")?;
    let mut add = |prefix: &str, mut array: NamedArray<'_>| {
        array.name.insert_str(0, prefix);
        arrays.push(NamedArray { data: Cow::Owned(array.data.into_owned()), ..array });
    };
    optimizer.state()?.into_iter().for_each(|array| add("optimizer.", array));
    if let Some(ema) = ema {
        ema.state()?.into_iter().for_each(|array| add(EMA, array));
    }
    let metadata = Metadata {
        format_version: FORMAT_VERSION,
        optimizer_steps: optimizer.steps(),
        ema_updates: ema.as_ref().map_or(0, Ema::updates),
        progress: progress.clone(),
        settings: settings.clone(),
    };
    write(path, arrays, Some(serde_json::to_string(&metadata)?))
}

/// The bytes of a checkpoint in which every variable has its optimizer's state, and of the weights alone. A history
/// takes little room beside them.
pub(crate) fn sizes(state: &State<'_>) -> Result<(u64, u64), Error> {
    const HEADER: u64 = 64 << 10;
    let vars = sorted_vars(state.vars)?;
    let bytes = |shape: &[usize]| 4 * shape.iter().map(|&length| length as u64).product::<u64>();
    let weights: u64 = vars.iter().map(|(_, var)| bytes(var.dims())).sum();
    let buffers: u64 =
        state.optimizer.state_shapes().iter().map(|(names, shape)| names.len() as u64 * bytes(shape)).sum();
    let average = if state.ema.is_some() { weights } else { 0 };
    Ok((weights + buffers + average + HEADER, weights + HEADER))
}

/// Writes the variables alone, under their own names.
pub(crate) fn save_weights(path: &Path, vars: &candle_nn::VarMap) -> Result<(), Error> {
    write(path, var_arrays(vars, "")?, None)
}

/// The run that a checkpoint should be of.
pub(crate) struct Expected<'a> {
    pub settings: &'a Value,
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Whether it may be of a run of fewer epochs, but otherwise the same.
    pub may_have_fewer_epochs: bool,
}

/// Reads what [`save`] wrote into a run's state. Nothing is changed if the file does not fit.
pub(crate) fn load(path: &Path, state: &mut State<'_>, expected: Expected<'_>) -> Result<Progress, Error> {
    let Expected { settings, epochs, steps, may_have_fewer_epochs } = expected;
    let bytes = read(path, state.vars)?;
    let (metadata, mut arrays) = parse(path, &bytes)?;
    let Some(metadata) = metadata else {
        return Err(Error::NotACheckpoint { path: path.into(), reason: format!("its metadata has no {METADATA_KEY}") });
    };
    // The version first: another version's metadata may have other fields.
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let not_json =
        |e: serde_json::Error| Error::NotACheckpoint { path: path.into(), reason: format!("its metadata: {e}") };
    let found = serde_json::from_str::<Version>(&metadata).map_err(not_json)?.format_version;
    if found != FORMAT_VERSION {
        return Err(Error::FormatVersion { path: path.into(), found, expected: FORMAT_VERSION });
    }
    let metadata: Metadata = serde_json::from_str(&metadata).map_err(not_json)?;

    let more_epochs =
        |d: &Difference| may_have_fewer_epochs && d.field == "train.epochs" && d.before.as_u64() < d.now.as_u64();
    let differences = differences(&of_now(metadata.settings), settings).into_iter().filter(|d| !more_epochs(d));
    let differences: Vec<_> = differences.map(|d| format!("{} was {}, now {}", d.field, d.before, d.now)).collect();
    if !differences.is_empty() {
        return Err(Error::ConfigChanged { path: path.into(), differences });
    }

    if let Some(reason) = metadata.progress.problem(epochs, steps) {
        return Err(Error::NotACheckpoint { path: path.into(), reason });
    }

    let vars = sorted_vars(state.vars)?;
    let mut expected: BTreeMap<String, (Vec<usize>, bool)> = BTreeMap::new();
    for (name, var) in &vars {
        expected.insert(format!("model.{name}"), (var.dims().to_vec(), true));
        if state.ema.is_some() {
            expected.insert(format!("{EMA}{name}"), (var.dims().to_vec(), true));
        }
    }
    // A variable that has had a gradient has all of its optimizer's buffers, any other none.
    for (names, shape) in state.optimizer.state_shapes() {
        let names: Vec<_> = names.into_iter().map(|name| format!("optimizer.{name}")).collect();
        let required = names.iter().any(|name| arrays.contains_key(name));
        expected.extend(names.into_iter().map(|name| (name, (shape.clone(), required))));
    }
    check_tensors(path, &arrays, &expected)?;

    set_vars(&vars, "model.", &mut arrays)?;
    let (mut moments, mut averages) = (HashMap::new(), HashMap::new());
    for (name, array) in arrays {
        match name.strip_prefix("optimizer.") {
            Some(name) => moments.insert(name.to_string(), array.data),
            None => averages.insert(name, array.data),
        };
    }
    state.optimizer.restore(metadata.optimizer_steps, &mut moments)?;
    if let Some(ema) = &mut state.ema {
        ema.restore(metadata.ema_updates, EMA, &mut averages)?;
    }
    Ok(metadata.progress)
}

/// The settings of a checkpoint in the places that they have now: a precision among the trainer's settings moves to the
/// model's, whose it is.
fn of_now(mut settings: Value) -> Value {
    let train = settings.get_mut("train").and_then(Value::as_object_mut);
    let precision = train.and_then(|train| train.remove("precision"));
    if let (Some(model), Some(precision)) = (settings.get_mut("model").and_then(Value::as_object_mut), precision) {
        model.entry("precision").or_insert(precision);
    }
    settings
}

/// Reads what [`save_weights`] wrote into the variables.
pub(crate) fn load_weights(path: &Path, vars: &candle_nn::VarMap) -> Result<(), Error> {
    let bytes = read(path, vars)?;
    let (_, mut arrays) = parse(path, &bytes)?;
    let vars = sorted_vars(vars)?;
    let expected = vars.iter().map(|(name, var)| (name.clone(), (var.dims().to_vec(), true))).collect();
    check_tensors(path, &arrays, &expected)?;
    set_vars(&vars, "", &mut arrays)
}

fn var_arrays(vars: &candle_nn::VarMap, prefix: &str) -> Result<Vec<NamedArray<'static>>, Error> {
    let array = |(name, var): (String, Var)| {
        Ok(NamedArray { name: format!("{prefix}{name}"), shape: var.dims().to_vec(), data: host_values(&var)? })
    };
    sorted_vars(vars)?.into_iter().map(array).collect()
}

fn set_vars(vars: &[(String, Var)], prefix: &str, arrays: &mut HashMap<String, Array>) -> Result<(), Error> {
    for (name, var) in vars {
        if let Some(array) = arrays.remove(&format!("{prefix}{name}")) {
            var.set(&Tensor::from_vec(array.data, var.shape(), var.device())?)?;
        }
    }
    Ok(())
}

fn write(path: &Path, arrays: Vec<NamedArray<'_>>, metadata: Option<String>) -> Result<(), Error> {
    let metadata = metadata.map(|json| HashMap::from([(METADATA_KEY.to_string(), json)]));
    let named = arrays.into_iter().map(|array| (array.name.clone(), array));
    let bytes =
        safetensors::serialize(named, metadata).map_err(|e| Error::io("write", path)(std::io::Error::other(e)))?;
    files::write(path, &bytes).map_err(Error::io("write", path))
}

/// Reads a file that holds `vars` and what an optimizer and an average keep of each: the largest sensible one has a few
/// times the variables' bytes, and a history.
fn read(path: &Path, vars: &candle_nn::VarMap) -> Result<Vec<u8>, Error> {
    let elements: usize = sorted_vars(vars)?.iter().map(|(_, var)| var.elem_count()).sum();
    let max_bytes = 8 * 4 * elements as u64 + (64 << 20);
    files::read(path, max_bytes).map_err(Error::io("read", path))
}

/// A tensor of a file. Data of a type other than `f32` is left out; the type shows which case it is.
struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<f32>,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(Option<String>, HashMap<String, Array>), Error> {
    let not_safetensors = |e: SafeTensorError| match e {
        // The header is there but the numbers end early (or go on).
        SafeTensorError::MetadataIncompleteBuffer
        | SafeTensorError::InvalidHeaderLength
        | SafeTensorError::HeaderTooSmall => Error::Damaged { path: path.into(), reason: e.to_string() },
        e => Error::NotACheckpoint { path: path.into(), reason: e.to_string() },
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let metadata = header.metadata().as_ref().and_then(|m| m.get(METADATA_KEY).cloned());
    let file = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let mut arrays = HashMap::new();
    for (name, view) in file.iter() {
        let mut data = Vec::new();
        if view.dtype() == Dtype::F32 {
            data.extend(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        arrays.insert(name.to_string(), Array { dtype: view.dtype(), shape: view.shape().to_vec(), data });
    }
    Ok((metadata, arrays))
}

/// `expected`: name -> (shape, whether it must be there).
fn check_tensors(
    path: &Path,
    found: &HashMap<String, Array>,
    expected: &BTreeMap<String, (Vec<usize>, bool)>,
) -> Result<(), Error> {
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (name, (shape, required)) in expected {
        match found.get(name) {
            None if *required => missing.push(name.clone()),
            Some(array) if array.shape != *shape || array.dtype != Dtype::F32 => {
                misshapen.push(format!(
                    "{name}: {:?} {:?} in the file, {shape:?} F32 in the model",
                    array.shape, array.dtype
                ));
            }
            _ => {}
        }
    }
    let mut extra: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).cloned().collect();
    extra.sort();
    if missing.is_empty() && extra.is_empty() && misshapen.is_empty() {
        return Ok(());
    }
    Err(Error::ModelMismatch { path: path.into(), missing, extra, misshapen })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_precision_among_the_trainers_settings_is_the_models() {
        let before = json!({"train": {"epochs": 3, "precision": "bf16"}, "model": {"arch": "v2"}});
        let now = json!({"train": {"epochs": 3}, "model": {"arch": "v2", "precision": "bf16"}});
        assert_eq!(of_now(before), now);
        assert_eq!(of_now(now.clone()), now);
        assert_eq!(of_now(json!({"train": {"precision": "f32"}, "model": null})), json!({"train": {}, "model": null}));
    }
}
