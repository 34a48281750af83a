//! An open file of weights, or several that make one model: names, types and shapes of its tensors, whose numbers are
//! read when they are asked for. Memory is bounded by the tensors that are wanted, not by the file.

mod index;
mod safetensors;
mod torch;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use mobilenet_common::files;
use zip::ZipArchive;

use super::sniff::{Format, HEAD_BYTES};
use super::storage::Stored;
use crate::Error;

/// The largest file read: no checkpoint of a MobileNet that this crate can make comes close.
const MAX_FILE_BYTES: u64 = 8 << 30;
/// The largest tensor read, on its way through memory: the widest MobileNet's largest has a tenth of it.
const MAX_TENSOR_BYTES: usize = 1 << 30;

/// A file's tensors.
pub(super) struct WeightsFile {
    pub path: PathBuf,
    pub format: Format,
    pub tensors: BTreeMap<String, Stored>,
    storages: Vec<Storage>,
    /// The file, or each of several.
    parts: Vec<Part>,
}

/// Why a file's tensors cannot be had.
pub(super) enum Fault {
    /// It is cut short, damaged, or holds something its format does not allow.
    Damaged(String),
    /// It is whole, but of something else.
    Other(String),
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl Fault {
    fn of(self, path: &Path, format: Format) -> Error {
        let path = path.to_path_buf();
        match self {
            Self::Damaged(reason) => Error::Damaged { path, format: format.name(), reason },
            Self::Other(found) => Error::NotWeights { path, found },
        }
    }
}

/// One file on disk.
struct Part {
    path: PathBuf,
    format: Format,
    reader: Reader,
}

enum Reader {
    Plain(File),
    Zip(Box<ZipArchive<io::BufReader<File>>>),
}

/// Where a storage's bytes are.
#[derive(Clone, Copy, Debug)]
struct Storage {
    part: usize,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// From this byte of the file on.
    At(u64),
    /// In this entry of a zip archive.
    Entry(usize),
}

impl WeightsFile {
    /// Opens a file, and the files that an index names.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let (format, file) = open(path)?;
        let mut weights = Self {
            path: path.to_path_buf(),
            format,
            tensors: BTreeMap::new(),
            storages: Vec::new(),
            parts: Vec::new(),
        };
        if format == Format::Index {
            index::open(&mut weights, file)?;
        } else {
            weights.add(path, format, file)?;
        }
        if weights.tensors.is_empty() {
            let found = format!("a {} file without tensors", format.name());
            return Err(Error::NotWeights { path: path.to_path_buf(), found });
        }
        Ok(weights)
    }

    /// Takes in the tensors of one file on disk.
    fn add(&mut self, path: &Path, format: Format, file: File) -> Result<(), Error> {
        let reader = match format {
            Format::Safetensors => safetensors::add(self, file),
            Format::TorchZip => torch::add_zip(self, file),
            Format::TorchLegacy => torch::add_legacy(self, file),
            Format::Index => Err(Fault::Other("an index in place of a model's part".into())),
        };
        let reader = reader.map_err(|fault| fault.of(path, format))?;
        self.parts.push(Part { path: path.to_path_buf(), format, reader });
        Ok(())
    }

    /// Keeps a storage of the file that is being added.
    fn add_storage(&mut self, place: Place) -> usize {
        self.storages.push(Storage { part: self.parts.len(), place });
        self.storages.len() - 1
    }

    /// Keeps a tensor, whose name must be new.
    fn add_tensor(&mut self, name: String, stored: Stored) -> Result<(), Fault> {
        match self.tensors.insert(name.clone(), stored) {
            None => Ok(()),
            Some(_) => Err(Fault::Damaged(format!("two tensors {name:?}"))),
        }
    }

    /// A tensor's numbers, in its own type.
    pub fn read(&mut self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let Some(stored) = self.tensors.get(name) else {
            return Err(candle_core::Error::Msg(format!("no tensor {name}")).into());
        };
        let Storage { part, place } = self.storages[stored.storage];
        let part = &mut self.parts[part];
        let damaged = |reason| Error::Damaged { path: part.path.clone(), format: part.format.name(), reason };
        let span = stored.span();
        if span.len() > MAX_TENSOR_BYTES {
            return Err(damaged(format!("{name}: {} bytes, expected at most {MAX_TENSOR_BYTES}", span.len())));
        }
        let bytes = match (&mut part.reader, place) {
            (Reader::Plain(file), Place::At(start)) => read_at(file, start, &span),
            (Reader::Zip(archive), Place::Entry(index)) => read_entry(archive, index, &span),
            _ => Err("a storage in the wrong kind of file".into()),
        };
        Ok(stored.to_tensor(bytes.map_err(|reason| damaged(format!("{name}: {reason}")))?, device)?)
    }
}

/// A file and its format, told by its first bytes.
fn open(path: &Path) -> Result<(Format, File), Error> {
    let io = |source| Error::Io { path: path.to_path_buf(), action: "read", source };
    let mut file = files::open(path, MAX_FILE_BYTES).map_err(io)?;
    let mut head = Vec::new();
    (&file).take(HEAD_BYTES).read_to_end(&mut head).map_err(io)?;
    let format = Format::of(&head).map_err(|found| Error::NotWeights { path: path.to_path_buf(), found })?;
    file.rewind().map_err(io)?;
    Ok((format, file))
}

/// Part of what begins at `start`.
fn read_at(file: &mut File, start: u64, span: &Range<usize>) -> Result<Vec<u8>, String> {
    let mut read = || {
        file.seek(SeekFrom::Start(start.saturating_add(span.start as u64)))?;
        let mut bytes = Vec::new();
        file.take(span.len() as u64).read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = read().map_err(|error| error.to_string())?;
    if bytes.len() == span.len() { Ok(bytes) } else { Err("the file ends before its numbers do".into()) }
}

/// Part of an entry, all of which is read: only then is its checksum verified.
fn read_entry(
    archive: &mut ZipArchive<io::BufReader<File>>,
    index: usize,
    span: &Range<usize>,
) -> Result<Vec<u8>, String> {
    let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
    let mut read = || {
        io::copy(&mut (&mut entry).take(span.start as u64), &mut io::sink())?;
        let mut bytes = Vec::new();
        (&mut entry).take(span.len() as u64).read_to_end(&mut bytes)?;
        io::copy(&mut entry, &mut io::sink())?;
        Ok::<_, io::Error>(bytes)
    };
    let bytes = read().map_err(|error| error.to_string())?;
    if bytes.len() == span.len() { Ok(bytes) } else { Err("the file ends before its numbers do".into()) }
}
