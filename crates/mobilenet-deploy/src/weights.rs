//! Trained parameters by torchvision's names.

use std::collections::BTreeMap;
use std::path::Path;

use mobilenet_common::files;
use mobilenet_runtime::{Tensor, Values};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;

use crate::{Error, Result};

/// The largest file that is read: 1 GiB.
const MAX_BYTES: u64 = 1 << 30;

/// Parameters and running statistics by torchvision's names.
#[derive(Clone, Debug, Default)]
pub struct Weights(BTreeMap<String, Tensor>);

impl Weights {
    /// Reads a run's `model.safetensors`. Tensors that are not float32 are left out.
    ///
    /// # Errors
    /// The file cannot be read or is no safetensors file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = files::read(path, MAX_BYTES).map_err(|source| Error::File {
            doing: "read",
            path: path.to_owned(),
            source,
        })?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| Error::Weights {
            path: path.to_owned(),
            reason: format!("not a safetensors file: {error}"),
        })?;
        let floats = tensors.iter().filter(|(_, view)| view.dtype() == Dtype::F32);
        Ok(Self::new(floats.map(|(name, view)| {
            let numbers = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            (name.to_owned(), Tensor::f32(view.shape(), numbers.collect()))
        })))
    }

    /// These tensors.
    pub fn new(tensors: impl IntoIterator<Item = (String, Tensor)>) -> Self {
        Self(tensors.into_iter().collect())
    }

    /// The numbers of a tensor of this shape.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        let wrong = |found: String| Error::Tensor { name: name.to_owned(), expected: shape.to_vec(), found };
        match self.0.get(name) {
            Some(Tensor { shape: found, values: Values::F32(values) }) if found == shape => Ok(values),
            Some(tensor) => Err(wrong(format!("{:?}", tensor.shape))),
            None => Err(wrong("none".to_owned())),
        }
    }
}
