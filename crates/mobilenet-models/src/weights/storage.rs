//! A tensor in a file's bytes, and the formats of files.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};

/// The bytes [`Format::of`] looks at.
pub(super) const HEAD_BYTES: u64 = 16;

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";
/// A pickle (protocol 2) of PyTorch's magic number, 0x1950a86a20f9469cfc6c.
const LEGACY_MAGIC: &[u8] = &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The formats of weights that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    /// `torch.save` since PyTorch 1.6.
    TorchZip,
    /// `torch.save` before it.
    TorchLegacy,
}

impl Format {
    /// Tells the format from a file's first bytes; what they look like instead is the error.
    pub fn of(head: &[u8]) -> Result<Self, String> {
        if head.starts_with(ZIP_MAGIC) {
            Ok(Self::TorchZip)
        } else if head.starts_with(LEGACY_MAGIC) {
            Ok(Self::TorchLegacy)
        } else if head.get(8) == Some(&b'{') {
            Ok(Self::Safetensors)
        } else if head.is_empty() {
            Err("an empty file".into())
        } else {
            let bytes: Vec<String> = head.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            Err(format!("a file that begins with the bytes {}", bytes.join(" ")))
        }
    }

    /// The name used in errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::TorchZip | Self::TorchLegacy => "PyTorch",
        }
    }
}

/// A tensor in a file.
#[derive(Debug)]
pub(super) struct Stored<'a> {
    pub shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    number: Number,
    /// From the first element on, at least to the last.
    bytes: &'a [u8],
}

/// The type of a tensor's elements: one that Candle can convert, or the name of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Float(DType),
    Other(String),
}

impl<'a> Stored<'a> {
    /// A view of a storage, from element `offset` on. Refuses a view that goes beyond the storage, or that has more
    /// elements than it (an expanded tensor), so that no allocation is larger than the file.
    pub fn view(
        storage: &'a [u8],
        number: Number,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        let size = if let Number::Float(dtype) = number { dtype.size_in_bytes() } else { 1 };
        let capacity = storage.len() / size;
        let elements = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        let end = shape.iter().zip(&strides).try_fold(offset, |last, (&length, &stride)| {
            last.checked_add(length.saturating_sub(1).checked_mul(stride)?)
        });
        let fits = strides.len() == shape.len()
            && elements.is_some_and(|n| n <= capacity)
            && (elements == Some(0) || end.is_some_and(|last| last < capacity));
        match storage.get(offset.saturating_mul(size)..) {
            Some(bytes) if fits => Ok(Self { shape, strides, number, bytes }),
            _ => Err(format!(
                "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} in a storage of {capacity} numbers"
            )),
        }
    }

    /// A tensor whose elements are in row-major order, and `bytes` are all of them.
    pub fn row_major(bytes: &'a [u8], number: Number, shape: Vec<usize>) -> Self {
        Self { strides: row_major(&shape), shape, number, bytes }
    }

    /// The type of the elements, if they are not floating point.
    pub fn not_floating_point(&self) -> Option<String> {
        match &self.number {
            Number::Float(_) => None,
            Number::Other(name) => Some(name.clone()),
        }
    }

    /// The tensor itself.
    pub fn to_tensor(&self, device: &Device) -> candle_core::Result<Tensor> {
        match &self.number {
            Number::Float(dtype) => {
                Tensor::from_raw_buffer(&self.contiguous(dtype.size_in_bytes()), *dtype, &self.shape, device)
            }
            Number::Other(name) => candle_core::bail!("expected floating-point numbers, found {name}"),
        }
    }

    /// The elements in row-major order.
    fn contiguous(&self, size: usize) -> Cow<'a, [u8]> {
        let elements: usize = self.shape.iter().product();
        let expected = row_major(&self.shape);
        let mut dims = self.shape.iter().zip(self.strides.iter().zip(&expected));
        if elements == 0 || dims.all(|(&length, (stride, expected))| length == 1 || stride == expected) {
            return Cow::Borrowed(&self.bytes[..elements * size]);
        }
        let mut out = Vec::with_capacity(elements * size);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..elements {
            let at: usize = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum();
            out.extend_from_slice(&self.bytes[at * size..(at + 1) * size]);
            for (i, &length) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < length {
                    break;
                }
                *i = 0;
            }
        }
        Cow::Owned(out)
    }
}

/// The strides of a contiguous tensor.
fn row_major(shape: &[usize]) -> Vec<usize> {
    // Beside a dimension of 0 the others may have any product.
    (1..=shape.len()).map(|i| shape[i..].iter().copied().fold(1, usize::saturating_mul)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_elements_in_the_order_of_the_strides() {
        let bytes: Vec<u8> = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let view = |offset, shape: &[usize], strides: &[usize]| {
            Stored::view(&bytes, Number::Float(DType::F32), offset, shape.to_vec(), strides.to_vec())
        };
        let values =
            |stored: Stored| stored.to_tensor(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(view(0, &[2, 3], &[3, 1]).unwrap()), [0f32, 1., 2., 3., 4., 5.]);
        assert_eq!(values(view(0, &[2, 3], &[1, 2]).unwrap()), [0f32, 2., 4., 1., 3., 5.]);
        assert_eq!(values(view(4, &[2, 1], &[1, 9]).unwrap()), [4f32, 5.]);
        assert_eq!(values(view(0, &[0, 3], &[3, 1]).unwrap()), [0f32; 0]);
        for (offset, shape, strides) in [
            (1, &[2, 3][..], &[3, 1][..]),
            (0, &[7], &[0]),
            (0, &[2], &[6]),
            (0, &[2], &[usize::MAX]),
            (usize::MAX, &[1], &[1]),
            (0, &[usize::MAX, 2], &[0, 0]),
            (0, &[2, 3], &[3]),
        ] {
            assert!(view(offset, shape, strides).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
