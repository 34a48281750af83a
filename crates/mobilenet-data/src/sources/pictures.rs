//! Pictures in files of their own: read, scaled and, where they are broken, told all at once.

use std::path::{Path, PathBuf};

use mobilenet_common::random::SplitMix64;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{files, parts};
use crate::decode::{MAX_FILE_BYTES, check_size, decode_square};
use crate::error::Broken;
use crate::{Dataset, Error, Place, Progress, ReadOptions, Split};

/// First word of the key of the order of the pictures.
const MIX: u64 = u64::from_le_bytes(*b"folder..");

/// Pictures decoded between two reports of progress.
const CHUNK: usize = 512;

/// A picture and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub path: PathBuf,
    pub label: u32,
}

/// What a folder or a list says that a set consists of.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub classes: Vec<String>,
    pub train: Vec<Item>,
    /// `None`: to be held out of `train`.
    pub test: Option<Vec<Item>>,
    /// Files that are no pictures.
    pub strays: Vec<PathBuf>,
    /// Pictures that are known to be broken without being read: rows that name no file.
    pub broken: Vec<Broken>,
    pub notes: Vec<String>,
}

/// Reads a listed set; `kind` is what its copy is called.
pub(crate) fn load(
    name: String,
    kind: &str,
    listed: Listed,
    size: usize,
    options: &ReadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    check_size(size)?;
    let Listed { classes, train, test, strays, broken, mut notes } = listed;
    let mut made = String::new();
    let (mut train, mut test) = match test {
        Some(test) => (train, test),
        None => {
            let labels: Vec<u32> = train.iter().map(|item| item.label).collect();
            let (rest, held_out) = parts::hold_out(&labels, options)?;
            let pick = |indices: &[usize]| indices.iter().map(|&i| train[i].clone()).collect::<Vec<_>>();
            made = format!("; {}", parts::held_out(options));
            notes.push(format!("no test part: {}", parts::held_out(options)));
            (pick(&rest), pick(&held_out))
        }
    };
    if !strays.is_empty() {
        let paths: Vec<PathBuf> = strays.iter().take(6).cloned().collect();
        notes.push(format!(
            "files that are no pictures were left out ({}): {}",
            strays.len(),
            some(&paths, strays.len())
        ));
    }
    // In a fixed random order, what comes first is a fair part of the whole.
    SplitMix64::keyed(&[MIX]).shuffle(&mut train);
    SplitMix64::keyed(&[MIX]).shuffle(&mut test);

    let total = train.len() + test.len() + broken.len();
    let mut reading = Reading { size, short: options.short_side(size), digest: Sha256::new(), broken, progress };
    let train = reading.part("train", &train);
    let test = reading.part("test", &test);
    let Reading { digest, broken, .. } = reading;
    let left_out = settle_broken(broken, total, options, &mut notes)?;
    let (train, test) = (Split::new(train.0, train.1, size, size)?, Split::new(test.0, test.1, size, size)?);
    check_classes(&train, &test, &classes)?;
    let copy = format!(
        "{kind}, {} classes, scaled to {size}x{size}{} (sha256 {} of the scaled pixels){made}; {}",
        classes.len(),
        files::cut(options.short_side(size), size),
        &files::hex(&digest.finalize())[..12],
        files::counts(train.len(), test.len())
    );
    Ok(Dataset { notes, left_out, ..Dataset::new(name, copy, classes, train, test) })
}

/// Refuses broken pictures unless they may be left out; returns how many are.
pub(crate) fn settle_broken(
    broken: Vec<Broken>,
    total: usize,
    options: &ReadOptions,
    notes: &mut Vec<String>,
) -> Result<usize, Error> {
    if broken.is_empty() {
        return Ok(0);
    }
    if !options.skip_broken {
        return Err(Error::BrokenPictures { broken, total });
    }
    notes.push(format!("{} of {total} pictures are broken and were left out", broken.len()));
    Ok(broken.len())
}

/// Each class must have an image to train on, and there must be one to test with.
fn check_classes(train: &Split, test: &Split, classes: &[String]) -> Result<(), Error> {
    let missing = missing_classes(train, classes);
    if !missing.is_empty() {
        return Err(Error::NoImagesOf { what: "training", classes: super::folder::few(&missing) });
    }
    match test.is_empty() {
        true => Err(Error::NoImagesOf { what: "test", classes: "any class".into() }),
        false => Ok(()),
    }
}

/// The classes that have no image.
pub(crate) fn missing_classes<'a>(train: &Split, classes: &'a [String]) -> Vec<&'a str> {
    let mut seen = vec![false; classes.len()];
    train.labels().iter().for_each(|&label| seen[label as usize] = true);
    classes.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(class, _)| class.as_str()).collect()
}

/// The names of the first few of `total` files.
fn some(paths: &[PathBuf], total: usize) -> String {
    let mut names: Vec<String> = paths.iter().take(5).map(|path| files::name(path)).collect();
    names.dedup();
    let text = names.join(", ");
    if total > 5 { format!("{text}, …") } else { text }
}

struct Reading<'a> {
    size: usize,
    /// What a picture's shorter side is scaled to before it is cut.
    short: usize,
    digest: Sha256,
    broken: Vec<Broken>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Reading<'_> {
    /// Pixels and labels of the pictures that can be read.
    fn part(&mut self, name: &str, items: &[Item]) -> (Vec<u8>, Vec<u32>) {
        let (mut pixels, mut labels, mut done) = (Vec::new(), Vec::new(), 0);
        for chunk in items.chunks(CHUNK) {
            let (short, size) = (self.short, self.size);
            let decoded: Vec<Result<Vec<u8>, String>> =
                chunk.par_iter().map(|item| read(&item.path, short, size)).collect();
            for (image, item) in decoded.into_iter().zip(chunk) {
                match image {
                    Ok(image) => {
                        self.digest.update(&image);
                        pixels.extend_from_slice(&image);
                        labels.push(item.label);
                    }
                    Err(reason) => self.broken.push(Broken { place: Place::file(&item.path), reason }),
                }
            }
            done += chunk.len();
            (self.progress)(Progress::Reading { file: name.into(), done: done as u64, total: items.len() as u64 });
        }
        (pixels, labels)
    }
}

/// A picture `[size, size, 3]`, or why there is none.
fn read(path: &Path, short: usize, size: usize) -> Result<Vec<u8>, String> {
    let bytes = mobilenet_common::files::read(path, MAX_FILE_BYTES).map_err(|error| error.to_string())?;
    decode_square(&bytes, short, size)
}
