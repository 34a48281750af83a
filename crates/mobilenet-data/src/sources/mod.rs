//! The kinds of data there are, and telling which of them a folder holds.

pub(crate) mod binary;
pub(crate) mod classes;
pub(crate) mod drawn;
pub(crate) mod files;
pub(crate) mod flaws;
pub(crate) mod folder;
pub(crate) mod hub_parquet;
pub(crate) mod parquet_file;
pub(crate) mod shapes10;

use std::path::{Path, PathBuf};

use crate::{Dataset, Error, Progress, Source};

/// What a folder holds, with its files in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `data_batch_1.bin` … and `test_batch.bin`.
    Cifar10Binary { train: Vec<PathBuf>, test: PathBuf },
    /// `train.bin` and `test.bin`.
    Cifar100Binary { train: PathBuf, test: PathBuf },
    /// Parquet files of pictures and labels.
    Parquet { train: Vec<PathBuf>, test: Vec<PathBuf> },
    /// `train/<class>/*`, and the same in `test/` or `val/`.
    Folder { train: PathBuf, test: PathBuf },
}

/// Loads the set that `dir` or, if there is none in it, one of its subfolders holds. It must be
/// the one `wanted`, any if that is [`Source::Auto`].
pub(crate) fn load_dir(
    dir: &Path,
    wanted: Source,
    image_size: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    let layout = find(dir, wanted)?;
    if !layout.may_be(wanted) {
        let (expected, found) = (wanted.to_string(), layout.describe().into());
        return Err(Error::WrongSet { path: dir.into(), expected, found });
    }
    match layout {
        Layout::Cifar10Binary { train, test } => binary::cifar10(&train, &test, progress),
        Layout::Cifar100Binary { train, test } => binary::cifar100(&train, &test, progress),
        Layout::Parquet { train, test } => hub_parquet::load(dir, wanted, &train, &test, progress),
        Layout::Folder { train, test } => folder::load(files::name(dir), &train, &test, image_size, progress),
    }
}

fn find(dir: &Path, wanted: Source) -> Result<Layout, Error> {
    if !dir.is_dir() {
        return Err(Error::MissingFolder { path: dir.into() });
    }
    let entries = files::list(dir)?;
    if entries.is_empty() {
        return Err(Error::EmptyFolder { path: dir.into(), expected: "a data set" });
    }
    if let Some(layout) = layout(dir, &entries)? {
        return Ok(layout);
    }
    let mut found = Vec::new();
    for entry in entries.iter().filter(|e| e.is_dir()) {
        if let Some(layout) = layout(entry, &files::list(entry)?)?
            && layout.may_be(wanted)
        {
            found.push((files::name(entry), layout));
        }
    }
    match found.len() {
        0 => Err(Error::UnknownLayout { path: dir.into(), found: files::names(&entries) }),
        1 => Ok(found.remove(0).1),
        _ => {
            let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
            Err(Error::SeveralSets { path: dir.into(), found: names.join(", ") })
        }
    }
}

impl Layout {
    /// Whether this can be the set wanted: which one a parquet file holds is seen later.
    fn may_be(&self, wanted: Source) -> bool {
        match self {
            _ if wanted == Source::Auto => true,
            Self::Cifar10Binary { .. } => wanted == Source::Cifar10,
            Self::Cifar100Binary { .. } => wanted == Source::Cifar100,
            Self::Parquet { .. } => wanted != Source::Folder,
            Self::Folder { .. } => wanted == Source::Folder,
        }
    }

    fn describe(&self) -> &'static str {
        match self {
            Self::Cifar10Binary { .. } => "cifar10, binary version",
            Self::Cifar100Binary { .. } => "cifar100, binary version",
            Self::Parquet { .. } => "parquet files",
            Self::Folder { .. } => "an image folder",
        }
    }
}

/// The layout of the names in `dir`, `None` if it is none of those known.
fn layout(dir: &Path, entries: &[PathBuf]) -> Result<Option<Layout>, Error> {
    let batches: Vec<PathBuf> = entries.iter().filter(|e| batch(e).is_some()).cloned().collect();
    if !batches.is_empty() || dir.join("test_batch.bin").is_file() {
        return Ok(Some(Layout::Cifar10Binary {
            train: in_sequence(dir, batches)?,
            test: required(dir, "test_batch.bin", "the test images of CIFAR-10")?,
        }));
    }
    if dir.join("train.bin").is_file() || dir.join("test.bin").is_file() {
        return Ok(Some(Layout::Cifar100Binary {
            train: required(dir, "train.bin", "the training images of CIFAR-100")?,
            test: required(dir, "test.bin", "the test images of CIFAR-100")?,
        }));
    }
    let train = parquet_files(dir, entries, "train")?;
    let test = parquet_files(dir, entries, "test")?;
    match (train.is_empty(), test.is_empty()) {
        (false, false) => return Ok(Some(Layout::Parquet { train, test })),
        (false, true) => return Err(missing(dir, "test*.parquet", "the test images")),
        (true, false) => return Err(missing(dir, "train*.parquet", "the training images")),
        (true, true) => {}
    }
    let train = dir.join("train");
    if train.is_dir() {
        let test = ["test", "val"].map(|name| dir.join(name));
        return match test.into_iter().find(|test| test.is_dir()) {
            Some(test) => Ok(Some(Layout::Folder { train, test })),
            None => Err(missing(dir, "test", "the test images (the folder may be named val, too)")),
        };
    }
    Ok(None)
}

/// `K` of `data_batch_K.bin`.
fn batch(path: &Path) -> Option<usize> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("data_batch_")?.strip_suffix(".bin")?.parse().ok()
}

/// The batches by number; a gap in them is an error, since it would leave images out in silence.
fn in_sequence(dir: &Path, mut batches: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    batches.sort_by_key(|path| batch(path));
    for number in 1..=batches.len().max(1) {
        if batches.get(number - 1).and_then(|path| batch(path)) != Some(number) {
            let name = format!("data_batch_{number}.bin");
            return Err(missing(dir, &name, "the training images of CIFAR-10"));
        }
    }
    Ok(batches)
}

/// `<part>*.parquet` in `dir`, or else `<part>/*.parquet`.
fn parquet_files(dir: &Path, entries: &[PathBuf], part: &str) -> Result<Vec<PathBuf>, Error> {
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|e| e == "parquet");
    let flat: Vec<PathBuf> = entries
        .iter()
        .filter(|path| is_parquet(path) && path.is_file() && files::name(path).starts_with(part))
        .cloned()
        .collect();
    let folder = dir.join(part);
    if !flat.is_empty() || !folder.is_dir() {
        return Ok(flat);
    }
    Ok(files::list(&folder)?.into_iter().filter(is_parquet).collect())
}

fn required(dir: &Path, name: &str, needed: &'static str) -> Result<PathBuf, Error> {
    let path = dir.join(name);
    if path.is_file() { Ok(path) } else { Err(Error::Missing { path, needed }) }
}

fn missing(dir: &Path, name: &str, needed: &'static str) -> Error {
    Error::Missing { path: dir.join(name), needed }
}
