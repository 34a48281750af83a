//! The format safetensors: a JSON header with names, types, shapes and offsets, then the numbers.

use std::fs::File;
use std::io::Read;

use ::safetensors::tensor::Metadata;
use candle_core::DType;

use super::super::storage::{Number, Stored};
use super::{Fault, Place, Reader, WeightsFile};

/// The longest header read; a network of this workspace has 40 kB.
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Takes in all tensors of a file.
pub(super) fn add(weights: &mut WeightsFile, mut file: File) -> Result<Reader, Fault> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|error| error.to_string())?;
    let header_bytes = u64::from_le_bytes(size);
    if header_bytes > MAX_HEADER_BYTES {
        return Err(Fault::Damaged(format!("a header of {header_bytes} bytes, expected at most {MAX_HEADER_BYTES}")));
    }
    let mut header = Vec::new();
    (&file).take(header_bytes).read_to_end(&mut header).map_err(|error| error.to_string())?;
    if header.len() as u64 != header_bytes {
        return Err(Fault::Damaged("the file ends within its header".into()));
    }
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| format!("its header: {error}"))?;
    let begin = 8 + header_bytes;
    let expected = begin.saturating_add(header.data_len() as u64);
    if expected != length {
        return Err(Fault::Damaged(format!("{length} bytes, expected {expected} by its header")));
    }
    for (name, info) in header.tensors() {
        let number = match DType::try_from(info.dtype) {
            Ok(dtype @ (DType::F16 | DType::BF16 | DType::F32 | DType::F64)) => Number::Float(dtype),
            _ => Number::Other(info.dtype.to_string(), 1),
        };
        let storage = weights.add_storage(Place::At(begin + info.data_offsets.0 as u64));
        weights.add_tensor(name, Stored::row_major(storage, number, info.shape.clone()))?;
    }
    Ok(Reader::Plain(file))
}
