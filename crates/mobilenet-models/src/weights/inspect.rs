//! What a file of weights holds, and the same weights under other names.

use std::collections::BTreeMap;
use std::path::Path;

use ::safetensors::tensor::{Dtype, TensorView};
use candle_core::Device;
use mobilenet_common::files;

use super::file::WeightsFile;
use super::fit::{Fit, closest};
use super::reading::{Naming, Reading, readings};
use super::{Error, numbers, timm};
use crate::{ModelConfig, TensorProblem};

/// What a file of weights holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// `safetensors`, `PyTorch` or `JSON` (a model in several files).
    pub format: &'static str,
    /// Every tensor of the file, sorted by name.
    pub tensors: Vec<StoredTensor>,
    /// What the names of the network's tensors begin with in the file; other networks in it are left aside.
    pub prefix: String,
    /// How the file names the network's tensors.
    pub naming: Naming,
    /// The network that they come closest to, with as many classes as they have, or one where they have no last layer.
    /// Strides are in no weights: the preset is the one with the published ones.
    pub network: Option<ModelConfig>,
    /// Whether the file has the network's last layer.
    pub has_classifier: bool,
    /// What is missing of it, unexpected, or of another shape; empty if the network is just this.
    pub problems: Vec<TensorProblem>,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    /// Its name in the file.
    pub name: String,
    /// Its shape in the file.
    pub shape: Vec<usize>,
    /// The type of its numbers, as PyTorch spells it: `float32`.
    pub dtype: String,
    /// Its name in torchvision's state dict, if it is one of the network's.
    pub torchvision: Option<String>,
}

/// Says what a file of weights holds. Of its numbers nothing is read.
///
/// # Errors
/// A file that cannot be read, is not weights or is damaged.
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspection, Error> {
    let file = WeightsFile::open(path.as_ref())?;
    let (reading, found) = best(&file);
    let by_source: BTreeMap<&str, &str> =
        reading.tensors.iter().map(|(name, entry)| (entry.source.as_str(), name.as_str())).collect();
    let tensors = file.tensors.iter().map(|(name, stored)| StoredTensor {
        name: name.clone(),
        shape: stored.shape.clone(),
        dtype: stored.number.name().to_owned(),
        torchvision: by_source.get(name.as_str()).map(|name| (*name).to_owned()),
    });
    let has_classifier = found.as_ref().is_some_and(|(_, fit)| fit.has_classifier());
    let (network, problems) = match found {
        Some((config, fit)) => (Some(config), fit.problems),
        None => (None, Vec::new()),
    };
    Ok(Inspection {
        format: file.format.name(),
        tensors: tensors.collect(),
        prefix: reading.prefix.clone(),
        naming: reading.naming,
        network,
        has_classifier,
        problems,
    })
}

/// What [`convert`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// The network.
    pub network: ModelConfig,
    /// How many tensors were written.
    pub tensors: usize,
    /// How the file named them.
    pub from: Naming,
}

/// Writes a file's network as float32 to a `.safetensors` file under torchvision's names or timm's. Where the two
/// disagree in batch norm's eps, the variances make up for it.
///
/// # Errors
/// Those of [`inspect`]; tensors that are not those of a network ([`Error::Mismatch`]), or not finite; a network that
/// timm does not have; a file that cannot be written.
pub fn convert(path: impl AsRef<Path>, out: impl AsRef<Path>, naming: Naming) -> Result<Conversion, Error> {
    let (path, out) = (path.as_ref(), out.as_ref());
    let mut file = WeightsFile::open(path)?;
    let (reading, found) = best(&file);
    let not_a_network = |found| Error::NotWeights { path: path.to_path_buf(), found };
    let Some((network, fit)) = found else {
        return Err(not_a_network("tensors of none of these networks".into()));
    };
    if !fit.problems.is_empty() {
        return Err(Error::Mismatch { path: path.to_path_buf(), problems: fit.problems, holds: None });
    }
    let Reading { tensors, naming: from, .. } = reading;
    let tensors = match naming {
        Naming::Torchvision => tensors,
        Naming::Timm => timm::from_torchvision(tensors, &network)
            .ok_or_else(|| not_a_network(format!("{}, which timm does not have", network.title())))?,
    };
    let mut written = Vec::with_capacity(tensors.len());
    for (name, entry) in tensors {
        let values = numbers(&mut file, &entry, &Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        written.push((name, entry.shape, bytes));
    }
    write(&written, out)?;
    Ok(Conversion { network, tensors: written.len(), from })
}

/// Writes float32 tensors with the metadata that PyTorch's users expect.
fn write(tensors: &[(String, Vec<usize>, Vec<u8>)], out: &Path) -> Result<(), Error> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, shape, bytes) in tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(candle_core::Error::from)?;
        views.push((name.as_str(), view));
    }
    let format = [("format".to_owned(), "pt".to_owned())].into();
    let bytes = ::safetensors::serialize(views, Some(format)).map_err(candle_core::Error::from)?;
    files::write(out, &bytes).map_err(|source| Error::Io { path: out.to_path_buf(), action: "write", source })
}

/// The reading that comes closest to a network.
fn best(file: &WeightsFile) -> (Reading, Option<(ModelConfig, Fit)>) {
    let all = readings(file, &[]).into_iter().map(|reading| {
        let found = closest(&reading);
        (reading, found)
    });
    let problems =
        |found: &Option<(ModelConfig, Fit)>| found.as_ref().map_or(usize::MAX, |(_, fit)| fit.problems.len());
    all.min_by_key(|(_, found)| problems(found)).expect("a file has at least one reading")
}
