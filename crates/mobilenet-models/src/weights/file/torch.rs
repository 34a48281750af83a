//! The two formats of `torch.save`: a pickle of references to storages, and the storages' bytes. TorchScript's archives
//! are like the newer one.
//!
//! Sources: `torch/serialization.py` (`_save`, `_legacy_save`) and `torch/_utils.py` (`_rebuild_tensor_v2`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use candle_core::DType;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::super::pickle::{Object, Objects, TensorRef};
use super::super::storage::{MAX_DIMS, Number, Stored};
use super::super::tree;
use super::{Fault, Place, Reader, WeightsFile};

/// The longest pickle read; that of a MobileNet saved whole has 100 kB.
const MAX_PICKLE_BYTES: u64 = 16 << 20;
/// The most entries of an archive.
const MAX_ENTRIES: usize = 1 << 16;

const NO_STORAGES: &str = "expected a list of storages";

/// A storage of the file and its length in bytes, by key.
type Storages = HashMap<String, (usize, u64)>;

/// An archive with `*/data.pkl` and one entry `*/data/KEY` for each storage, none of them compressed.
pub(super) fn add_zip(weights: &mut WeightsFile, file: File) -> Result<Reader, Fault> {
    // The archive begins where the file does. Looking for its beginning goes wrong where the second entry's header
    // looks like it: where the folder's name has 21 letters.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut archive = ZipArchive::with_config(config, BufReader::new(file)).map_err(|error| error.to_string())?;
    if archive.len() > MAX_ENTRIES {
        return Err(Fault::Other(format!("an archive of {} entries, expected at most {MAX_ENTRIES}", archive.len())));
    }
    let mut entries = HashMap::new();
    for i in 0..archive.len() {
        let entry = archive.by_index_raw(i).map_err(|error| error.to_string())?;
        let name = entry.name().map_err(|error| error.to_string())?.into_owned();
        entries.insert(name, (i, entry.size(), entry.compression() == CompressionMethod::Stored));
    }
    let folder = entries.keys().filter_map(|name| name.strip_suffix("data.pkl")).min_by_key(|folder| folder.len());
    let Some(folder) = folder.map(str::to_owned) else {
        return Err(Fault::Other(no_pickle(entries.keys())));
    };
    let mut content = |name: &str| -> Result<Option<Vec<u8>>, String> {
        let Some(&(index, bytes, stored)) = entries.get(name) else { return Ok(None) };
        if !stored {
            return Err(format!("{name} is compressed"));
        }
        if bytes > MAX_PICKLE_BYTES {
            return Err(format!("{name} has {bytes} bytes, expected at most {MAX_PICKLE_BYTES}"));
        }
        super::read_entry(&mut archive, index, &(0..bytes as usize)).map(Some)
    };
    if content(&format!("{folder}byteorder"))?.is_some_and(|order| order == b"big") {
        return Err(Fault::Other("big-endian numbers".into()));
    }
    let pickled = content(&format!("{folder}data.pkl"))?.unwrap_or_default();
    let objects = Objects::read(&pickled)?;
    let prefix = format!("{folder}data/");
    let mut storages = Storages::new();
    for (name, &(index, bytes, stored)) in &entries {
        if let Some(key) = name.strip_prefix(&prefix).filter(|_| stored) {
            storages.insert(key.to_owned(), (weights.add_storage(Place::Entry(index)), bytes));
        }
    }
    add_tensors(weights, &objects, &storages)?;
    Ok(Reader::Zip(Box::new(archive)))
}

/// What an archive without a pickle seems to be.
fn no_pickle<'a>(mut names: impl Iterator<Item = &'a String> + Clone) -> String {
    let held = if names.clone().any(|name| name.ends_with(".npy")) {
        "an archive of NumPy arrays"
    } else if names.any(|name| name == "metadata.json" || name == "config.json") {
        "a Keras archive"
    } else {
        "a zip archive without data.pkl"
    };
    held.into()
}

/// Pickles of a magic number, the protocol's version, the machine's sizes, the object and the storages' keys; then, for
/// each key, the storage's length and bytes.
pub(super) fn add_legacy(weights: &mut WeightsFile, mut file: File) -> Result<Reader, Fault> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut head = Vec::new();
    (&file).take(MAX_PICKLE_BYTES).read_to_end(&mut head).map_err(|error| error.to_string())?;
    let mut at = 0;
    let mut next = || -> Result<Objects, String> {
        let objects = Objects::read(&head[at..])?;
        at += objects.length();
        Ok(objects)
    };
    let (_magic, _version, _sizes, object, keys) = (next()?, next()?, next()?, next()?, next()?);
    let Some(list) = keys.sequence(keys.root()) else {
        return Err(Fault::Damaged(NO_STORAGES.into()));
    };
    let sizes: HashMap<&str, usize> =
        object.storages().map(|storage| (storage.key, number(storage.class).size())).collect();
    let mut at = at as u64;
    let mut storages = Storages::new();
    for &key in list {
        let Some(key) = keys.text(key) else { return Err(Fault::Damaged(NO_STORAGES.into())) };
        let cut = || format!("the file ends before the storage {key} does");
        let size = *sizes.get(key).ok_or_else(|| format!("a storage {key} that no tensor uses"))?;
        let mut count = [0; 8];
        file.seek(SeekFrom::Start(at)).map_err(|error| error.to_string())?;
        file.read_exact(&mut count).map_err(|_| cut())?;
        let bytes = u64::from_le_bytes(count).checked_mul(size as u64);
        let end = bytes.and_then(|bytes| (at + 8).checked_add(bytes)).filter(|end| *end <= length).ok_or_else(cut)?;
        let storage = weights.add_storage(Place::At(at + 8));
        storages.insert(key.to_string(), (storage, end - at - 8));
        at = end;
    }
    add_tensors(weights, &object, &storages)?;
    Ok(Reader::Plain(file))
}

/// Takes in the tensors that a pickle holds.
fn add_tensors(weights: &mut WeightsFile, objects: &Objects, storages: &Storages) -> Result<(), Fault> {
    if let Object::Tensor(_) = objects.object(objects.root()) {
        return Err(Fault::Other("a single tensor, expected a state dict".into()));
    }
    for (name, tensor) in tree::tensors(objects)? {
        let TensorRef { storage, dtype, offset, shape, strides } = tensor;
        let &place = storages.get(storage.key).ok_or_else(|| format!("{name}: no storage {}", storage.key))?;
        let sizes = |id| objects.sizes(id, MAX_DIMS);
        let (Some(offset), Some(shape), Some(strides)) = (objects.size(offset), sizes(shape), sizes(strides)) else {
            return Err(Fault::Damaged(format!("{name}: expected a shape of at most {MAX_DIMS} sizes")));
        };
        let number = number(dtype.unwrap_or(storage.class));
        let view = Stored::view(place, number, offset, shape, strides);
        let view = view.map_err(|reason| format!("{name}: {reason}"))?;
        // A name twice: in Python the last one counts.
        weights.tensors.insert(name, view);
    }
    Ok(())
}

/// The numbers that a storage's class or a dtype's name stands for.
fn number(class: &str) -> Number {
    let name = class.strip_suffix("Storage").unwrap_or(class);
    let other = |name: &str, size| Number::Other(name.to_owned(), size);
    match name {
        "Float" | "float32" => Number::Float(DType::F32),
        "Double" | "float64" => Number::Float(DType::F64),
        "Half" | "float16" => Number::Float(DType::F16),
        "BFloat16" | "bfloat16" => Number::Float(DType::BF16),
        "Long" | "int64" => other("int64", 8),
        "Int" | "int32" => other("int32", 4),
        "Short" | "int16" => other("int16", 2),
        "Char" => other("int8", 1),
        "Byte" => other("uint8", 1),
        name => other(&name.to_lowercase(), 1),
    }
}
