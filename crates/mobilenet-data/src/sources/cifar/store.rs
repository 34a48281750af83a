//! Where CIFAR's files are: in a folder, or in an archive as its authors publish it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use mobilenet_common::files;

use crate::Error;
use crate::decode::kind;

/// The largest file that is read: 1 GiB, six times the training images of CIFAR-100.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Most bytes that the files of an archive may have together, and most that are unpacked on the way to them.
const MAX_KEPT_BYTES: u64 = 2 << 30;
const MAX_UNPACKED_BYTES: u64 = 8 << 30;

/// Files by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// Those of a folder.
    Folder(PathBuf),
    /// Those of one folder of an archive, in memory.
    Archive {
        /// The archive, and the folder in it.
        path: PathBuf,
        files: BTreeMap<String, Vec<u8>>,
    },
}

impl Store {
    /// The names of all files.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::Folder(dir) => {
                let entries = super::super::files::list(dir)?;
                // A pipe is refused when it is read, which says more than that a file is missing.
                Ok(entries.iter().filter(|path| !path.is_dir()).map(|path| super::super::files::name(path)).collect())
            }
            Self::Archive { files, .. } => Ok(files.keys().cloned().collect()),
        }
    }

    /// What a file is called in an error.
    pub fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(dir) => dir.join(name),
            Self::Archive { path, .. } => path.join(name),
        }
    }

    /// A file's bytes, at most `max`.
    pub fn read(&self, name: &str, max: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let max = max.min(MAX_FILE_BYTES);
        match self {
            Self::Folder(_) => files::read(&path, max).map_err(Error::io(&path)),
            Self::Archive { files, .. } => match files.get(name) {
                Some(bytes) if bytes.len() as u64 <= max => Ok(bytes.clone()),
                Some(bytes) => {
                    let reason = format!("{} bytes, expected at most {max}", bytes.len());
                    Err(Error::io(&path)(std::io::Error::new(ErrorKind::FileTooLarge, reason)))
                }
                None => Err(Error::io(&path)(ErrorKind::NotFound.into())),
            },
        }
    }
}

/// Whether a file is an archive of the kind that is read here, by its first bytes: gzip, or tar itself.
pub(crate) fn is_archive(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = files::open(path, u64::MAX).and_then(|file| file.take(512).read_to_end(&mut start));
    read.is_ok() && (is_gzip(&start) || is_tar(&start))
}

fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// Reads the files that `wanted` names out of a `.tar.gz` or `.tar`, of the first folder that has any.
///
/// # Errors
///
/// [`Error::Archive`] for an archive that is cut short, too large, or has none of them.
pub(crate) fn unpack(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Store, Error> {
    let wrong = |reason: String| Error::Archive { path: path.into(), reason };
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => wrong("cut short".into()),
        _ => wrong(error.to_string().replace(['\n', '\r'], " ")),
    };
    let file = files::open(path, u64::MAX).map_err(Error::io(path))?;
    let mut start = Vec::new();
    (&file).take(512).read_to_end(&mut start).map_err(failed)?;
    let file = File::open(path).map_err(Error::io(path))?;
    let reader: Box<dyn Read> = match (is_gzip(&start), is_tar(&start)) {
        (true, _) => Box::new(MultiGzDecoder::new(BufReader::new(file))),
        (_, true) => Box::new(BufReader::new(file)),
        _ => return Err(wrong(format!("expected .tar.gz or .tar, found {}", kind::found(&start)))),
    };
    let mut archive = tar::Archive::new(reader.take(MAX_UNPACKED_BYTES));
    let (mut folder, mut files, mut kept) = (None, BTreeMap::new(), 0);
    for entry in archive.entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let inside = entry.path().map_err(failed)?.into_owned();
        let (Some(name), Some(parent)) = (inside.file_name().and_then(|name| name.to_str()), inside.parent()) else {
            continue;
        };
        if !entry.header().entry_type().is_file() || !wanted(name) {
            continue;
        }
        if *folder.get_or_insert_with(|| parent.to_owned()) != parent {
            continue;
        }
        kept += entry.size();
        if entry.size() > MAX_FILE_BYTES || kept > MAX_KEPT_BYTES {
            return Err(wrong(format!("{} is too large to be of CIFAR", inside.display())));
        }
        let (size, mut bytes) = (entry.size(), Vec::new());
        entry.take(size).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != size {
            return Err(wrong("cut short".into()));
        }
        files.insert(name.to_owned(), bytes);
    }
    match folder {
        Some(folder) => Ok(Store::Archive { path: path.join(folder), files }),
        None => Err(wrong("holds no files of CIFAR: unpack it and name its folder".into())),
    }
}
