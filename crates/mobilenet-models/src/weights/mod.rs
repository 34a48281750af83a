//! Weights from and to files, under torchvision's state-dict names.
//!
//! [`load`] reads `.safetensors`, alone or in several files with an index, and what `torch.save` writes: the zip
//! archives since PyTorch 1.6, the older plain pickles, TorchScript. They are told apart by their content. A network is
//! found in what training scripts save with it (`state_dict`, `model`, `model_ema`, …), below the prefixes of wrappers
//! (`module.`, `_orig_mod.`, …), in modules that were saved whole, and under timm's names. Nothing in a file is
//! executed. [`inspect`] says what a file holds, [`save`] and [`convert`] write `.safetensors`.
//!
//! Files are at most 8 GiB and tensors at most 1 GiB; of a file, only the network's own numbers are in memory.

mod file;
mod fit;
mod inspect;
mod pickle;
mod reading;
mod sniff;
mod storage;
mod timm;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::PoisonError;

use ::safetensors::tensor::{Dtype, TensorView};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use mobilenet_common::files;

use crate::Error;
use file::WeightsFile;
use fit::{Fit, Shapes, closest};
pub use inspect::{Conversion, Inspection, StoredTensor, convert, inspect};
pub use reading::Naming;
use reading::{Entry, Reading, readings};

/// What [`load`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The number of variables that took the file's values.
    pub loaded: usize,
    /// What the names begin with in the file: `state_dict.model.`, or nothing.
    pub prefix: String,
    /// Other prefixes under which the file has such a network.
    pub passed_over: Vec<String>,
    /// How the file names the tensors.
    pub naming: Naming,
    /// Whether the variances make up for another eps of the batch norm.
    pub eps_folded: bool,
    /// Tensors of the file without the prefix.
    pub aside: usize,
    /// The last linear layer, if the file has it for another number of classes, or not at all.
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
    /// The file's classes; 0 if it does not have the layer.
    pub file_classes: usize,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded)?;
        let shown = |prefix: &str| if prefix.is_empty() { "the top" } else { prefix.trim_end_matches('.') }.to_owned();
        if !self.prefix.is_empty() || !self.passed_over.is_empty() {
            write!(f, " from {}", shown(&self.prefix))?;
        }
        if !self.passed_over.is_empty() {
            let others: Vec<String> = self.passed_over.iter().map(|prefix| shown(prefix)).collect();
            write!(f, " (not from {})", others.join(", "))?;
        }
        if self.naming == Naming::Timm {
            write!(f, "; timm's names")?;
        }
        if self.eps_folded {
            write!(f, ", its batch norm's eps of 1e-5 made up for in the variances")?;
        }
        // Those of the networks that were passed over are no news.
        if self.aside > 0 && self.passed_over.is_empty() {
            write!(f, "; {} other tensor{} left aside", self.aside, if self.aside == 1 { "" } else { "s" })?;
        }
        match &self.fresh_classifier {
            Some(FreshClassifier { name, file_classes: 0, .. }) => write!(f, "; {name} is fresh: the file has none"),
            Some(FreshClassifier { name, model_classes, file_classes }) => {
                write!(f, "; {name} is fresh: it has {model_classes} classes, the file's has {file_classes}")
            }
            None => Ok(()),
        }
    }
}

/// Gives every variable of `vars` the value the file has for it.
///
/// Floating-point numbers of any width are converted to the variable's. `num_batches_tracked` is ignored. A last linear
/// layer for another number of classes is left as it is, and reported. Of several networks in a file the first that
/// fits is taken, moving averages before others.
///
/// # Errors
/// A file that cannot be read, is not weights or is damaged; tensors that are missing, unexpected or of another shape
/// ([`Error::Mismatch`] lists all of them); numbers that are NaN or infinite. After an error no variable has changed.
pub fn load(vars: &VarMap, path: impl AsRef<Path>) -> Result<LoadReport, Error> {
    let path = path.as_ref();
    let mut file = WeightsFile::open(path)?;
    let vars = sorted(vars);
    let expected: Shapes = vars.iter().map(|(name, var)| (name.clone(), var.dims().to_vec())).collect();
    let anchors: Vec<&str> = expected.first_key_value().into_iter().map(|(name, _)| name.as_str()).collect();
    let (reading, fit, passed_over) = choose(&file, &expected, &anchors);
    if !fit.problems.is_empty() {
        let holds = closest(&reading).filter(|(_, fit)| fit.problems.is_empty());
        let holds = holds.map(|(config, _)| format!("{}, {} classes", config.title(), config.num_classes));
        return Err(Error::Mismatch { path: path.to_path_buf(), problems: fit.problems, holds });
    }

    let mut values = Vec::with_capacity(vars.len());
    for (name, var) in &vars {
        if let Some(entry) = reading.tensors.get(name).filter(|_| !fit.is_fresh(name)) {
            values.push((var, numbers(&mut file, entry, var.device())?.to_dtype(var.dtype())?));
        }
    }
    for (var, value) in &values {
        var.set(value)?;
    }
    Ok(LoadReport {
        loaded: values.len(),
        eps_folded: reading.tensors.values().any(|entry| entry.variance != 0.0),
        prefix: reading.prefix,
        passed_over,
        naming: reading.naming,
        aside: reading.aside,
        fresh_classifier: fit.fresh,
    })
}

/// The first reading that fits, or the one that comes closest; and the prefixes of others that fit too.
fn choose(file: &WeightsFile, expected: &Shapes, anchors: &[&str]) -> (Reading, Fit, Vec<String>) {
    let fits: Vec<(Reading, Fit)> = readings(file, anchors)
        .into_iter()
        .map(|reading| {
            let fit = Fit::of(&reading, expected);
            (reading, fit)
        })
        .collect();
    let fewest = fits.iter().map(|(_, fit)| fit.problems.len()).min().unwrap_or(0);
    let mut passed_over = Vec::new();
    let mut chosen = None;
    for (reading, fit) in fits {
        match (&chosen, fit.problems.len() == fewest) {
            (None, true) => chosen = Some((reading, fit)),
            (Some(_), true) if fewest == 0 => passed_over.push(reading.prefix),
            _ => {}
        }
    }
    let (reading, fit) = chosen.expect("there is at least one reading, and one of them has the fewest problems");
    (reading, fit, passed_over)
}

/// A tensor's numbers as float32, in the network's shape.
fn numbers(file: &mut WeightsFile, entry: &Entry, device: &Device) -> Result<Tensor, Error> {
    let tensor = file.read(&entry.source, device)?.to_dtype(DType::F64)?;
    if !tensor.sum_all()?.to_scalar::<f64>()?.is_finite() {
        return Err(Error::NotFinite { path: file.path.clone(), name: entry.source.clone() });
    }
    let tensor = if entry.variance == 0.0 { tensor } else { (tensor + entry.variance)? };
    Ok(tensor.reshape(&entry.shape[..])?.to_dtype(DType::F32)?)
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
