//! Lists of pictures and labels: `file,label` as CSV or JSON lines, as Kaggle and the Hugging Face hub
//! (`metadata.jsonl`) give them.

mod columns;
mod lookup;
mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::columns::Columns;
use self::lookup::Lookup;
use self::rows::Rows;
use super::pictures::{Item, Listed};
use super::{files, names, parts};
use crate::place::Broken;
use crate::{Error, Place, ReadOptions};

/// A set's lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lists {
    /// Names the pictures to train on, or those of all parts.
    pub train: PathBuf,
    /// Names those to test with.
    pub test: Option<PathBuf>,
}

/// Endings of lists.
const ENDINGS: [&str; 4] = ["csv", "tsv", "jsonl", "ndjson"];

/// Whether a file may be a list.
pub(crate) fn is_list(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && path.is_file()
}

/// `metadata.jsonl` or `metadata.csv`, the hub's name for a list: of each part in its folder, or of all in `dir`.
pub(crate) fn find_metadata(dir: &Path, entries: &[PathBuf], options: &ReadOptions) -> Result<Option<Lists>, Error> {
    let metadata = |dir: &Path| {
        ["metadata.jsonl", "metadata.csv"].map(|name| dir.join(name)).into_iter().find(|path| path.is_file())
    };
    let mut ranked: Vec<(usize, PathBuf)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.is_dir()) {
        if let (Some(rank), Some(list)) = (parts::rank(&files::name(entry), options), metadata(entry)) {
            ranked.push((rank, list));
        }
    }
    match parted(ranked) {
        Some(lists) => Ok(Some(lists)),
        None => Ok(metadata(dir).map(|train| Lists { train, test: None })),
    }
}

/// Lists of other names in `dir`: `train.csv` and `test.csv`, or a single one.
pub(crate) fn find(dir: &Path, entries: &[PathBuf], options: &ReadOptions) -> Result<Option<Lists>, Error> {
    let lists: Vec<&PathBuf> = entries.iter().filter(|path| is_list(path)).collect();
    if lists.is_empty() {
        return Ok(None);
    }
    let lookup = Lookup::new(dir)?;
    let mut of_pictures = Vec::new();
    for path in lists {
        if names_pictures(path, &lookup, options)? {
            of_pictures.push(path.clone());
        }
    }
    let rank = |path: &PathBuf| {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Some((parts::rank_of_file(&stem, options)?, path.clone()))
    };
    if let Some(lists) = parted(of_pictures.iter().filter_map(rank).collect()) {
        return Ok(Some(lists));
    }
    match of_pictures.len() {
        0 => Ok(None),
        1 => Ok(Some(Lists { train: of_pictures.remove(0), test: None })),
        _ => Err(Error::SeveralSets { path: dir.into(), found: files::names(&of_pictures) }),
    }
}

/// The list to train on and the best one to test with.
fn parted(mut ranked: Vec<(usize, PathBuf)>) -> Option<Lists> {
    ranked.sort();
    let train = ranked.iter().find(|(rank, _)| *rank == parts::TRAIN_RANK)?.1.clone();
    let test = ranked.into_iter().find(|(rank, _)| *rank > parts::TRAIN_RANK).map(|(_, path)| path);
    Some(Lists { train, test })
}

/// Whether a list has the columns, and one of its first rows names a picture that is there.
fn names_pictures(path: &Path, lookup: &Lookup, options: &ReadOptions) -> Result<bool, Error> {
    let rows = Rows::read(path)?;
    let Ok(columns) = Columns::of(&rows, path, lookup, options, false) else { return Ok(false) };
    Ok(columns
        .rows(&rows)
        .iter()
        .take(100)
        .any(|row| lookup.find(row[columns.file].as_deref().unwrap_or("")).is_some()))
}

/// The pictures of the lists with their labels. Classes are the labels of `train`: numbers in their order, names in
/// theirs.
pub(crate) fn list(lists: &Lists, options: &ReadOptions) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    let mut named = Vec::new();
    let mut train = Part::read(&lists.train, options, true, &mut listed.broken)?;
    let mut test = None;
    if let Some(path) = &lists.test {
        // A test list without labels is there for a competition.
        match Part::read(path, options, false, &mut listed.broken) {
            Ok(part) => test = Some(part.rows),
            Err(Error::ListColumns { .. }) => {
                listed.notes.push(format!("{} has no labels and is not used", files::name(path)));
            }
            Err(error) => return Err(error),
        }
    } else if let Some(held) = train.split(options) {
        let unused: Vec<&str> = held.unused.iter().map(String::as_str).collect();
        if !unused.is_empty() {
            listed.notes.push(format!("not used: {}", super::folder::few(&unused)));
        }
        (train.rows, test) = (held.train, held.test);
    }
    let mut labels: Vec<&str> = train.rows.iter().map(|row| row.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    // 10 comes after 9.
    let number = |label: &str| label.parse::<i64>().ok();
    if labels.iter().all(|label| number(label).is_some()) {
        labels.sort_by_key(|label| number(label));
    }
    listed.classes = labels.iter().map(|label| names::text(label.as_bytes())).collect();
    let index: BTreeMap<&str, u32> = labels.iter().enumerate().map(|(i, &label)| (label, i as u32)).collect();
    for row in &train.rows {
        named.push(row.path.clone());
        listed.train.push(Item { path: row.path.clone(), label: index[row.label.as_str()] });
    }
    if let Some(rows) = test {
        let mut items = Vec::new();
        for row in rows {
            let Some(&label) = index.get(row.label.as_str()) else {
                let (path, row, found) = (row.list.clone(), row.number, names::text(row.label.as_bytes()));
                return Err(Error::UnknownClass { place: Place::row(&path, row), found });
            };
            named.push(row.path.clone());
            items.push(Item { path: row.path, label });
        }
        listed.test = Some(items);
    }
    named.sort();
    let unnamed = train.lookup.paths().filter(|path| named.binary_search(path).is_err()).count();
    if unnamed > 0 && lists.test.is_none() {
        listed.notes.push(format!("{unnamed} pictures are not in {} and were left out", files::name(&lists.train)));
    }
    Ok(listed)
}

/// A row that names a picture.
#[derive(Clone, Debug)]
struct Row {
    list: PathBuf,
    number: usize,
    path: PathBuf,
    label: String,
    /// The part that the row or the first folder of its picture names.
    part: Option<String>,
}

struct Part {
    rows: Vec<Row>,
    lookup: Lookup,
}

/// The parts of one list.
struct Split {
    train: Vec<Row>,
    test: Option<Vec<Row>>,
    unused: Vec<String>,
}

impl Part {
    fn read(path: &Path, options: &ReadOptions, is_train: bool, broken: &mut Vec<Broken>) -> Result<Self, Error> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let rows = Rows::read(path)?;
        let mut lookup = Lookup::new(dir)?;
        let columns = Columns::of(&rows, path, &lookup, options, true)?;
        if let (false, Some(stem)) = (is_train, path.file_stem()) {
            lookup.prefer(&stem.to_string_lossy());
        }
        let mut part = Self { rows: Vec::new(), lookup };
        for (i, row) in columns.rows(&rows).iter().enumerate() {
            let number = i + columns.first;
            let file = row[columns.file].as_deref().unwrap_or("");
            let mut cannot = |reason: String| broken.push(Broken { place: Place::row(path, number), reason });
            let Some(found) = part.lookup.find(file) else {
                cannot(format!("names {}, which is not there", names::text(file.as_bytes())));
                continue;
            };
            let Some(label) = row[columns.label].clone().filter(|label| !label.is_empty()) else {
                cannot("has no label".into());
                continue;
            };
            let first = || Path::new(file).components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
            let named = columns.part.and_then(|part| row[part].clone());
            let part_name = named.or_else(|| first().filter(|name| parts::rank(name, options).is_some()));
            part.rows.push(Row { list: path.into(), number, path: found.clone(), label, part: part_name });
        }
        match part.rows.is_empty() && broken.is_empty() {
            true => Err(Error::NoImages { path: path.into() }),
            false => Ok(part),
        }
    }

    /// The rows by the parts that they name, if some of them are to train on.
    fn split(&self, options: &ReadOptions) -> Option<Split> {
        let rank = |row: &Row| row.part.as_deref().and_then(|part| parts::rank(part, options));
        if !self.rows.iter().any(|row| rank(row) == Some(parts::TRAIN_RANK)) {
            return None;
        }
        let best = self.rows.iter().filter_map(rank).filter(|&rank| rank > parts::TRAIN_RANK).min();
        let mut split = Split { train: Vec::new(), test: best.map(|_| Vec::new()), unused: Vec::new() };
        for row in &self.rows {
            match (rank(row), &mut split.test) {
                (Some(parts::TRAIN_RANK), _) => split.train.push(row.clone()),
                (Some(rank), Some(test)) if Some(rank) == best => test.push(row.clone()),
                _ => {
                    let name = row.part.clone().unwrap_or_else(|| "rows without a part".into());
                    if !split.unused.contains(&name) {
                        split.unused.push(name);
                    }
                }
            }
        }
        Some(split)
    }
}
