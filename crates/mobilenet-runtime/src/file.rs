//! The file: safetensors, whose metadata say what the tensors are for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::serialize;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::{Description, Network, Operation, Tensor, Values};
use crate::tensors::{Info, Parts, Tensors, finite};
use crate::{Error, Result};

/// The key of the metadata under which all is said, as JSON.
pub const FORMAT: &str = "mobilenet-runtime";

/// The version of the format that is written and read.
pub const FORMAT_VERSION: u32 = 1;

/// What the metadata say, in one entry, since several come in any order.
#[derive(Serialize)]
struct Header<'a> {
    version: u32,
    description: &'a Description,
    operations: &'a [Operation],
}

/// The version alone, which decides how the rest is read.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Contents {
    description: Description,
    operations: Vec<Operation>,
}

/// The largest file that is read: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;

/// Bytes of the number that says how long the header is.
const LENGTH_BYTES: usize = 8;

/// Bytes that are read of a file at once.
const CHUNK: usize = 64 << 10;

/// A file whose header was read. Its tensors are read when they are asked for.
pub(crate) struct File<'a> {
    source: Source<'a>,
    contents: Contents,
    entries: BTreeMap<String, Entry>,
}

/// Where a file's bytes are.
enum Source<'a> {
    Memory(&'a [u8]),
    Disk { file: fs::File, path: PathBuf },
}

/// A tensor: its shape, and where in the file its numbers begin.
struct Entry {
    shape: Vec<usize>,
    is_bytes: bool,
    start: usize,
}

impl Source<'_> {
    fn error(path: &Path, source: io::Error) -> Error {
        Error::File { doing: "read", path: path.to_owned(), source }
    }

    fn len(&self) -> Result<usize> {
        match self {
            Self::Memory(bytes) => Ok(bytes.len()),
            Self::Disk { file, path } => {
                let len = file.metadata().map_err(|error| Self::error(path, error))?.len();
                usize::try_from(len).map_err(|_| Self::error(path, io::ErrorKind::OutOfMemory.into()))
            }
        }
    }

    /// The bytes from `start` on, which were found to be there.
    fn read(&self, start: usize, to: &mut [u8]) -> Result<()> {
        match self {
            Self::Memory(bytes) => match bytes.get(start..).and_then(|bytes| bytes.get(..to.len())) {
                Some(bytes) => to.copy_from_slice(bytes),
                None => return Err(Error::Safetensors("it ends too early".to_owned())),
            },
            Self::Disk { file, path } => {
                let mut file = file;
                let read = file.seek(SeekFrom::Start(start as u64)).and_then(|_| file.read_exact(to));
                read.map_err(|error| Self::error(path, error))?;
            }
        }
        Ok(())
    }
}

impl<'a> File<'a> {
    /// Reads the header of the file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = mobilenet_common::files::open(path, MAX_BYTES).map_err(|error| Source::error(path, error))?;
        Self::new(Source::Disk { file, path: path.to_owned() })
    }

    /// Reads the header of a file's bytes.
    pub(crate) fn from_bytes(bytes: &'a [u8]) -> Result<Self> {
        Self::new(Source::Memory(bytes))
    }

    fn new(source: Source<'a>) -> Result<Self> {
        let total = source.len()?;
        let refused = |why: &str| Error::Safetensors(why.to_owned());
        if total < LENGTH_BYTES {
            return Err(refused("it is too short to have a header"));
        }
        let mut length = [0; LENGTH_BYTES];
        source.read(0, &mut length)?;
        let length = usize::try_from(u64::from_le_bytes(length)).ok().filter(|len| *len <= total - LENGTH_BYTES);
        let mut header = vec![0; length.ok_or_else(|| refused("its header is longer than the file"))?];
        source.read(LENGTH_BYTES, &mut header)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| Error::Safetensors(error.to_string()))?;
        let start = total - header.data_len().min(total);
        if start != LENGTH_BYTES + length.unwrap_or(0) {
            return Err(refused("it is not as long as its header says"));
        }
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(FORMAT));
        let missing = || Error::Format(format!("its metadata have no {FORMAT:?}; `mobilenet export` makes such files"));
        let text = text.ok_or_else(missing)?;
        let Version { version } = json(text)?;
        if version != FORMAT_VERSION {
            return Err(Error::Format(format!("expected format version {FORMAT_VERSION}, found {version}")));
        }
        let contents = json(text)?;
        let entry = |(name, info): (String, &TensorInfo)| {
            let is_bytes = match info.dtype {
                Dtype::F32 => false,
                Dtype::I8 => true,
                other => return Err(Error::value(format!("tensor {name:?}"), "F32 or I8", format!("{other:?}"))),
            };
            let entry = Entry { shape: info.shape.clone(), is_bytes, start: start + info.data_offsets.0 };
            Ok((name, entry))
        };
        let entries = header.tensors().into_iter().map(entry).collect::<Result<_>>()?;
        Ok(Self { source, contents, entries })
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        let Contents { description, operations } = &self.contents;
        Parts { operations, description, tensors: self }
    }

    /// A tensor with its shape, whose header was checked: it has as many numbers as that says.
    fn entry(&self, name: &str) -> Result<(&Entry, usize)> {
        let entry = self.entries.get(name);
        let entry = entry.ok_or_else(|| Error::value("tensors", format!("one named {name:?}"), "none"))?;
        Ok((entry, entry.shape.iter().product()))
    }

    /// All of it.
    fn network(self) -> Result<Network> {
        let parts = self.parts();
        let tensor = |(name, entry): (&String, &Entry)| {
            let values = match entry.is_bytes {
                true => Values::I8(parts.bytes(name)?),
                false => Values::F32(parts.floats(name)?),
            };
            Ok((name.clone(), Tensor { shape: entry.shape.clone(), values }))
        };
        parts.shapes()?;
        let tensors = self.entries.iter().map(tensor).collect::<Result<_>>()?;
        let Contents { description, operations } = self.contents;
        Ok(Network { operations, tensors, description })
    }
}

impl Tensors for File<'_> {
    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<Info<'_>> {
        self.entries.get(name).map(|entry| Info { shape: &entry.shape, is_bytes: entry.is_bytes })
    }

    /// Numbers are looked at when they are read.
    fn check(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn floats(&self, name: &str, first: usize, to: &mut [f32]) -> Result<()> {
        let (entry, len) = self.entry(name)?;
        if entry.is_bytes || first + to.len() > len {
            return Err(Error::value(
                format!("tensor {name:?}"),
                format!("{} numbers", first + to.len()),
                len.to_string(),
            ));
        }
        let mut bytes = vec![0; CHUNK.min(size_of_val(to))];
        let mut start = entry.start + first * size_of::<f32>();
        for to in to.chunks_mut(CHUNK / size_of::<f32>()) {
            let bytes = &mut bytes[..size_of_val(to)];
            self.source.read(start, bytes)?;
            to.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, bytes)| *to = f32::from_le_bytes(*bytes));
            finite(name, to)?;
            start += bytes.len();
        }
        Ok(())
    }

    fn bytes(&self, name: &str) -> Result<Vec<i8>> {
        let (entry, len) = self.entry(name)?;
        let mut bytes = vec![0; len];
        self.source.read(entry.start, &mut bytes)?;
        Ok(bytes.into_iter().map(u8::cast_signed).collect())
    }
}

impl Network {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is no such file or of an unknown version, or its parts do not fit each other.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        File::open(path).and_then(File::network).map_err(|error| error.within(path))
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// They are no such file or of an unknown version, or its parts do not fit each other.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        File::from_bytes(bytes)?.network()
    }

    /// The bytes of its file, the same for the same network.
    ///
    /// # Errors
    /// The network's parts do not fit each other.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.shapes()?;
        let data: BTreeMap<&str, Vec<u8>> =
            self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.values.bytes())).collect();
        let views = self.tensors.iter().map(|(name, tensor)| {
            let dtype = match tensor.values {
                Values::F32(_) => Dtype::F32,
                Values::I8(_) => Dtype::I8,
            };
            let view = TensorView::new(dtype, tensor.shape.clone(), &data[name.as_str()]);
            Ok((name, view.map_err(|error| Error::Safetensors(error.to_string()))?))
        });
        let views: Vec<_> = views.collect::<Result<_>>()?;
        let header = Header { version: FORMAT_VERSION, description: &self.description, operations: &self.operations };
        let text = serde_json::to_string(&header).map_err(|error| Error::Format(error.to_string()))?;
        let metadata = HashMap::from([(FORMAT.to_owned(), text)]);
        serialize(views, Some(metadata)).map_err(|error| Error::Safetensors(error.to_string()))
    }

    /// Writes its file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written, or the network's parts do not fit each other.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        mobilenet_common::files::write(path, &self.to_bytes()?).map_err(|source| Error::File {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Format(error.to_string()))
}

impl Values {
    /// Little-endian.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::I8(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
        }
    }
}
