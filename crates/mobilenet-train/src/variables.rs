//! Variables in a fixed order, and their numbers on the host.

use std::borrow::Cow;
use std::sync::PoisonError;

use candle_core::{DType, Tensor, Var};
use candle_nn::VarMap;
use safetensors::tensor::{Dtype, View};

use crate::Error;

/// `f32` numbers with a name and a shape.
pub(crate) struct NamedArray<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub data: Cow<'a, [f32]>,
}

impl View for NamedArray<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        4 * self.data.len()
    }
}

/// The variables with their names, sorted: a `VarMap` itself has no fixed order.
pub(crate) fn sorted_vars(vars: &VarMap) -> Result<Vec<(String, Var)>, Error> {
    let map = vars.data().lock().unwrap_or_else(PoisonError::into_inner);
    let mut sorted: Vec<_> = map.iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    match sorted.iter().find(|(_, var)| var.dtype() != DType::F32) {
        Some((name, var)) => Err(Error::VariableType { name: name.clone(), found: var.dtype().as_str() }),
        None => Ok(sorted),
    }
}

/// The numbers of a tensor, on the host.
pub(crate) fn host_values(tensor: &Tensor) -> Result<Cow<'static, [f32]>, Error> {
    Ok(Cow::Owned(tensor.flatten_all()?.to_vec1::<f32>()?))
}
