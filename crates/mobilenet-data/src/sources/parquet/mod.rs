//! Parquet of any set of pictures, as the Hugging Face hub serves them: a column of encoded pictures, and one of labels.

mod codec;
mod columns;
mod file;
mod labels;
mod shards;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;

use self::columns::Columns;
use self::file::{open, read_labels, read_pictures};
use self::labels::{Classes, FileLabels, Label};
use super::cifar::classes;
use super::folder::few;
use super::pictures::{CHUNK_BYTES, missing_classes, settle_broken};
use super::scanned::{Gathered, How, Scanned, amount};
use super::{files, names, parts};
use crate::decode::{decode_rgb, kind, square};
use crate::error::Broken;
use crate::originals::Keeper;
use crate::{Dataset, Error, Place, Progress, ReadOptions, Source};

pub(crate) use self::shards::{Shards, find};

/// Side of the pictures of CIFAR.
const CIFAR_SIDE: usize = 32;

/// Loads both parts, pictures scaled to `size` as those of folders are, but for CIFAR's.
pub(crate) fn load(
    dir: &Path,
    wanted: Source,
    shards: &Shards,
    how: &How,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    crate::decode::check_size(how.size)?;
    let options = how.options;
    let mut notes = Vec::new();
    let first = open_with_columns(&shards.train[0], options)?.1;
    let mut train = Part::read_labels(&shards.train, &first, options)?;
    let mut test = None;
    for (name, paths) in &shards.test {
        let part = Part::read_labels(paths, &first, options)?;
        if part.labels.iter().all(FileLabels::are_unknown) {
            notes.push(format!("{name} has no labels (-1) and is not used"));
            continue;
        }
        test = Some((name, part));
        break;
    }
    let (source, classes) = source_and_classes(wanted, &first, &train)?;
    if wanted != Source::Auto && source != wanted {
        let (expected, found) = (wanted.to_string(), files::name(dir));
        return Err(Error::WrongSet { path: dir.into(), expected, found });
    }
    train.set_classes(&classes)?;
    let mut made = String::new();
    let mut sums = train.sums()?;
    // Rows of the training files that are held out; chosen among all, so that a broken one moves no other.
    let mut is_held_out = vec![false; train.len()];
    let test = match test {
        Some((name, mut part)) => {
            part.set_classes(&classes)?;
            sums.extend(part.sums()?);
            if shards.test.len() > 1 {
                notes.push(format!("test images are those of {name}; other parts are not used"));
            }
            Some(part)
        }
        None => {
            made = format!("; {}", parts::held_out(options));
            notes.push(format!("no test part: {}", parts::held_out(options)));
            parts::hold_out(&train.classes, options)?.1.iter().for_each(|&row| is_held_out[row] = true);
            None
        }
    };
    let is_cifar = matches!(source, Source::Cifar10 | Source::Cifar100);
    let how = &How { size: if is_cifar { CIFAR_SIDE } else { how.size }, temporary: how.temporary.clone(), ..*how };
    let total = train.len() + test.as_ref().map_or(0, Part::len);
    let encoded = train.encoded.saturating_add(test.as_ref().map_or(0, |part| part.encoded));
    // CIFAR's are kept as they are; of others the encoded pictures, too.
    let keep = is_cifar || how.bytes(total).saturating_add(encoded) <= how.cache;
    let in_memory = if keep { how.cache.saturating_sub(how.bytes(total)) } else { 0 };
    let held_out = is_held_out.iter().filter(|held_out| **held_out).count();
    let mut reading = Reading {
        how,
        exact: is_cifar,
        formats: BTreeSet::new(),
        broken: Vec::new(),
        train: Gathered::new(how, train.len() - held_out, keep),
        test: Gathered::new(how, total - train.len() + held_out, keep),
        originals: (!is_cifar).then(|| Keeper::new(&how.temporary, in_memory)),
        rows: 0,
        progress,
    };
    reading.part(&train, &|row| is_held_out.get(row).copied().unwrap_or(false))?;
    if let Some(test) = &test {
        reading.part(test, &|_| true)?;
    }
    let Reading { formats, broken, train, test, originals, .. } = reading;
    let left_out = settle_broken(broken, total, options, &mut notes)?;
    if !keep {
        let spooled = originals.as_ref().and_then(Keeper::spooled).map_or_else(String::new, |bytes| {
            format!(", from a temporary file of {} in {}", amount(bytes), how.temporary.display())
        });
        notes.push(how.not_kept(total, encoded) + &spooled);
    }
    let normalization = train.sums.normalization();
    let store = originals.map(|keeper| Arc::new(keeper.finish()));
    let (train, test) = (train.finish(how, store.clone())?, test.finish(how, store)?);
    if test.is_empty() || train.is_empty() {
        let what = if test.is_empty() { "test" } else { "training" };
        return Err(Error::NoImagesOf { what, classes: "any class".into() });
    }
    let missing = missing_classes(&train, &classes.names);
    if !missing.is_empty() && !is_cifar {
        notes.push(format!("no training images of {}", few(&missing)));
    }
    let scaled = if is_cifar {
        String::new()
    } else {
        format!(", scaled to {0}x{0}{1}", how.size, files::cut(how.short(), how.size))
    };
    let copy = format!(
        "parquet of {}{scaled}: {}{made}; {}",
        described(&formats),
        sums.join(", "),
        files::counts(train.len(), test.len())
    );
    let name = if is_cifar { source.to_string() } else { names::text(files::name(dir).as_bytes()) };
    let set = Dataset::measured(name, copy, classes.names, (train, test), normalization);
    Ok(Dataset { notes, left_out, ..set })
}

/// Which set this is, and its classes. CIFAR is known by the names of its classes or, where there are none, by its
/// columns' names with all of its labels; and by the size of its pictures.
fn source_and_classes(wanted: Source, columns: &Columns, train: &Part) -> Result<(Source, Classes), Error> {
    let built_in = [(Source::Cifar10, &classes::CIFAR10[..]), (Source::Cifar100, &classes::CIFAR100[..])];
    let of_size = || train.first_picture_is_of(CIFAR_SIDE);
    for (source, names) in built_in {
        let is = match &columns.names {
            Some(found) => found == names,
            None => {
                let labels = train.labels.iter().flat_map(|file| file.known.keys());
                let in_range =
                    |label: &Label| matches!(label, Label::Int(value) if (0..names.len() as i64).contains(value));
                let mut all: Vec<&Label> = labels.clone().collect();
                all.sort_unstable();
                all.dedup();
                let named = match source {
                    Source::Cifar10 => {
                        columns.image_name == "img" && columns.label_name == "label" && all.len() == names.len()
                    }
                    _ => columns.label_name == "fine_label",
                };
                // Asked for, it may be, but with no more than CIFAR-10's labels it is no CIFAR-100.
                let asked = wanted == source && (named || source == Source::Cifar10 || all.len() > 10);
                asked || (named && labels.clone().all(in_range))
            }
        };
        if is && matches!(wanted, Source::Auto) | (wanted == source) && of_size()? {
            return Ok((source, Classes::named(classes::owned(names))));
        }
    }
    let classes = match &columns.names {
        Some(names) => Classes::named(names.clone()),
        None => Classes::of(&train.labels),
    };
    Ok((Source::Folder, classes))
}

fn open_with_columns(path: &Path, options: &ReadOptions) -> Result<(SerializedFileReader<File>, Columns), Error> {
    let reader = open(path)?;
    let columns = Columns::of(&reader, path, options)?;
    Ok((reader, columns))
}

/// The labels of the files of a part.
struct Part<'a> {
    labels: Vec<FileLabels>,
    /// The class of each row of all files, once it is known.
    classes: Vec<u32>,
    /// Bytes of the encoded pictures, as the files say.
    encoded: u64,
    options: &'a ReadOptions,
}

impl<'a> Part<'a> {
    fn read_labels(paths: &[PathBuf], first: &Columns, options: &'a ReadOptions) -> Result<Self, Error> {
        let (mut labels, mut encoded) = (Vec::new(), 0u64);
        for path in paths {
            let (reader, columns) = open_with_columns(path, options)?;
            check_names(path, first.names.as_deref(), columns.names.as_deref())?;
            for group in reader.metadata().row_groups() {
                let bytes = group.column(columns.image).uncompressed_size();
                encoded = encoded.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            labels.push(read_labels(path, &reader, columns.label)?);
        }
        match labels.iter().all(|file| file.rows.is_empty()) {
            true => Err(Error::NoImages { path: paths[0].clone() }),
            false => Ok(Self { labels, classes: Vec::new(), encoded, options }),
        }
    }

    fn set_classes(&mut self, classes: &Classes) -> Result<(), Error> {
        self.classes = self.labels.iter().map(|file| classes.of_rows(file)).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(())
    }

    fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether the first picture that can be read is a square of this side.
    fn first_picture_is_of(&self, side: usize) -> Result<bool, Error> {
        let mut found = None;
        let path = &self.labels[0].path;
        let (reader, columns) = open_with_columns(path, self.options)?;
        read_pictures(path, &reader, columns.image, &mut |pictures| {
            let image = pictures.iter().flatten().find_map(|bytes| decode_rgb(bytes.data()).ok());
            found = found.or(image.map(|image| (image.height() as usize, image.width() as usize)));
            found.is_none()
        })?;
        Ok(found.is_none_or(|found| found == (side, side)))
    }

    fn sums(&self) -> Result<Vec<String>, Error> {
        self.labels.iter().map(|file| Ok(files::with_sum(&file.path, &files::sha256(&file.path)?))).collect()
    }
}

/// Two files of a set must name the same classes in the same order, or a label would mean two things.
fn check_names(path: &Path, expected: Option<&[String]>, found: Option<&[String]>) -> Result<(), Error> {
    let (Some(expected), Some(found)) = (expected, found) else { return Ok(()) };
    let Some(at) = (0..expected.len().max(found.len())).find(|&at| expected.get(at) != found.get(at)) else {
        return Ok(());
    };
    let name = |names: &[String]| names.get(at).map_or("none", |name| name.as_str()).to_owned();
    Err(Error::ClassOrder { path: path.into(), label: at, expected: name(expected), found: name(found) })
}

struct Reading<'a> {
    how: &'a How<'a>,
    /// Whether pictures must be of their size already.
    exact: bool,
    /// The formats of the pictures, by name.
    formats: BTreeSet<&'static str>,
    broken: Vec<Broken>,
    train: Gathered,
    test: Gathered,
    /// Takes the encoded pictures of all rows.
    originals: Option<Keeper<'a>>,
    /// Rows that were read.
    rows: usize,
    progress: &'a mut dyn FnMut(Progress),
}

impl Reading<'_> {
    /// Reads the rows of a part, of which some are to test with.
    fn part(&mut self, part: &Part, is_test: &dyn Fn(usize) -> bool) -> Result<(), Error> {
        let mut before = 0;
        for FileLabels { path, rows: labels, .. } in &part.labels {
            let (reader, columns) = open_with_columns(path, part.options)?;
            let (mut done, mut failed) = (0, None);
            read_pictures(path, &reader, columns.image, &mut |pictures| {
                let taken = self.take(&pictures, |i| {
                    let row = before + done + i;
                    // A file with more pictures than labels is refused below.
                    (Place::row(path, done + i), part.classes.get(row).copied().unwrap_or(0), is_test(row))
                });
                failed = taken.err();
                done += pictures.len();
                let total = labels.len() as u64;
                (self.progress)(Progress::Reading { file: files::name(path), done: done as u64, total });
                failed.is_none() && done <= labels.len()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if done != labels.len() {
                return Err(file::corrupt(path, &format!("{done} pictures, {} labels", labels.len())));
            }
            before += done;
        }
        Ok(())
    }

    /// Takes some rows, of which `row` tells the place, the class and whether they are to test with.
    fn take(&mut self, pictures: &[Option<ByteArray>], row: impl Fn(usize) -> (Place, u32, bool)) -> Result<(), Error> {
        let chunk = self.how.within(CHUNK_BYTES, pictures.len().max(1));
        let mut at = 0;
        for pictures in pictures.chunks(chunk) {
            for (bytes, picture) in pictures.iter().zip(self.decoded(pictures)) {
                let (place, label, is_test) = row(at);
                match picture {
                    Ok(picture) => {
                        let part = if is_test { &mut self.test } else { &mut self.train };
                        part.push(picture, label, self.rows);
                    }
                    Err(reason) => self.broken.push(Broken { place, reason }),
                }
                if let Some(originals) = &mut self.originals {
                    originals.push(bytes.as_ref().map_or(&[], ByteArray::data))?;
                }
                (at, self.rows) = (at + 1, self.rows + 1);
            }
        }
        Ok(())
    }

    /// Decodes pictures, in parallel.
    fn decoded(&mut self, pictures: &[Option<ByteArray>]) -> Vec<Result<Scanned, String>> {
        let (short, size, exact) = (self.how.short(), self.how.size, self.exact);
        let decode = |bytes: &Option<ByteArray>| {
            let bytes = bytes.as_ref().ok_or("the picture is null")?;
            let image = decode_rgb(bytes.data())?;
            let found = (image.height() as usize, image.width() as usize);
            match exact {
                false => Ok(Scanned::new(square(image, short, size))),
                true if found == (size, size) => Ok(Scanned::new(image.into_raw())),
                true => {
                    Err(format!("expected a picture of {size}x{size}, found {}x{} (height x width)", found.0, found.1))
                }
            }
        };
        for bytes in pictures.iter().flatten() {
            self.formats.extend(kind::format(bytes.data()).map(kind::name));
        }
        pictures.par_iter().map(decode).collect()
    }
}

/// `PNG (lossless)`.
fn described(formats: &BTreeSet<&'static str>) -> String {
    let lossy = formats.iter().filter(|format| matches!(**format, "JPEG" | "WebP")).count();
    let loss = match lossy {
        0 => "lossless",
        n if n == formats.len() => "lossy",
        _ => "partly lossy",
    };
    // The lossless ones first.
    let mut names: Vec<&str> = formats.iter().copied().collect();
    names.sort_by_key(|format| matches!(*format, "JPEG" | "WebP"));
    format!("{} ({loss})", names.join(" and "))
}
