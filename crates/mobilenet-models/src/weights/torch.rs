//! The two formats of `torch.save`: a pickle of references to storages, and the storages' bytes.
//!
//! Sources: `torch/serialization.py` (`_save`, `_legacy_save`) and `torch/_utils.py` (`_rebuild_tensor_v2`).

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor};

use candle_core::DType;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, Pickle, StorageRef, TensorRef, Value};
use super::storage::{Number, Stored};

/// The keys under which training scripts keep the state dict beside other things.
const STATE_DICT_KEYS: [&str; 2] = ["state_dict", "model"];

/// An archive with `*/data.pkl` and one entry `*/data/KEY` for each storage, none of them compressed.
pub(super) fn from_zip(bytes: &[u8]) -> Result<BTreeMap<String, Stored<'_>>, String> {
    let entries = zip_entries(bytes).map_err(|error| error.to_string())?;
    let (folder, pickled) = entries
        .iter()
        .find_map(|(name, data)| Some((name.strip_suffix("data.pkl")?, *data)))
        .ok_or("a zip archive without data.pkl")?;
    if entries.get(&format!("{folder}byteorder")).is_some_and(|order| *order == b"big") {
        return Err("big-endian numbers".into());
    }
    state_dict(pickle::load(pickled)?.root, |storage| entries.get(&format!("{folder}data/{}", storage.key)).copied())
}

/// The data of every entry, its checksum verified.
fn zip_entries(bytes: &[u8]) -> Result<HashMap<String, &[u8]>, zip::result::ZipError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    let mut entries = HashMap::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i)?;
        let name = entry.name()?.into_owned();
        if entry.compression() != CompressionMethod::Stored {
            return Err(io::Error::other(format!("{name} is compressed")).into());
        }
        let size = io::copy(&mut entry, &mut io::sink())?;
        let data = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
        });
        entries.insert(name, data.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
    }
    Ok(entries)
}

/// Pickles of a magic number, the protocol's version, the machine's sizes, the object and the storages' keys; then, for
/// each key, the storage's length and bytes.
pub(super) fn from_legacy(bytes: &[u8]) -> Result<BTreeMap<String, Stored<'_>>, String> {
    let mut rest = bytes;
    let mut next = || -> Result<Pickle, String> {
        let pickle = pickle::load(rest)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let (_magic, _version, _sizes, object, keys) = (next()?, next()?, next()?, next()?, next()?);
    let Value::List(keys) = keys.root else { return Err("expected a list of storages".into()) };
    let sizes: HashMap<_, _> =
        object.storages.iter().map(|storage| (storage.key.clone(), number(&storage.class).1)).collect();
    let mut storages = HashMap::new();
    for key in keys {
        let cut = || format!("the file ends before the storage {key} does");
        let (length, data) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let size = sizes.get(&key).ok_or_else(|| format!("a storage {key} that no tensor uses"))?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok().and_then(|n| n.checked_mul(*size));
        let (data, after) = length.and_then(|n| data.split_at_checked(n)).ok_or_else(cut)?;
        storages.insert(key, data);
        rest = after;
    }
    state_dict(object.root, |storage| storages.get(&storage.key).copied())
}

/// The tensors of a state dict, their numbers looked up by `storage_bytes`.
fn state_dict<'a>(
    root: Value,
    storage_bytes: impl Fn(&StorageRef) -> Option<&'a [u8]>,
) -> Result<BTreeMap<String, Stored<'a>>, String> {
    let Value::Dict(entries) = unwrapped(&root) else { return Err("expected a state dict".into()) };
    let mut stored = BTreeMap::new();
    for (name, value) in entries {
        if let Value::Tensor(tensor) = value {
            let TensorRef { storage, offset, shape, strides } = &**tensor;
            let bytes = storage_bytes(storage).ok_or_else(|| format!("{name}: no storage {}", storage.key))?;
            let view = Stored::view(bytes, number(&storage.class).0, *offset, shape.clone(), strides.clone());
            stored.insert(name.to_string(), view.map_err(|reason| format!("{name}: {reason}"))?);
        }
    }
    if stored.is_empty() { Err("no tensors in it".into()) } else { Ok(stored) }
}

/// The state dict itself, out of a training script's checkpoint.
fn unwrapped(root: &Value) -> &Value {
    let Value::Dict(entries) = root else { return root };
    let inner =
        entries.iter().find(|(name, value)| STATE_DICT_KEYS.contains(&&**name) && matches!(value, Value::Dict(_)));
    inner.map_or(root, |(_, value)| value)
}

/// The numbers a storage class holds, and their size in bytes.
fn number(class: &str) -> (Number, usize) {
    let float = |dtype: DType| (Number::Float(dtype), dtype.size_in_bytes());
    let name = class.strip_suffix("Storage").unwrap_or(class);
    let other = |size| (Number::Other(name.to_lowercase()), size);
    match name {
        "Float" => float(DType::F32),
        "Double" => float(DType::F64),
        "Half" => float(DType::F16),
        "BFloat16" => float(DType::BF16),
        "Long" => other(8),
        "Int" => other(4),
        "Short" => other(2),
        _ => other(1),
    }
}
