//! Any number of parameters as one argument of a custom op.
//!
//! Candle's custom ops take at most three tensors, a block has up to thirteen parameters. Concatenating them would copy every
//! weight in each forward and each gradient in each backward. Instead the op takes a [`Parameters::handle`]: an empty-handed
//! tensor that depends on all parameters. The op reads the parameters themselves, leaves their gradients in a common place,
//! and the handle's backward, which Candle runs after the op's, hands each parameter its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

use crate::channels_last::{as_slice, has_kernels};

/// Gradients on their way from an op to the parameters, one place for each.
type Slots = Arc<Mutex<Vec<Option<Tensor>>>>;

/// Parameters that one op reads together.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    tensors: Vec<Tensor>,
    handle: Tensor,
    slots: Slots,
}

impl Parameters {
    /// Those of a fused operation; `None` where there are no kernels for them.
    pub(crate) fn for_kernels(tensors: Vec<Tensor>) -> Result<Option<Self>> {
        if tensors.iter().all(has_kernels) { Self::new(tensors).map(Some) } else { Ok(None) }
    }

    fn new(tensors: Vec<Tensor>) -> Result<Self> {
        let slots: Slots = Arc::new(Mutex::new(vec![None; tensors.len()]));
        let mut handle: Option<Tensor> = None;
        for (i, tensor) in tensors.iter().enumerate() {
            let link = Link { slot: i, slots: slots.clone() };
            handle = Some(match handle {
                None => tensor.apply_op1(link)?,
                Some(handle) => handle.apply_op2(tensor, link)?,
            });
        }
        match handle {
            Some(handle) => Ok(Self { tensors, handle, slots }),
            None => bail!("an op needs at least one parameter"),
        }
    }

    /// The tensor that stands for all of them.
    pub(crate) fn handle(&self) -> &Tensor {
        &self.handle
    }

    /// Calls `f` with the elements of each.
    pub(crate) fn with_slices<R>(&self, f: impl FnOnce(&[&[f32]]) -> Result<R>) -> Result<R> {
        let tensors: Vec<Tensor> = self.tensors.iter().map(Tensor::contiguous).collect::<Result<_>>()?;
        let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
        let slices = guards.iter().map(|(storage, layout)| match &**storage {
            Storage::Cpu(cpu) => as_slice(cpu, layout),
            _ => bail!("expected a parameter on the CPU"),
        });
        f(&slices.collect::<Result<Vec<_>>>()?)
    }

    /// The parameters' gradients in `store`; zeros where it has none.
    pub(crate) fn gradients(&self, store: &GradStore) -> Result<Vec<Vec<f32>>> {
        let gradient = |tensor: &Tensor| match store.get(tensor) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.; tensor.elem_count()]),
        };
        self.tensors.iter().map(gradient).collect()
    }

    /// Leaves the gradients for the handle's backward, added to those of an earlier use in the same graph; returns the
    /// handle's own gradient, which says nothing.
    pub(crate) fn leave(&self, gradients: Vec<Vec<f32>>) -> Result<Option<Tensor>> {
        if !self.handle.track_op() {
            return Ok(None);
        }
        let mut slots = lock(&self.slots);
        for ((slot, tensor), values) in slots.iter_mut().zip(&self.tensors).zip(gradients) {
            let gradient = Tensor::from_vec(values, tensor.shape(), tensor.device())?;
            *slot = Some(match slot.take() {
                Some(earlier) => (earlier + gradient)?,
                None => gradient,
            });
        }
        self.handle.zeros_like().map(Some)
    }
}

fn lock(slots: &Slots) -> MutexGuard<'_, Vec<Option<Tensor>>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One parameter's place in the chain that ends in the handle.
struct Link {
    slot: usize,
    slots: Slots,
}

impl Link {
    fn take(&self) -> Option<Tensor> {
        lock(&self.slots).get_mut(self.slot).and_then(Option::take)
    }
}

fn empty() -> (CpuStorage, Shape) {
    (CpuStorage::F32(vec![0.]), 1.into())
}

impl CustomOp1 for Link {
    fn name(&self) -> &'static str {
        "parameters"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(empty())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.take())
    }
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "parameters"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(empty())
    }

    fn bwd(&self, before: &Tensor, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((before.zeros_like().map(Some)?, self.take()))
    }
}
