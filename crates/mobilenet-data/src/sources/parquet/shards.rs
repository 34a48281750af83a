//! The files of a set: which part each belongs to, and whether one is missing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::{files, parts};
use crate::{Error, ReadOptions};

/// The files of each part, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shards {
    /// Those to train on.
    pub train: Vec<PathBuf>,
    /// The parts to test with, the best first, by name.
    pub test: Vec<(String, Vec<PathBuf>)>,
}

/// The files in `dir`, `<part>*.parquet` or else `<part>/*.parquet`; files without a part are all to train on.
///
/// # Errors
///
/// [`Error::Missing`] where a shard, or what there is to train on, is not there.
pub(crate) fn find(dir: &Path, entries: &[PathBuf], options: &ReadOptions) -> Result<Option<Shards>, Error> {
    let mut ranked: BTreeMap<usize, (String, Vec<PathBuf>)> = BTreeMap::new();
    let flat = parquet_files(entries);
    for path in &flat {
        let stem = stem(path);
        if let Some(rank) = parts::rank_of_file(&stem, options) {
            ranked.entry(rank).or_insert_with(|| (stem, Vec::new())).1.push(path.clone());
        }
    }
    if flat.is_empty() {
        for entry in entries.iter().filter(|entry| entry.is_dir()) {
            let name = files::name(entry);
            let Some(rank) = parts::rank(&name, options) else { continue };
            let within = parquet_files(&files::list(entry)?);
            if !within.is_empty() {
                ranked.entry(rank).or_insert_with(|| (name, Vec::new())).1.extend(within);
            }
        }
    }
    for part in [&options.train_part, &options.test_part].into_iter().flatten() {
        let known =
            ranked.values().any(|(name, _)| name.get(..part.len()).is_some_and(|n| n.eq_ignore_ascii_case(part)));
        let has_files = !flat.is_empty() || !ranked.is_empty();
        if has_files && !known {
            return Err(Error::Missing {
                path: dir.join(format!("{part}*.parquet")),
                needed: "the part that was asked for",
            });
        }
    }
    let Some((_, train)) = ranked.remove(&parts::TRAIN_RANK) else {
        return match (ranked.is_empty(), flat.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => {
                check_whole(&flat)?;
                Ok(Some(Shards { train: flat, test: Vec::new() }))
            }
            (false, _) => Err(Error::Missing { path: dir.join("train*.parquet"), needed: "the training images" }),
        };
    };
    let test: Vec<(String, Vec<PathBuf>)> = ranked.into_values().collect();
    for files in std::iter::once(&train).chain(test.iter().map(|(_, files)| files)) {
        check_whole(files)?;
    }
    Ok(Some(Shards { train, test }))
}

fn parquet_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let is_parquet = |path: &&PathBuf| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"));
    paths.iter().filter(is_parquet).filter(|path| !path.is_dir()).cloned().collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Refuses shards of which one is missing: `…-00000-of-00003` tells how many there are, and those that are numbers alone
/// begin at 0.
fn check_whole(paths: &[PathBuf]) -> Result<(), Error> {
    let missing =
        |beside: &Path, name: String| Error::Missing { path: beside.with_file_name(name), needed: "a part of the set" };
    let mut sets: BTreeMap<(String, usize, usize), Vec<usize>> = BTreeMap::new();
    for path in paths {
        let stem = stem(path);
        if let Some((prefix, at, of, width)) = numbered(&stem) {
            sets.entry((prefix, of, width)).or_default().push(at);
        }
    }
    for ((prefix, of, width), found) in &sets {
        if let Some(at) = (0..*of).find(|at| !found.contains(at)) {
            return Err(missing(&paths[0], format!("{prefix}-{at:0width$}-of-{of:0width$}.parquet")));
        }
    }
    let numbers: Option<Vec<usize>> = paths.iter().map(|path| stem(path).parse().ok()).collect();
    if let Some(mut numbers) = numbers.filter(|_| sets.is_empty()) {
        numbers.sort_unstable();
        let width = stem(&paths[0]).len();
        if let Some(at) = (0..numbers.len()).find(|&at| numbers[at] != at) {
            return Err(missing(&paths[0], format!("{at:0width$}.parquet")));
        }
    }
    Ok(())
}

/// `train`, 0, 3 and 5 of `train-00000-of-00003`, perhaps with more behind it.
fn numbered(stem: &str) -> Option<(String, usize, usize, usize)> {
    let (before, after) = stem.split_once("-of-")?;
    let (prefix, at) = before.rsplit_once('-')?;
    let of: String = after.chars().take_while(char::is_ascii_digit).collect();
    // A claim of more is no reason to look for them all.
    Some((prefix.into(), at.parse().ok()?, of.parse().ok().filter(|of| *of <= 100_000)?, at.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn found(names: &[&str]) -> Result<Option<Vec<String>>, String> {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let entries = files::list(dir.path()).unwrap();
        let shards = find(dir.path(), &entries, &ReadOptions::default()).map_err(|error| error.to_string())?;
        let names = |paths: &[PathBuf]| paths.iter().map(|path| files::name(path)).collect::<Vec<_>>().join(" ");
        Ok(shards
            .map(|s| std::iter::once(names(&s.train)).chain(s.test.iter().map(|(_, paths)| names(paths))).collect()))
    }

    #[test]
    fn parts_and_their_order() {
        for (names, expected) in [
            (&["train.parquet", "test.parquet"][..], &["train.parquet", "test.parquet"][..]),
            (
                &["train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"],
                &["train-00000-of-00002.parquet train-00001-of-00002.parquet", "validation-00000-of-00001.parquet"],
            ),
            (
                &["validation.parquet", "train.parquet", "test.parquet"],
                &["train.parquet", "test.parquet", "validation.parquet"],
            ),
            (
                &["Train/0000.parquet", "Train/0001.parquet", "valid/0.parquet"],
                &["0000.parquet 0001.parquet", "0.parquet"],
            ),
            (&["0000.parquet"], &["0000.parquet"]),
            (&["data.parquet"], &["data.parquet"]),
        ] {
            assert_eq!(found(names).unwrap().unwrap(), expected, "{names:?}");
        }
        assert_eq!(found(&["a.txt"]), Ok(None));
    }

    #[test]
    fn none_is_missing() {
        for (names, expected) in [
            (
                &["train-00000-of-00003.parquet", "train-00002-of-00003.parquet"][..],
                "train-00001-of-00003.parquet: missing",
            ),
            (&["train-00000-of-00002-abc.parquet", "test.parquet"], "train-00001-of-00002.parquet: missing"),
            (&["train/0000.parquet", "train/0002.parquet"], "0001.parquet: missing"),
            (&["test.parquet"], "train*.parquet: missing"),
        ] {
            let error = found(names).unwrap_err();
            assert!(error.contains(expected), "{names:?}: {error}");
        }
    }
}
