//! A model in several files: `model.safetensors.index.json` says which tensor is in which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use serde::Deserialize;

use super::WeightsFile;
use crate::Error;

/// The largest index read.
const MAX_INDEX_BYTES: u64 = 16 << 20;
/// The most files of a model.
const MAX_PARTS: usize = 256;

#[derive(Deserialize)]
struct Index {
    /// File names by tensor.
    weight_map: BTreeMap<String, String>,
}

/// Takes in the files that an index names, which lie beside it.
pub(super) fn open(weights: &mut WeightsFile, file: File) -> Result<(), Error> {
    let path = weights.path.clone();
    let other = |found: String| Error::NotWeights { path: path.clone(), found };
    let mut text = Vec::new();
    file.take(MAX_INDEX_BYTES).read_to_end(&mut text).map_err(|source| Error::Io {
        path: path.clone(),
        action: "read",
        source,
    })?;
    let Ok(index) = serde_json::from_slice::<Index>(&text) else {
        return Err(other("JSON without the weight_map of a model in several files".into()));
    };
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    if names.len() > MAX_PARTS {
        return Err(other(format!("an index of {} files, expected at most {MAX_PARTS}", names.len())));
    }
    for name in names {
        // A file beside the index and nothing else.
        if !matches!(Path::new(name).components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(other(format!("an index that names {name:?}, expected the name of a file beside it")));
        }
        let path = path.with_file_name(name);
        let (format, file) = super::open(&path)?;
        weights.add(&path, format, file)?;
    }
    let missing = index.weight_map.keys().find(|name| !weights.tensors.contains_key(*name));
    match missing {
        None => Ok(()),
        Some(missing) => Err(other(format!("an index with a tensor {missing:?} that its files do not hold"))),
    }
}
