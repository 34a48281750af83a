//! The parameters of a run of stages, read without a copy.

use candle_core::backprop::GradStore;
use candle_core::{Result, Storage, Tensor, bail};

use crate::channels_last::as_slice;

/// Parameters that one operation reads together.
pub(crate) struct Parameters(Vec<Tensor>);

impl Parameters {
    pub(crate) fn new(tensors: Vec<Tensor>) -> Self {
        Self(tensors)
    }

    pub(crate) fn tensors(&self) -> &[Tensor] {
        &self.0
    }

    /// Calls `f` with the elements of each.
    pub(crate) fn with_slices<R>(&self, f: impl FnOnce(&[&[f32]]) -> Result<R>) -> Result<R> {
        let tensors: Vec<Tensor> = self.0.iter().map(Tensor::contiguous).collect::<Result<_>>()?;
        let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
        let slices = guards.iter().map(|(storage, layout)| match &**storage {
            Storage::Cpu(cpu) => as_slice(cpu, layout),
            _ => bail!("expected a parameter on the CPU"),
        });
        f(&slices.collect::<Result<Vec<_>>>()?)
    }

    /// Their gradients in `store`; zeros where it has none.
    pub(crate) fn gradients(&self, store: &GradStore) -> Result<Vec<Vec<f32>>> {
        let gradient = |tensor: &Tensor| match store.get(tensor) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.; tensor.elem_count()]),
        };
        self.0.iter().map(gradient).collect()
    }
}
