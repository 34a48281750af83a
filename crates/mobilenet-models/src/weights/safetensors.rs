//! The format safetensors: a JSON header with names, types, shapes and offsets, then the numbers.

use std::collections::BTreeMap;

use ::safetensors::SafeTensors;
use candle_core::DType;

use super::storage::{Number, Stored};

/// All tensors of a file.
pub(super) fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Stored<'_>>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    file.iter()
        .map(|(name, view)| {
            let number = match DType::try_from(view.dtype()) {
                Ok(dtype @ (DType::F16 | DType::BF16 | DType::F32 | DType::F64)) => Number::Float(dtype),
                _ => Number::Other(format!("{:?}", view.dtype())),
            };
            let shape = view.shape().to_vec();
            Ok((name.to_string(), Stored::row_major(view.data(), number, shape)))
        })
        .collect()
}
