//! Weights from and to files, under torchvision's state-dict names.
//!
//! [`load`] reads `.safetensors` and the `.pth` files of `torch.save` (the zip archives written since PyTorch 1.6 and
//! the older plain pickles), told apart by their content. [`save`] writes `.safetensors`.

mod pickle;
mod safetensors;
mod storage;
mod torch;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::PoisonError;

use ::safetensors::tensor::{Dtype, TensorView};
use candle_core::{DType, Var};
use candle_nn::VarMap;
use mobilenet_common::files;

use crate::plan::ClassifierPlan;
use crate::{Error, TensorProblem};
use storage::{Format, Stored};

/// The largest file read: no MobileNet this crate can make comes close.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// What [`load`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The number of variables that took the file's values.
    pub loaded: usize,
    /// The last linear layer, if the file has it for another number of classes.
    pub fresh_classifier: Option<FreshClassifier>,
}

/// The last linear layer of a model that was loaded from a file for another number of classes: it keeps its initial
/// values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshClassifier {
    /// The layer's path.
    pub name: String,
    /// The model's classes.
    pub model_classes: usize,
    /// The file's classes.
    pub file_classes: usize,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded)?;
        if let Some(FreshClassifier { name, model_classes, file_classes }) = &self.fresh_classifier {
            write!(f, "; {name} is fresh: it has {model_classes} classes, the file's has {file_classes}")?;
        }
        Ok(())
    }
}

/// Gives every variable of `vars` the value the file has under the same name.
///
/// Floating-point numbers of any width are converted to the variable's. `num_batches_tracked` is ignored. A last linear
/// layer for another number of classes is left as it is, and reported.
///
/// # Errors
/// A file that cannot be read, is not weights or is damaged; tensors that are missing, unexpected or of another shape
/// ([`Error::Mismatch`] lists all of them). After an error no variable has changed.
pub fn load(vars: &VarMap, path: impl AsRef<Path>) -> Result<LoadReport, Error> {
    let path = path.as_ref();
    let (format, bytes) = read(path)?;
    let damaged = |reason| Error::Damaged { path: path.to_path_buf(), format: format.name(), reason };
    let mut stored = parse(format, &bytes).map_err(damaged)?;
    stored.retain(|name, _| !name.ends_with("num_batches_tracked"));
    let vars = sorted(vars);

    let fresh_classifier = fresh_classifier(&vars, &stored);
    let is_fresh = |name: &str| {
        let fresh = fresh_classifier.as_ref().map(|fresh| fresh.name.as_str());
        fresh.is_some() && name.rsplit_once('.').map(|(layer, _)| layer) == fresh
    };
    let problems = compare(&vars, &stored, is_fresh);
    if !problems.is_empty() {
        return Err(Error::Mismatch { path: path.to_path_buf(), problems });
    }

    let mut values = Vec::with_capacity(vars.len());
    for (name, var) in &vars {
        if let Some(tensor) = stored.get(name).filter(|_| !is_fresh(name)) {
            values.push((var, tensor.to_tensor(var.device())?.to_dtype(var.dtype())?));
        }
    }
    for (var, value) in &values {
        var.set(value)?;
    }
    Ok(LoadReport { loaded: values.len(), fresh_classifier })
}

/// Writes every variable of `vars` as float32 to a `.safetensors` file.
///
/// The file appears whole or not at all: it is written beside its place, synced and renamed. Equal weights give equal
/// bytes.
///
/// # Errors
/// A file that cannot be written; variables that are not floating point.
pub fn save(vars: &VarMap, path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    let mut tensors = Vec::new();
    for (name, var) in sorted(vars) {
        let values = var.flatten_all()?.to_dtype(DType::F32)?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        tensors.push((name, var.dims().to_vec(), bytes));
    }
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in &tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(candle_core::Error::from)?;
        views.push((name.as_str(), view));
    }
    let bytes = ::safetensors::serialize(views, None).map_err(candle_core::Error::from)?;
    files::write(path, &bytes).map_err(|source| Error::Io { path: path.to_path_buf(), action: "write", source })
}

fn sorted(vars: &VarMap) -> BTreeMap<String, Var> {
    let vars = vars.data().lock().unwrap_or_else(PoisonError::into_inner);
    vars.iter().map(|(name, var)| (name.clone(), var.clone())).collect()
}

/// The file's format, from its first bytes, and all of its bytes.
fn read(path: &Path) -> Result<(Format, Vec<u8>), Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), action: "read", source };
    let not_weights = |found| Error::NotWeights { path: path.to_path_buf(), found };
    let file = files::open(path, MAX_FILE_BYTES).map_err(io)?;
    let mut bytes = Vec::new();
    (&file).take(storage::HEAD_BYTES).read_to_end(&mut bytes).map_err(io)?;
    let format = Format::of(&bytes).map_err(not_weights)?;
    (&file).take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(not_weights(format!("a file of more than {MAX_FILE_BYTES} bytes")));
    }
    Ok((format, bytes))
}

/// All tensors of a file. The error says what is wrong with the file.
fn parse(format: Format, bytes: &[u8]) -> Result<BTreeMap<String, Stored<'_>>, String> {
    match format {
        Format::Safetensors => safetensors::tensors(bytes),
        Format::TorchZip => torch::from_zip(bytes),
        Format::TorchLegacy => torch::from_legacy(bytes),
    }
}

fn fresh_classifier(vars: &BTreeMap<String, Var>, stored: &BTreeMap<String, Stored>) -> Option<FreshClassifier> {
    let name = ClassifierPlan::LAST_PATHS.into_iter().find(|path| vars.contains_key(&format!("{path}.weight")))?;
    let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
    let (&[model_classes, model_in], &[file_classes, file_in]) =
        (vars.get(&weight)?.dims(), &stored.get(&weight)?.shape[..])
    else {
        return None;
    };
    let same_layer = model_in == file_in && stored.get(&bias)?.shape == [file_classes];
    (same_layer && model_classes != file_classes).then(|| FreshClassifier {
        name: name.to_string(),
        model_classes,
        file_classes,
    })
}

fn compare(
    vars: &BTreeMap<String, Var>,
    stored: &BTreeMap<String, Stored>,
    is_fresh: impl Fn(&str) -> bool,
) -> Vec<TensorProblem> {
    let mut missing = Vec::new();
    let mut differing = Vec::new();
    for (name, var) in vars.iter().filter(|(name, _)| !is_fresh(name)) {
        let (name, expected) = (name.clone(), var.dims().to_vec());
        match stored.get(&name) {
            None => missing.push(TensorProblem::Missing { name, expected }),
            Some(tensor) if tensor.shape != expected => {
                differing.push(TensorProblem::Shape { name, expected, found: tensor.shape.clone() });
            }
            Some(tensor) => {
                if let Some(found) = tensor.not_floating_point() {
                    differing.push(TensorProblem::Dtype { name, found });
                }
            }
        }
    }
    let unexpected = stored
        .iter()
        .filter(|(name, _)| !vars.contains_key(*name))
        .map(|(name, tensor)| TensorProblem::Unexpected { name: name.clone(), found: tensor.shape.clone() });
    missing.into_iter().chain(unexpected).chain(differing).collect()
}
