//! The kinds of data there are, and telling which of them a folder holds.

pub(crate) mod cifar;
pub(crate) mod drawn;
pub(crate) mod files;
pub(crate) mod flaws;
pub(crate) mod folder;
pub(crate) mod names;
pub(crate) mod parquet;
pub(crate) mod parts;
pub(crate) mod pictures;
pub(crate) mod scanned;
pub(crate) mod shapes10;
pub(crate) mod table;
pub(crate) mod walk;

use std::io::Read;
use std::path::{Path, PathBuf};

use self::cifar::Cifar;
use self::cifar::store::{self, Store};
use self::folder::Folders;
use self::parquet::Shards;
use self::scanned::How;
use self::table::Lists;
use crate::decode::kind;
use crate::{Dataset, Error, Progress, ReadOptions, Source};

/// How deep a set may lie in folders in each of which there is nothing else.
const MAX_DEPTH: usize = 4;

/// What a folder holds, with its files in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// CIFAR as its authors publish it.
    Cifar(Cifar),
    /// Parquet files of pictures and labels.
    Parquet(Shards),
    /// Lists of pictures and labels.
    Lists(Lists),
    /// A folder for each class.
    Folders(Folders),
}

/// Loads the set that `path` or, if there is none in it, one of its subfolders holds; or the one that is in a file of this
/// name. It must be the one `wanted`, any if that is [`Source::Auto`].
pub(crate) fn load_dir(
    path: &Path,
    wanted: Source,
    how: &How,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    let options = how.options;
    let layout = if path.is_dir() { find(path, wanted, options, 0)? } else { of_file(path)? };
    if !layout.may_be(wanted) {
        let (expected, found) = (wanted.to_string(), layout.describe());
        return Err(Error::WrongSet { path: path.into(), expected, found });
    }
    let name = || names::text(files::name(path).as_bytes());
    match layout {
        Layout::Cifar(cifar) => cifar.load(progress),
        Layout::Parquet(shards) => parquet::load(path, wanted, &shards, how, progress),
        Layout::Lists(lists) => {
            let listed = table::list(&lists, options)?;
            pictures::load(name(), "listed pictures", listed, how, progress)
        }
        Layout::Folders(folders) => {
            let listed = folder::list(&folders)?;
            pictures::load(name(), "image folder", listed, how, progress)
        }
    }
}

/// A set in a single file.
fn of_file(path: &Path) -> Result<Layout, Error> {
    if path.symlink_metadata().is_err() {
        return Err(Error::MissingFolder { path: path.into() });
    }
    let mut start = Vec::new();
    let file = mobilenet_common::files::open(path, u64::MAX).map_err(Error::io(path))?;
    file.take(512).read_to_end(&mut start).map_err(Error::io(path))?;
    if kind::is_lfs_pointer(&start) {
        return Err(Error::Placeholder { path: path.into(), found: kind::LFS_POINTER });
    }
    if start.starts_with(b"PAR1") {
        return Ok(Layout::Parquet(Shards { train: vec![path.into()], test: Vec::new() }));
    }
    if store::is_archive(path) {
        return Ok(Layout::Cifar(unpacked(path)?));
    }
    if table::is_list(path) {
        return Ok(Layout::Lists(Lists { train: path.into(), test: None }));
    }
    Err(Error::NotASet { path: path.into(), found: kind::found(&start) })
}

fn unpacked(path: &Path) -> Result<Cifar, Error> {
    let store = store::unpack(path, Cifar::is_file)?;
    let found = Cifar::find(store)?;
    found.ok_or_else(|| Error::Archive { path: path.into(), reason: "holds no files of CIFAR".into() })
}

fn find(dir: &Path, wanted: Source, options: &ReadOptions, depth: usize) -> Result<Layout, Error> {
    let entries = files::list(dir)?;
    if entries.is_empty() {
        return Err(Error::EmptyFolder { path: dir.into(), expected: "a data set" });
    }
    if let Some(layout) = layout(dir, &entries, options)? {
        return Ok(layout);
    }
    let folders: Vec<&PathBuf> = entries.iter().filter(|entry| entry.is_dir()).collect();
    let mut found = Vec::new();
    for entry in &folders {
        if let Some(layout) = layout(entry, &files::list(entry)?, options)?
            && layout.may_be(wanted)
        {
            found.push((files::name(entry), layout));
        }
    }
    match found.len() {
        0 => {}
        1 => return Ok(found.remove(0).1),
        _ => {
            let names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
            return Err(Error::SeveralSets { path: dir.into(), found: names.join(", ") });
        }
    }
    let archives: Vec<&PathBuf> = entries.iter().filter(|entry| entry.is_file() && store::is_archive(entry)).collect();
    if let [archive] = archives[..] {
        return Ok(Layout::Cifar(unpacked(archive)?));
    }
    if let Some(classes) = folder::find_classes(dir)? {
        return Ok(Layout::Folders(classes));
    }
    if let [folder] = folders[..]
        && depth < MAX_DEPTH
    {
        return find(folder, wanted, options, depth + 1);
    }
    if let Some(part) = options.train_part.as_ref().or(options.test_part.as_ref()) {
        return Err(Error::Missing { path: dir.join(part), needed: "the part that was asked for" });
    }
    Err(Error::UnknownLayout { path: dir.into(), found: files::names(&entries) })
}

impl Layout {
    /// Whether this can be the set wanted: which one a parquet file holds is seen later.
    fn may_be(&self, wanted: Source) -> bool {
        match self {
            _ if wanted == Source::Auto => true,
            Self::Cifar(cifar) => wanted == cifar.source,
            Self::Parquet(_) => true,
            Self::Lists(_) | Self::Folders(_) => wanted == Source::Folder,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Cifar(cifar) => cifar.describe(),
            Self::Parquet(_) => "parquet files".into(),
            Self::Lists(_) => "a list of pictures".into(),
            Self::Folders(_) => "an image folder".into(),
        }
    }
}

/// The layout of the names in `dir`, `None` if it is none of those known.
fn layout(dir: &Path, entries: &[PathBuf], options: &ReadOptions) -> Result<Option<Layout>, Error> {
    if let Some(cifar) = Cifar::find(Store::Folder(dir.into()))? {
        return Ok(Some(Layout::Cifar(cifar)));
    }
    if let Some(shards) = parquet::find(dir, entries, options)? {
        return Ok(Some(Layout::Parquet(shards)));
    }
    if let Some(lists) = table::find_metadata(dir, entries, options)? {
        return Ok(Some(Layout::Lists(lists)));
    }
    if let Some(folders) = folder::find_parts(dir, entries, options)? {
        return Ok(Some(Layout::Folders(folders)));
    }
    Ok(table::find(dir, entries, options)?.map(Layout::Lists))
}
