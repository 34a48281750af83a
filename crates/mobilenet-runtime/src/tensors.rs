//! Where a plan takes its tensors from: a network in memory, or a file that is read part by part, so that no more of it is
//! held than what was packed.

use mobilenet_kernels::bf16_to_f32;

use crate::network::{Description, Network, Operation, Tensor, Values};
use crate::precision::Precision;
use crate::{Error, Result};

/// What is known of a tensor without its numbers.
#[derive(Clone, Copy)]
pub(crate) struct Info<'a> {
    pub shape: &'a [usize],
    /// How its numbers are kept.
    pub kept: Precision,
}

impl Info<'_> {
    /// How its numbers are kept, in words.
    pub(crate) fn words(&self) -> &'static str {
        if self.kept == Precision::Int8 { "8 bits" } else { self.kept.name() }
    }
}

/// Tensors by their names.
pub(crate) trait Tensors {
    fn names(&self) -> Vec<&str>;

    fn info(&self, name: &str) -> Option<Info<'_>>;

    /// Looks at numbers that need not be read for it.
    fn check(&self, name: &str) -> Result<()>;

    /// The numbers of a float32 or bf16 tensor from `first` on, all of which are finite.
    fn floats(&self, name: &str, first: usize, to: &mut [f32]) -> Result<()>;

    /// All numbers of a tensor of 8 bits.
    fn bytes(&self, name: &str) -> Result<Vec<i8>>;
}

/// A network, wherever its tensors are.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub operations: &'a [Operation],
    pub description: &'a Description,
    /// How its weights are said to be kept.
    pub precision: Precision,
    pub tensors: &'a dyn Tensors,
}

impl Parts<'_> {
    /// How many numbers a float32 or bf16 tensor has.
    pub(crate) fn len(&self, name: &str) -> Result<usize> {
        match self.tensors.info(name) {
            Some(info) if info.kept == Precision::Int8 => {
                Err(Error::value(format!("tensor {name:?}"), "float32", info.words()))
            }
            Some(Info { shape, .. }) => Ok(shape.iter().product()),
            None => Err(missing(name)),
        }
    }

    /// A float32 or bf16 tensor, as float32.
    pub(crate) fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let mut values = vec![0.; self.len(name)?];
        self.tensors.floats(name, 0, &mut values)?;
        Ok(values)
    }

    /// A tensor of 8 bits.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<i8>> {
        match self.tensors.info(name) {
            Some(info) if info.kept == Precision::Int8 => self.tensors.bytes(name),
            Some(info) => Err(Error::value(format!("tensor {name:?}"), "8 bits", info.words())),
            None => Err(missing(name)),
        }
    }
}

fn missing(name: &str) -> Error {
    Error::value("tensors", format!("one named {name:?}"), "none")
}

/// Fails where a number is not finite.
pub(crate) fn finite(name: &str, values: impl IntoIterator<Item = f32>) -> Result<()> {
    match values.into_iter().find(|value| !value.is_finite()) {
        Some(value) => Err(Error::value(format!("tensor {name:?}"), "finite numbers", value.to_string())),
        None => Ok(()),
    }
}

impl Network {
    pub(crate) fn parts(&self) -> Parts<'_> {
        let Self { operations, description, .. } = self;
        Parts { operations, description, precision: self.precision(), tensors: self }
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).ok_or_else(|| missing(name))
    }
}

impl Tensors for Network {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn info(&self, name: &str) -> Option<Info<'_>> {
        let Tensor { shape, values } = self.tensors.get(name)?;
        let kept = match values {
            Values::F32(_) => Precision::Float32,
            Values::Bf16(_) => Precision::Bf16,
            Values::I8(_) => Precision::Int8,
        };
        Some(Info { shape, kept })
    }

    fn check(&self, name: &str) -> Result<()> {
        let tensor = self.tensor(name)?;
        let len = tensor.shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
        if len != Some(tensor.values.len()) {
            let (expected, found) = (format!("numbers for shape {:?}", tensor.shape), tensor.values.len().to_string());
            return Err(Error::value(format!("tensor {name:?}"), expected, found));
        }
        match &tensor.values {
            Values::F32(values) => finite(name, values.iter().copied()),
            Values::Bf16(values) => finite(name, values.iter().copied().map(bf16_to_f32)),
            Values::I8(_) => Ok(()),
        }
    }

    fn floats(&self, name: &str, first: usize, to: &mut [f32]) -> Result<()> {
        let range = first..first + to.len();
        let values = &self.tensor(name)?.values;
        if range.end > values.len() {
            let (expected, found) = (format!("{} numbers", range.end), values.len().to_string());
            return Err(Error::value(format!("tensor {name:?}"), expected, found));
        }
        match values {
            Values::F32(values) => to.copy_from_slice(&values[range]),
            Values::Bf16(values) => to.iter_mut().zip(&values[range]).for_each(|(to, bits)| *to = bf16_to_f32(*bits)),
            Values::I8(_) => return Err(Error::value(format!("tensor {name:?}"), "float32", "8 bits")),
        }
        Ok(())
    }

    fn bytes(&self, name: &str) -> Result<Vec<i8>> {
        match &self.tensor(name)?.values {
            Values::I8(values) => Ok(values.clone()),
            Values::F32(_) => Err(Error::value(format!("tensor {name:?}"), "8 bits", "float32")),
            Values::Bf16(_) => Err(Error::value(format!("tensor {name:?}"), "8 bits", "bf16")),
        }
    }
}
