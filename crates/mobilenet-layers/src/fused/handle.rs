//! Any number of parameters as one argument of a custom op.
//!
//! Candle's custom ops take at most three tensors, a network has more than a hundred parameters. Concatenating them
//! would copy every weight in each forward and each gradient in each backward. Instead an op takes a [`Handle`]'s
//! tensor: an empty-handed one that depends on all parameters, through a chain of links that each add two. The op reads
//! the parameters themselves. In a backward, which Candle runs from the op down the chain,
//!
//! ```text
//! op            leaves all gradients as one parcel, and gives the handle as its "gradient" the parcel's number
//!   link n      takes the gradients of its parameters out of the parcel with that number, and passes the number on
//!   …
//!     link 1    takes the last ones; the parcel is gone
//! ```
//!
//! A handle belongs to one forward, and a parcel to one backward of it. So whatever else happens to the parameters, in
//! other graphs, on other threads, in a backward that failed or in one that never ran, a link finds the gradients that
//! belong to its own backward. A parcel that a failed backward has left lives as long as its graph.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};

/// A tensor that stands for any number of parameters in one forward.
pub(crate) struct Handle {
    tensor: Tensor,
    /// The parameters that ask for a gradient, in the order of a parcel.
    tracked: Vec<usize>,
    parcels: Arc<Parcels>,
}

impl Handle {
    /// The handle of `parameters`; those that nothing upstream asks a gradient for have no link.
    pub(crate) fn new(parameters: &[Tensor]) -> Result<Self> {
        let tracked: Vec<usize> = (0..parameters.len()).filter(|i| parameters[*i].track_op()).collect();
        let parcels = Arc::new(Parcels::default());
        // A number is exact in float64 up to 2^53.
        let mut tensor = Tensor::zeros(1, DType::F64, &Device::Cpu)?;
        for (link, pair) in tracked.chunks(2).enumerate() {
            let link = Link { first: 2 * link, parcels: parcels.clone() };
            tensor = match *pair {
                [a, b] => tensor.apply_op3(&parameters[a], &parameters[b], link)?,
                [a, ..] => tensor.apply_op2(&parameters[a], link)?,
                [] => tensor,
            };
        }
        Ok(Self { tensor, tracked, parcels })
    }

    pub(crate) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The sender of gradients, for the op that takes the [`tensor`](Self::tensor).
    pub(crate) fn into_sender(self) -> Sender {
        Sender { tracked: self.tracked, parcels: self.parcels }
    }
}

/// What an op sends its parameters' gradients with.
pub(crate) struct Sender {
    tracked: Vec<usize>,
    parcels: Arc<Parcels>,
}

impl Sender {
    /// Sends the gradient of each of `parameters`, those of the handle, on its way; returns the gradient of the handle.
    pub(crate) fn send(&self, parameters: &[Tensor], mut gradients: Vec<Vec<f32>>) -> Result<Option<Tensor>> {
        if gradients.len() != parameters.len() {
            bail!("layers: {} gradients for {} parameters", gradients.len(), parameters.len())
        }
        if self.tracked.is_empty() {
            return Ok(None);
        }
        let gradient = |i: usize| {
            let (values, tensor) = (std::mem::take(&mut gradients[i]), &parameters[i]);
            Tensor::from_vec(values, tensor.shape(), tensor.device()).map(Some)
        };
        let parcel = self.tracked.iter().copied().map(gradient).collect::<Result<_>>()?;
        let number = self.parcels.put(parcel);
        Tensor::from_vec(vec![number as f64], 1, &Device::Cpu).map(Some)
    }
}

/// Gradients on their way to the parameters.
type Parcel = Vec<Option<Tensor>>;

/// The parcels of one handle, by their numbers: one for each of its backwards that is running, or has failed.
#[derive(Default)]
struct Parcels(Mutex<(u64, HashMap<u64, Parcel>)>);

impl Parcels {
    fn lock(&self) -> MutexGuard<'_, (u64, HashMap<u64, Parcel>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, parcel: Parcel) -> u64 {
        let (last, parcels) = &mut *self.lock();
        *last += 1;
        parcels.insert(*last, parcel);
        *last
    }

    /// Takes out the gradients from `first` on, at most two. With the first of all the parcel is gone.
    fn take(&self, number: u64, first: usize) -> Result<[Option<Tensor>; 2]> {
        let (_, parcels) = &mut *self.lock();
        let Some(parcel) = parcels.get_mut(&number) else {
            bail!("layers: expected gradients under the number {number}, found none")
        };
        let taken = [first, first + 1].map(|i| parcel.get_mut(i).and_then(Option::take));
        if first == 0 {
            parcels.remove(&number);
        }
        Ok(taken)
    }
}

/// The place of one or two parameters in the chain that ends in the handle.
struct Link {
    /// Of the first in a parcel
    first: usize,
    parcels: Arc<Parcels>,
}

impl Link {
    /// What goes on down the chain, and the gradients of the two parameters.
    fn open(&self, before: &Tensor, number: &Tensor) -> Result<(Option<Tensor>, [Option<Tensor>; 2])> {
        let gradients = self.parcels.take(number.get(0)?.to_scalar::<f64>()? as u64, self.first)?;
        Ok((before.track_op().then(|| number.clone()), gradients))
    }
}

fn empty() -> (CpuStorage, Shape) {
    (CpuStorage::F64(vec![0.]), 1.into())
}

impl CustomOp2 for Link {
    fn name(&self) -> &'static str {
        "parameters"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok(empty())
    }

    fn bwd(&self, before: &Tensor, _: &Tensor, _: &Tensor, n: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (before, [a, _]) = self.open(before, n)?;
        Ok((before, a))
    }
}

impl CustomOp3 for Link {
    fn name(&self) -> &'static str {
        "parameters"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        Ok(empty())
    }

    fn bwd(
        &self,
        before: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        number: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (before, [a, b]) = self.open(before, number)?;
        Ok((before, a, b))
    }
}
