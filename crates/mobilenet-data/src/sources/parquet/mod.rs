//! Parquet of any set of pictures, as the Hugging Face hub serves them: a column of encoded pictures, and one of labels.

mod codec;
mod columns;
mod file;
mod labels;
mod shards;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::data_type::ByteArray;
use parquet::file::reader::SerializedFileReader;
use rayon::prelude::*;

use self::columns::Columns;
use self::file::{open, read_labels, read_pictures};
use self::labels::{Classes, FileLabels, Label};
use super::cifar::classes;
use super::folder::few;
use super::pictures::{missing_classes, settle_broken};
use super::{files, names, parts};
use crate::decode::{decode_rgb, kind, square};
use crate::error::Broken;
use crate::{Dataset, Error, Place, Progress, ReadOptions, Source, Split};

pub(crate) use self::shards::{Shards, find};

/// Side of the pictures of CIFAR.
const CIFAR_SIDE: usize = 32;

/// Loads both parts, pictures scaled to `size` as those of folders are, but for CIFAR's.
pub(crate) fn load(
    dir: &Path,
    wanted: Source,
    shards: &Shards,
    size: usize,
    options: &ReadOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    crate::decode::check_size(size)?;
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
    let test = match test {
        Some((name, mut part)) => {
            part.set_classes(&classes)?;
            if shards.test.len() > 1 {
                notes.push(format!("test images are those of {name}; other parts are not used"));
            }
            Some(part)
        }
        None => {
            made = format!("; {}", parts::held_out(options));
            notes.push(format!("no test part: {}", parts::held_out(options)));
            None
        }
    };
    let is_cifar = matches!(source, Source::Cifar10 | Source::Cifar100);
    let size = if is_cifar { CIFAR_SIDE } else { size };
    let mut reading = Reading {
        size,
        short: options.short_side(size),
        exact: is_cifar,
        formats: BTreeSet::new(),
        broken: Vec::new(),
        progress,
    };
    let total = train.len() + test.as_ref().map_or(0, Part::len);
    let mut sums = train.sums()?;
    let read = reading.part(&train)?;
    let (train, test) = match test {
        Some(test) => {
            sums.extend(test.sums()?);
            (read.split, reading.part(&test)?.split)
        }
        None => {
            // Chosen among all rows, so that a broken one moves no other.
            let mut is_held_out = vec![false; train.len()];
            parts::hold_out(&train.classes, options)?.1.iter().for_each(|&row| is_held_out[row] = true);
            let places = 0..read.split.len();
            let (test, rest): (Vec<usize>, Vec<usize>) = places.partition(|&at| is_held_out[read.rows[at]]);
            (read.split.pick(&rest), read.split.pick(&test))
        }
    };
    let Reading { formats, broken, .. } = reading;
    let left_out = settle_broken(broken, total, options, &mut notes)?;
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
        format!(", scaled to {size}x{size}{}", files::cut(options.short_side(size), size))
    };
    let copy = format!(
        "parquet of {}{scaled}: {}{made}; {}",
        described(&formats),
        sums.join(", "),
        files::counts(train.len(), test.len())
    );
    let name = if is_cifar { source.to_string() } else { names::text(files::name(dir).as_bytes()) };
    Ok(Dataset { notes, left_out, ..Dataset::new(name, copy, classes.names, train, test) })
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
    options: &'a ReadOptions,
}

impl<'a> Part<'a> {
    fn read_labels(paths: &[PathBuf], first: &Columns, options: &'a ReadOptions) -> Result<Self, Error> {
        let mut labels = Vec::new();
        for path in paths {
            let (reader, columns) = open_with_columns(path, options)?;
            check_names(path, first.names.as_deref(), columns.names.as_deref())?;
            labels.push(read_labels(path, &reader, columns.label)?);
        }
        match labels.iter().all(|file| file.rows.is_empty()) {
            true => Err(Error::NoImages { path: paths[0].clone() }),
            false => Ok(Self { labels, classes: Vec::new(), options }),
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

/// The pictures of a part that could be read, and the row of each among all of its rows.
struct Read {
    split: Split,
    rows: Vec<usize>,
}

struct Reading<'a> {
    size: usize,
    /// What a picture's shorter side is scaled to before it is cut.
    short: usize,
    /// Whether pictures must be of that size already.
    exact: bool,
    /// The formats of the pictures, by name.
    formats: BTreeSet<&'static str>,
    broken: Vec<Broken>,
    progress: &'a mut dyn FnMut(Progress),
}

impl Reading<'_> {
    fn part(&mut self, part: &Part) -> Result<Read, Error> {
        let (mut pixels, mut rows, mut before) = (Vec::new(), Vec::new(), 0);
        for FileLabels { path, rows: labels, .. } in &part.labels {
            let (reader, columns) = open_with_columns(path, part.options)?;
            let mut done = 0;
            read_pictures(path, &reader, columns.image, &mut |pictures| {
                for (i, picture) in self.decoded(&pictures).into_iter().enumerate() {
                    match picture {
                        Ok(picture) => {
                            pixels.extend_from_slice(&picture);
                            rows.push(before + done + i);
                        }
                        Err(reason) => self.broken.push(Broken { place: Place::row(path, done + i), reason }),
                    }
                }
                done += pictures.len();
                let total = labels.len() as u64;
                (self.progress)(Progress::Reading { file: files::name(path), done: done as u64, total });
                true
            })?;
            if done != labels.len() {
                return Err(file::corrupt(path, &format!("{done} pictures, {} labels", labels.len())));
            }
            before += done;
        }
        let labels = rows.iter().map(|&row| part.classes[row]).collect();
        Ok(Read { split: Split::new(pixels, labels, self.size, self.size)?, rows })
    }

    /// Decodes pictures, in parallel.
    fn decoded(&mut self, pictures: &[Option<ByteArray>]) -> Vec<Result<Vec<u8>, String>> {
        let (short, size, exact) = (self.short, self.size, self.exact);
        let decode = |bytes: &Option<ByteArray>| {
            let bytes = bytes.as_ref().ok_or("the picture is null")?;
            let image = decode_rgb(bytes.data())?;
            let found = (image.height() as usize, image.width() as usize);
            match exact {
                false => Ok(square(image, short, size)),
                true if found == (size, size) => Ok(image.into_raw()),
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
