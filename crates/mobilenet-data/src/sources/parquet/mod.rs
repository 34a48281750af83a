//! Parquet of any set of pictures, as the Hugging Face hub serves them: a column of encoded pictures, and one of labels.

mod codec;
mod columns;
mod file;
mod labels;
mod part;
mod reading;
mod shards;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use self::columns::Columns;
use self::labels::{Classes, FileLabels, Label};
use self::part::{Part, open_with_columns};
use self::reading::{Reading, described};
use super::cifar::classes;
use super::folder::few;
use super::pictures::{missing_classes, settle_broken};
use super::scanned::{Gathered, How, amount};
use super::{files, names, parts};
use crate::originals::Keeper;
use crate::{Dataset, Error, Progress, ReadOptions, Source};

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
    let mut test = labelled_test(shards, &first, options, &mut notes)?;
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
    match &mut test {
        Some(part) => {
            part.set_classes(&classes)?;
            sums.extend(part.sums()?);
        }
        None => {
            made = format!("; {}", parts::held_out(options));
            notes.push(format!("no test part: {}", parts::held_out(options)));
            parts::hold_out(&train.classes, options)?.1.iter().for_each(|&row| is_held_out[row] = true);
        }
    }
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

/// The first test part that has labels; what of the others is to be said goes to `notes`.
fn labelled_test<'a>(
    shards: &Shards,
    first: &Columns,
    options: &'a ReadOptions,
    notes: &mut Vec<String>,
) -> Result<Option<Part<'a>>, Error> {
    for (name, paths) in &shards.test {
        let part = Part::read_labels(paths, first, options)?;
        if part.labels.iter().all(FileLabels::are_unknown) {
            notes.push(format!("{name} has no labels (-1) and is not used"));
            continue;
        }
        if shards.test.len() > 1 {
            notes.push(format!("test images are those of {name}; other parts are not used"));
        }
        return Ok(Some(part));
    }
    Ok(None)
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
