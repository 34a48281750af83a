//! The Python version: a pickled dictionary per file, `data` an array `[n, 3072]` of bytes, `labels` (CIFAR-100:
//! `fine_labels`) a list.

use std::borrow::Cow;
use std::path::Path;

use mobilenet_common::pickle::{Id, Pickle, Value};

use super::{Batch, PLANE, label_classes};
use crate::{Error, Place, Source};

/// What numpy calls when an array is read back, by its older and its newer names.
const RECONSTRUCT: [(&str, &str); 2] =
    [("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")];
const FROM_BUFFER: [(&str, &str); 2] = [("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")];

/// The most instructions of a pickle: ten times those of CIFAR-100's training images.
const MAX_INSTRUCTIONS: usize = 1 << 22;

/// The records of a file.
pub(super) fn parse(path: &Path, bytes: &[u8], source: Source) -> Result<Batch, Error> {
    let wrong = |reason: String| Error::Pickle { path: path.into(), reason };
    let pickle = read(path, bytes)?;
    let key = if source == Source::Cifar100 { "fine_labels" } else { "labels" };
    let missing = |key: &str| wrong(format!("expected a dictionary with data and {key}"));
    let labels = pickle.entry(pickle.root(), key).ok_or_else(|| missing(key))?;
    let data = pickle.entry(pickle.root(), "data").ok_or_else(|| missing(key))?;
    let (shape, planes) = array(&pickle, data).map_err(|reason| wrong(format!("data: {reason}")))?;
    let [n, 3072] = shape[..] else {
        return Err(wrong(format!("data: expected [n, 3072] bytes, found {shape:?}")));
    };
    if n.checked_mul(3 * PLANE) != Some(planes.len()) {
        return Err(wrong(format!("data: expected {n} x 3072 bytes, found {}", planes.len())));
    }
    let labels = integers(&pickle, labels).ok_or_else(|| wrong(format!("{key}: expected a list of integers")))?;
    if labels.len() != n {
        return Err(wrong(format!("expected {n} {key}, found {}", labels.len())));
    }
    if n == 0 {
        return Err(Error::NoImages { path: path.into() });
    }
    let classes = *label_classes(source).last().unwrap_or(&0);
    let label = |(row, &found): (usize, &i64)| match u32::try_from(found) {
        Ok(label) if (label as usize) < classes => Ok(label),
        _ => Err(Error::LabelRange { place: Place::row(path, row), found, classes }),
    };
    let labels = labels.iter().enumerate().map(label).collect::<Result<_, _>>()?;
    Ok(Batch { labels, planes: planes.into_owned() })
}

/// The class names of `batches.meta` or `meta`.
pub(super) fn names(path: &Path, bytes: &[u8], source: Source) -> Result<Vec<String>, Error> {
    let pickle = read(path, bytes)?;
    let key = if source == Source::Cifar100 { "fine_label_names" } else { "label_names" };
    let list = pickle.entry(pickle.root(), key).and_then(|id| pickle.list(id));
    let names = list.map(|list| list.iter().map(|&id| pickle.bytes(id)).collect::<Option<Vec<_>>>());
    match names.flatten() {
        Some(names) => Ok(names.iter().map(|name| super::super::names::text(name)).collect()),
        None => Err(Error::Pickle { path: path.into(), reason: format!("expected {key}, a list of names") }),
    }
}

fn read<'a>(path: &Path, bytes: &'a [u8]) -> Result<Pickle<'a>, Error> {
    if crate::decode::kind::is_lfs_pointer(bytes) {
        return Err(Error::Pickle { path: path.into(), reason: crate::decode::kind::LFS_POINTER.into() });
    }
    let read = Pickle::read(bytes, MAX_INSTRUCTIONS);
    read.map_err(|error| Error::Pickle { path: path.into(), reason: error.to_string() })
}

fn integers(pickle: &Pickle, id: Id) -> Option<Vec<i64>> {
    let items = pickle.list(id)?;
    items.iter().map(|&id| if let Value::Int(value) = pickle.value(id) { Some(*value) } else { None }).collect()
}

/// Shape and bytes of a numpy array of `uint8`.
fn array<'a>(pickle: &'a Pickle, id: Id) -> Result<(Vec<usize>, Cow<'a, [u8]>), &'static str> {
    const OTHER: &str = "expected a numpy array";
    let Value::Made(made) = pickle.value(id) else { return Err(OTHER) };
    let is = |id: Id, names: &[(&str, &str)]| pickle.global(id).is_some_and(|name| names.contains(&name));
    let list = |id: Id| pickle.list(id);
    // (version, shape, dtype, is Fortran's order, bytes), or (bytes, dtype, shape, order).
    let (shape, dtype, raw) = if is(made.of, &RECONSTRUCT) {
        let Some(&[_, shape, dtype, _, raw]) = made.state.and_then(list) else { return Err(OTHER) };
        (shape, dtype, raw)
    } else if is(made.of, &FROM_BUFFER) {
        let Some(&[raw, dtype, shape, _]) = list(made.arguments) else { return Err(OTHER) };
        (shape, dtype, raw)
    } else {
        return Err(OTHER);
    };
    let Value::Made(dtype) = pickle.value(dtype) else { return Err(OTHER) };
    let name = list(dtype.arguments).and_then(|arguments| pickle.bytes(*arguments.first()?));
    if !is(dtype.of, &[("numpy", "dtype")]) || !matches!(name.as_deref(), Some(b"u1" | b"|u1" | b"uint8")) {
        return Err("expected an array of uint8");
    }
    let shape = integers(pickle, shape).unwrap_or_default();
    let shape = shape.into_iter().map(|side| usize::try_from(side).map_err(|_| OTHER)).collect::<Result<_, _>>()?;
    Ok((shape, pickle.bytes(raw).ok_or("expected the array's bytes")?))
}
