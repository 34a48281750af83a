//! The binary version of CIFAR-10 and CIFAR-100, as its authors publish it
//! (<https://www.cs.toronto.edu/~kriz/cifar.html>).
//!
//! A file is records without header. CIFAR-10: the label, then 3072 bytes of pixels. CIFAR-100:
//! the coarse label, the fine one, then the pixels. Pixels are `[3, 32, 32]`, row by row.

use std::path::{Path, PathBuf};

use super::{classes, files};
use crate::{Dataset, Error, Place, Progress, Split};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// The largest file that is read: 1 GiB, six times the training images of CIFAR-100.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A kind of record: how many classes each of its leading labels has. The last one is used.
struct Record {
    labels: &'static [usize],
}

impl Record {
    fn size(&self) -> usize {
        self.labels.len() + 3 * PLANE
    }
}

const CIFAR10: Record = Record { labels: &[10] };
const CIFAR100: Record = Record { labels: &[20, 100] };

/// Loads CIFAR-10 from its batches.
pub(crate) fn cifar10(train: &[PathBuf], test: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Dataset, Error> {
    let names = classes::named_in(test, "batches.meta.txt", &classes::CIFAR10)?;
    load("cifar10", names, &CIFAR10, train, test, progress)
}

/// Loads CIFAR-100 with its fine labels.
pub(crate) fn cifar100(train: &Path, test: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Dataset, Error> {
    let names = classes::named_in(test, "fine_label_names.txt", &classes::CIFAR100)?;
    load("cifar100", names, &CIFAR100, &[train.into()], test, progress)
}

fn load(
    name: &str,
    names: Vec<String>,
    record: &Record,
    train: &[PathBuf],
    test: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    let mut sums = Vec::new();
    let mut read = |paths: &[PathBuf]| {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for path in paths {
            let bytes = mobilenet_common::files::read(path, MAX_FILE_BYTES).map_err(Error::io(path))?;
            sums.push(files::with_sum(path, &files::sha256_of(&bytes)));
            parse(path, &bytes, record, &mut pixels, &mut labels)?;
            let read = labels.len() as u64;
            progress(Progress::Reading { file: files::name(path), done: read, total: read });
        }
        Split::new(pixels, labels, SIDE, SIDE)
    };
    let train = read(train)?;
    let test = read(&[test.into()])?;
    let copy = format!("binary version (lossless): {}; {}", sums.join(", "), files::counts(train.len(), test.len()));
    Ok(Dataset::new(name.into(), copy, names, train, test))
}

/// Appends the records of a file.
fn parse(path: &Path, bytes: &[u8], record: &Record, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<(), Error> {
    if bytes.is_empty() {
        return Err(Error::NoImages { path: path.into() });
    }
    if !bytes.len().is_multiple_of(record.size()) {
        let (record, found) = (record.size() as u64, bytes.len() as u64);
        return Err(Error::BinarySize { path: path.into(), record, found });
    }
    pixels.reserve(bytes.len());
    for (row, bytes) in bytes.chunks_exact(record.size()).enumerate() {
        let (heads, planes) = bytes.split_at(record.labels.len());
        let mut label = 0;
        for (&found, &classes) in heads.iter().zip(record.labels) {
            if usize::from(found) >= classes {
                let found = i64::from(found);
                return Err(Error::LabelRange { place: Place::row(path, row), found, classes });
            }
            label = u32::from(found);
        }
        labels.push(label);
        pixels.extend((0..PLANE).flat_map(|at| [0, 1, 2].map(|c| planes[c * PLANE + at])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record whose pixel `(y, x)` is `[x, y, label]`.
    fn record(heads: &[u8]) -> Vec<u8> {
        let label = heads[heads.len() - 1];
        let planes: [&dyn Fn(usize) -> u8; 3] = [&|at| (at % SIDE) as u8, &|at| (at / SIDE) as u8, &|_| label];
        let pixels = planes.iter().flat_map(|plane| (0..PLANE).map(plane));
        heads.iter().copied().chain(pixels).collect()
    }

    fn parsed(bytes: &[u8], record: &Record) -> Result<Split, Error> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        parse(Path::new("x.bin"), bytes, record, &mut pixels, &mut labels)?;
        Split::new(pixels, labels, SIDE, SIDE)
    }

    #[test]
    fn pixels_keep_their_place() {
        let cases = [(&CIFAR10, [vec![3], vec![9]]), (&CIFAR100, [vec![19, 99], vec![0, 7]])];
        for (kind, heads) in cases {
            let split = parsed(&heads.clone().map(|h| record(&h)).concat(), kind).unwrap();
            for (i, head) in heads.iter().enumerate() {
                let label = *head.last().unwrap();
                assert_eq!(split.labels()[i], u32::from(label));
                for (at, pixel) in split.image(i).unwrap().chunks(3).enumerate() {
                    assert_eq!(pixel, [(at % 32) as u8, (at / 32) as u8, label]);
                }
            }
        }
    }

    #[test]
    fn errors_say_where() {
        let two = [record(&[1]), record(&[10])].concat();
        let cases = [
            (parsed(&two, &CIFAR10), "x.bin: row 1: label out of range: expected 0 to 9, found 10"),
            (parsed(&record(&[20, 1]), &CIFAR100), "x.bin: row 0: label out of range: expected 0 to 19, found 20"),
            (
                parsed(&two[..6000], &CIFAR10),
                "x.bin: truncated or corrupt: expected a multiple of 3073 bytes, \
                 found 6000 bytes (1 records and 2927 bytes)",
            ),
            (parsed(b"", &CIFAR10), "x.bin: holds no images"),
        ];
        for (result, expected) in cases {
            assert_eq!(result.unwrap_err().to_string(), expected);
        }
    }
}
