//! The binary version: records without header. CIFAR-10: the label, then 3072 bytes of pixels. CIFAR-100: the coarse
//! label, the fine one, then the pixels.

use std::path::Path;

use super::{Batch, PLANE, label_classes};
use crate::decode::kind;
use crate::{Error, Place, Source};

/// The records of a file.
pub(super) fn parse(path: &Path, bytes: &[u8], source: Source) -> Result<Batch, Error> {
    let classes = label_classes(source);
    let record = classes.len() + 3 * PLANE;
    if bytes.is_empty() {
        return Err(Error::NoImages { path: path.into() });
    }
    if kind::is_lfs_pointer(bytes) {
        return Err(Error::Placeholder { path: path.into(), found: kind::LFS_POINTER });
    }
    if !bytes.len().is_multiple_of(record) {
        let (record, found) = (record as u64, bytes.len() as u64);
        return Err(Error::BinarySize { path: path.into(), record, found });
    }
    let n = bytes.len() / record;
    let mut batch = Batch { labels: Vec::with_capacity(n), planes: Vec::with_capacity(n * 3 * PLANE) };
    for (row, bytes) in bytes.chunks_exact(record).enumerate() {
        let (heads, planes) = bytes.split_at(classes.len());
        let mut label = 0;
        for (&found, &classes) in heads.iter().zip(classes) {
            if usize::from(found) >= classes {
                let found = i64::from(found);
                return Err(Error::LabelRange { place: Place::row(path, row), found, classes });
            }
            label = u32::from(found);
        }
        batch.labels.push(label);
        batch.planes.extend_from_slice(planes);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record whose every pixel byte is its label.
    fn record(heads: &[u8]) -> Vec<u8> {
        let label = heads[heads.len() - 1];
        heads.iter().copied().chain(std::iter::repeat_n(label, 3 * PLANE)).collect()
    }

    #[test]
    fn labels_and_pixels() {
        let cases = [(Source::Cifar10, [vec![3], vec![9]]), (Source::Cifar100, [vec![19, 99], vec![0, 7]])];
        for (source, heads) in cases {
            let batch = parse(Path::new("x.bin"), &heads.clone().map(|h| record(&h)).concat(), source).unwrap();
            for (i, head) in heads.iter().enumerate() {
                let label = *head.last().unwrap();
                assert_eq!(batch.labels[i], u32::from(label));
                assert_eq!(batch.planes[i * 3 * PLANE..(i + 1) * 3 * PLANE], [label; 3 * PLANE]);
            }
        }
    }

    #[test]
    fn errors_say_where() {
        let two = [record(&[1]), record(&[10])].concat();
        let parsed = |bytes: &[u8], source| parse(Path::new("x.bin"), bytes, source).map(drop);
        let cases = [
            (parsed(&two, Source::Cifar10), "x.bin: row 1: label out of range: expected 0 to 9, found 10"),
            (
                parsed(&record(&[20, 1]), Source::Cifar100),
                "x.bin: row 0: label out of range: expected 0 to 19, found 20",
            ),
            (
                parsed(&two[..6000], Source::Cifar10),
                "x.bin: truncated or corrupt: expected a multiple of 3073 bytes, \
                 found 6000 bytes (1 records and 2927 bytes)",
            ),
            (parsed(b"", Source::Cifar10), "x.bin: holds no images"),
        ];
        for (result, expected) in cases {
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    }
}
