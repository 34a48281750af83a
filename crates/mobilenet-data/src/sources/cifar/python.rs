//! The Python version: a pickled dictionary per file, `data` an array `[n, 3072]` of bytes, `labels` (CIFAR-100:
//! `fine_labels`) a list.

use std::borrow::Cow;
use std::path::Path;

use super::pickle::{Id, Pickle, Value};
use super::{Batch, PLANE, label_classes};
use crate::{Error, Place, Source};

/// What numpy calls when an array is read back, by its older and its newer names.
const RECONSTRUCT: [&str; 2] = ["numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"];
const FROM_BUFFER: [&str; 2] = ["numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"];

/// The records of a file.
pub(super) fn parse(path: &Path, bytes: &[u8], source: Source) -> Result<Batch, Error> {
    let wrong = |reason: String| Error::Pickle { path: path.into(), reason };
    let pickle = read(path, bytes)?;
    let key = if source == Source::Cifar100 { "fine_labels" } else { "labels" };
    let missing = |key: &str| wrong(format!("expected a dictionary with data and {key}"));
    let labels = pickle.entry(key).ok_or_else(|| missing(key))?;
    let data = pickle.entry("data").ok_or_else(|| missing(key))?;
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
    let list =
        pickle.entry(key).and_then(|id| if let Value::List(list) = pickle.value(id) { Some(list) } else { None });
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
    Pickle::read(bytes).map_err(|reason| Error::Pickle { path: path.into(), reason })
}

fn integers(pickle: &Pickle, id: Id) -> Option<Vec<i64>> {
    let Value::List(items) = pickle.value(id) else { return None };
    items.iter().map(|&id| if let Value::Int(value) = pickle.value(id) { Some(*value) } else { None }).collect()
}

/// Shape and bytes of a numpy array of `uint8`.
fn array<'a>(pickle: &'a Pickle, id: Id) -> Result<(Vec<usize>, Cow<'a, [u8]>), &'static str> {
    const OTHER: &str = "expected a numpy array";
    let Value::Made { of, arguments, state } = *pickle.value(id) else { return Err(OTHER) };
    let list = |id: Id| if let Value::List(list) = pickle.value(id) { Some(list.as_slice()) } else { None };
    // (version, shape, dtype, is Fortran's order, bytes), or (bytes, dtype, shape, order).
    let (shape, dtype, raw) = if pickle.is_global(of, &RECONSTRUCT) {
        let Some(&[_, shape, dtype, _, raw]) = state.and_then(list) else { return Err(OTHER) };
        (shape, dtype, raw)
    } else if pickle.is_global(of, &FROM_BUFFER) {
        let Some(&[raw, dtype, shape, _]) = list(arguments) else { return Err(OTHER) };
        (shape, dtype, raw)
    } else {
        return Err(OTHER);
    };
    let Value::Made { of, arguments, .. } = *pickle.value(dtype) else { return Err(OTHER) };
    let name = list(arguments).and_then(|arguments| pickle.bytes(*arguments.first()?));
    if !pickle.is_global(of, &["numpy.dtype"]) || !matches!(name.as_deref(), Some(b"u1" | b"|u1" | b"uint8")) {
        return Err("expected an array of uint8");
    }
    let shape = integers(pickle, shape).unwrap_or_default();
    let shape = shape.into_iter().map(|side| usize::try_from(side).map_err(|_| OTHER)).collect::<Result<_, _>>()?;
    Ok((shape, pickle.bytes(raw).ok_or("expected the array's bytes")?))
}
