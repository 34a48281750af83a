//! Pictures in files of their own: read, scaled and, where they are broken, told all at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mobilenet_common::random::SplitMix64;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::scanned::{Gathered, How, Scanned};
use super::{files, parts};
use crate::decode::{MAX_PICTURE_BYTES, check_size, decode_square};
use crate::originals::Store;
use crate::place::Broken;
use crate::{Dataset, Error, Place, Progress, ReadOptions, Split};

/// First word of the key of the order of the pictures.
const MIX: u64 = u64::from_le_bytes(*b"folder..");

/// Most pictures decoded between two reports of progress, and most bytes of them.
const CHUNK: usize = 512;
pub(crate) const CHUNK_BYTES: u64 = 64 << 20;

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
    how: &How,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    let How { size, options, .. } = *how;
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

    let pictures = train.len() + test.len();
    let total = pictures + broken.len();
    let keep = how.bytes(pictures) <= how.cache;
    if !keep {
        notes.push(how.not_kept(pictures, 0));
    }
    let mut reading = Reading { how, keep, digest: Sha256::new(), broken, progress };
    let (train, test) = (reading.part("train", train), reading.part("test", test));
    let Reading { digest, broken, .. } = reading;
    let left_out = settle_broken(broken, total, options, &mut notes)?;
    let normalization = train.0.sums.normalization();
    let finish = |(part, paths): (Gathered, _)| part.finish(how, Some(Arc::new(Store::Files(paths))));
    let (train, test) = (finish(train)?, finish(test)?);
    check_classes(&train, &test, &classes)?;
    let copy = format!(
        "{kind}, {} classes, scaled to {size}x{size}{} (sha256 {} of the scaled pixels){made}; {}",
        classes.len(),
        files::cut(how.short(), size),
        &files::hex(&digest.finalize())[..12],
        files::counts(train.len(), test.len())
    );
    Ok(Dataset { notes, left_out, ..Dataset::measured(name, copy, classes, (train, test), normalization) })
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
    how: &'a How<'a>,
    /// Whether pictures stay in memory.
    keep: bool,
    digest: Sha256,
    broken: Vec<Broken>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Reading<'_> {
    /// The pictures that can be read, and the files of all.
    fn part(&mut self, name: &str, items: Vec<Item>) -> (Gathered, Vec<PathBuf>) {
        let mut part = Gathered::new(self.how, items.len(), self.keep);
        let (chunk, mut done) = (self.how.within(CHUNK_BYTES, CHUNK), 0);
        for items_of_chunk in items.chunks(chunk) {
            let (short, size) = (self.how.short(), self.how.size);
            let decoded: Vec<Result<Scanned, String>> =
                items_of_chunk.par_iter().map(|item| read(&item.path, short, size)).collect();
            for (i, (picture, item)) in decoded.into_iter().zip(items_of_chunk).enumerate() {
                match picture {
                    Ok(picture) => {
                        self.digest.update(&picture.pixels);
                        part.push(picture, item.label, done + i);
                    }
                    Err(reason) => self.broken.push(Broken { place: Place::file(&item.path), reason }),
                }
            }
            done += items_of_chunk.len();
            (self.progress)(Progress::Reading { file: name.into(), done: done as u64, total: items.len() as u64 });
        }
        (part, items.into_iter().map(|item| item.path).collect())
    }
}

/// A picture, scaled to `[size, size, 3]`, or why there is none.
fn read(path: &Path, short: usize, size: usize) -> Result<Scanned, String> {
    let bytes = mobilenet_common::files::read(path, MAX_PICTURE_BYTES).map_err(|error| error.to_string())?;
    decode_square(&bytes, short, size).map(Scanned::new)
}
