//! A tensor in a file: its type, its shape, and where its numbers are.

use candle_core::{DType, Device, Tensor};

/// The most dimensions of a tensor.
pub(super) const MAX_DIMS: usize = 8;

/// A tensor in a file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub shape: Vec<usize>,
    /// In elements.
    strides: Vec<usize>,
    pub number: Number,
    /// The storage among the file's, and the first element's place in it.
    pub storage: usize,
    offset: usize,
}

/// The type of a tensor's elements: one that Candle can convert, or the name and size of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Float(DType),
    Other(String, usize),
}

impl Number {
    /// Bytes of an element.
    pub fn size(&self) -> usize {
        match self {
            Self::Float(dtype) => dtype.size_in_bytes(),
            Self::Other(_, size) => *size,
        }
    }

    /// The name as PyTorch spells it: `float32`, `int64`.
    pub fn name(&self) -> &str {
        match self {
            Self::Float(DType::F16) => "float16",
            Self::Float(DType::BF16) => "bfloat16",
            Self::Float(DType::F64) => "float64",
            Self::Float(_) => "float32",
            Self::Other(name, _) => name,
        }
    }
}

impl Stored {
    /// A view of a storage of `bytes`, from element `offset` on. Refuses a view that goes beyond the storage, or that
    /// has more elements than it (an expanded tensor), so that no allocation is larger than the file.
    pub fn view(
        (storage, bytes): (usize, u64),
        number: Number,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        let capacity = usize::try_from(bytes / number.size() as u64).unwrap_or(usize::MAX);
        let elements = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length));
        let end = shape.iter().zip(&strides).try_fold(offset, |last, (&length, &stride)| {
            last.checked_add(length.saturating_sub(1).checked_mul(stride)?)
        });
        let fits = strides.len() == shape.len()
            && shape.len() <= MAX_DIMS
            && elements.is_some_and(|n| n <= capacity)
            && offset <= capacity
            && (elements == Some(0) || end.is_some_and(|last| last < capacity));
        if fits {
            return Ok(Self { shape, strides, number, storage, offset });
        }
        Err(format!(
            "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} in a storage of {capacity} numbers"
        ))
    }

    /// A tensor whose elements are in row-major order and fill a storage.
    pub fn row_major(storage: usize, number: Number, shape: Vec<usize>) -> Self {
        Self { strides: row_major(&shape), shape, number, storage, offset: 0 }
    }

    /// The number of its elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The bytes of its storage that it lies in: from its first element to its last.
    pub fn span(&self) -> std::ops::Range<usize> {
        let size = self.number.size();
        let start = self.offset * size;
        if self.elements() == 0 {
            return start..start;
        }
        let last: usize = self.shape.iter().zip(&self.strides).map(|(&n, &stride)| (n - 1) * stride).sum();
        start..start + (last + 1) * size
    }

    /// The tensor itself, of the bytes of its [`span`](Self::span).
    pub fn to_tensor(&self, bytes: Vec<u8>, device: &Device) -> candle_core::Result<Tensor> {
        match &self.number {
            Number::Float(dtype) => Tensor::from_raw_buffer(&self.contiguous(bytes), *dtype, &self.shape, device),
            Number::Other(name, _) => candle_core::bail!("expected floating-point numbers, found {name}"),
        }
    }

    /// The elements in row-major order.
    fn contiguous(&self, bytes: Vec<u8>) -> Vec<u8> {
        let (elements, size) = (self.elements(), self.number.size());
        let expected = row_major(&self.shape);
        let mut dims = self.shape.iter().zip(self.strides.iter().zip(&expected));
        if elements == 0 || dims.all(|(&length, (stride, expected))| length == 1 || stride == expected) {
            return bytes;
        }
        let mut out = Vec::with_capacity(elements * size);
        let mut index = vec![0; self.shape.len()];
        for _ in 0..elements {
            let at: usize = index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum();
            out.extend_from_slice(&bytes[at * size..(at + 1) * size]);
            for (i, &length) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < length {
                    break;
                }
                *i = 0;
            }
        }
        out
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
            Stored::view((0, 24), Number::Float(DType::F32), offset, shape.to_vec(), strides.to_vec())
        };
        let values = |stored: Stored| {
            let bytes = bytes[stored.span()].to_vec();
            stored.to_tensor(bytes, &Device::Cpu).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
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
            (usize::MAX, &[0], &[1]),
            (0, &[usize::MAX, 2], &[0, 0]),
            (0, &[2, 3], &[3]),
            (0, &[1; 9], &[1; 9]),
        ] {
            assert!(view(offset, shape, strides).is_err(), "{offset} {shape:?} {strides:?}");
        }
    }
}
