//! The file: safetensors, whose metadata say what the tensors are for.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use mobilenet_kernels::bf16_to_f32;
use safetensors::serialize;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::{Description, Network, Operation, Tensor, Values};
use crate::precision::Precision;
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
    precision: Precision,
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
    /// Missing in older files.
    precision: Option<Precision>,
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

/// A tensor: its shape, how its numbers are kept, and where in the file they begin.
struct Entry {
    shape: Vec<usize>,
    kept: Precision,
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
            let kept = match info.dtype {
                Dtype::F32 => Precision::Float32,
                Dtype::BF16 => Precision::Bf16,
                Dtype::I8 => Precision::Int8,
                other => return Err(Error::value(format!("tensor {name:?}"), "F32, BF16 or I8", format!("{other:?}"))),
            };
            Ok((name, Entry { shape: info.shape.clone(), kept, start: start + info.data_offsets.0 }))
        };
        let entries = header.tensors().into_iter().map(entry).collect::<Result<_>>()?;
        Ok(Self { source, contents, entries })
    }

    pub(crate) fn parts(&self) -> Parts<'_> {
        let Contents { precision, description, operations } = &self.contents;
        let precision = precision.unwrap_or_else(|| Precision::unsaid(description));
        Parts { operations, description, precision, tensors: self }
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
            let shape = entry.shape.clone();
            let tensor = match entry.kept {
                Precision::Int8 => Tensor { shape, values: Values::I8(parts.bytes(name)?) },
                Precision::Bf16 => Tensor::bf16(shape, &parts.floats(name)?),
                Precision::Float32 => Tensor::f32(shape, parts.floats(name)?),
            };
            Ok((name.clone(), tensor))
        };
        parts.shapes()?;
        let tensors = self.entries.iter().map(tensor).collect::<Result<_>>()?;
        let Contents { description, operations, .. } = self.contents;
        Ok(Network { operations, tensors, description })
    }
}

impl Tensors for File<'_> {
    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<Info<'_>> {
        self.entries.get(name).map(|entry| Info { shape: &entry.shape, kept: entry.kept })
    }

    /// Numbers are looked at when they are read.
    fn check(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn floats(&self, name: &str, first: usize, to: &mut [f32]) -> Result<()> {
        let (entry, len) = self.entry(name)?;
        if entry.kept == Precision::Int8 || first + to.len() > len {
            let (expected, found) = (format!("{} numbers", first + to.len()), len.to_string());
            return Err(Error::value(format!("tensor {name:?}"), expected, found));
        }
        let is_bf16 = entry.kept == Precision::Bf16;
        let width = if is_bf16 { size_of::<u16>() } else { size_of::<f32>() };
        let mut bytes = vec![0; CHUNK.min(to.len() * width)];
        let mut start = entry.start + first * width;
        for to in to.chunks_mut(CHUNK / width) {
            let bytes = &mut bytes[..to.len() * width];
            self.source.read(start, bytes)?;
            if is_bf16 {
                let all = to.iter_mut().zip(bytes.as_chunks().0);
                all.for_each(|(to, bytes)| *to = bf16_to_f32(u16::from_le_bytes(*bytes)));
            } else {
                to.iter_mut().zip(bytes.as_chunks().0).for_each(|(to, bytes)| *to = f32::from_le_bytes(*bytes));
            }
            finite(name, to.iter().copied())?;
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
                Values::Bf16(_) => Dtype::BF16,
                Values::I8(_) => Dtype::I8,
            };
            let view = TensorView::new(dtype, tensor.shape.clone(), &data[name.as_str()]);
            Ok((name, view.map_err(|error| Error::Safetensors(error.to_string()))?))
        });
        let views: Vec<_> = views.collect::<Result<_>>()?;
        let Self { description, operations, .. } = self;
        let header = Header { version: FORMAT_VERSION, precision: self.precision(), description, operations };
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
            Self::Bf16(values) => values.iter().flat_map(|bits| bits.to_le_bytes()).collect(),
            Self::I8(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
        }
    }
}
