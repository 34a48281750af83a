//! The file: safetensors, whose metadata say what the tensors are for.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::network::{Description, Network, Operation, Tensor, Values};
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

impl Network {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is no such file or of an unknown version, or its parts do not fit each other.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = mobilenet_common::files::read(path, MAX_BYTES).map_err(|source| Error::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(&bytes).map_err(|error| Error::Within { path: path.to_owned(), source: Box::new(error) })
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// They are no such file or of an unknown version, or its parts do not fit each other.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| Error::Safetensors(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| Error::Safetensors(error.to_string()))?;
        let text = header.metadata().as_ref().and_then(|metadata| metadata.get(FORMAT));
        let missing = || Error::Format(format!("its metadata have no {FORMAT:?}; `mobilenet export` makes such files"));
        let text = text.ok_or_else(missing)?;
        let Version { version } = json(text)?;
        if version != FORMAT_VERSION {
            return Err(Error::Format(format!("expected format version {FORMAT_VERSION}, found {version}")));
        }
        let Contents { description, operations } = json(text)?;
        let network = Self {
            operations,
            description,
            tensors: tensors
                .iter()
                .map(|(name, view)| Ok((name.to_owned(), tensor(name, &view)?)))
                .collect::<Result<_>>()?,
        };
        network.shapes()?;
        Ok(network)
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

fn tensor(name: &str, view: &TensorView) -> Result<Tensor> {
    let values = match view.dtype() {
        Dtype::F32 => {
            let numbers = view.data().as_chunks::<4>().0.iter();
            Values::F32(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
        Dtype::I8 => Values::I8(view.data().iter().map(|byte| byte.cast_signed()).collect()),
        other => return Err(Error::value(format!("tensor {name:?}"), "F32 or I8", format!("{other:?}"))),
    };
    Ok(Tensor { shape: view.shape().to_vec(), values })
}
