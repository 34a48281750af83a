//! An exponential moving average of the weights (Polyak & Juditsky 1992; as `torch.optim.swa_utils.AveragedModel` with
//! `get_ema_multi_avg_fn` and `use_buffers=True`):
//!
//! ```text
//! average = weights                                        after the first update
//! average = decay * average + (1 - decay) * weights        after each further one
//! ```
//!
//! With a warm-up the decay of update `n` (from 0) is at most `(1 + n) / (10 + n)`, as in TensorFlow's
//! `ExponentialMovingAverage(num_updates)`: the average of a short run does not remember its first weights.
//!
//! Batch norm's running statistics are averaged with the rest, so that the average is a complete network.

use std::collections::{BTreeMap, HashMap};

use candle_core::{CpuStorage, InplaceOp2, Layout, Result as CandleResult, Tensor, Var, bail};
use candle_nn::VarMap;
use rayon::prelude::*;

use crate::Error;
use crate::error::check;
use crate::variables::{NamedArray, host_values, sorted_vars};

/// The average of every variable of a [`VarMap`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{Init, VarMap};
/// use mobilenet_train::Ema;
///
/// let mut vars = VarMap::new();
/// vars.get(1, "x", Init::Const(4.0), DType::F32, &Device::Cpu)?;
/// let mut ema = Ema::new(&vars, 0.75)?;
/// ema.update()?;
/// vars.set_one("x", Tensor::new(&[8f32], &Device::Cpu)?)?;
/// ema.update()?;
/// ema.swap()?; // the variables now hold the average
/// assert_eq!(vars.data().lock().unwrap()["x"].to_vec1::<f32>()?, [5.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ema {
    decay: f64,
    warm_up: bool,
    slots: Vec<Slot>,
    updates: u64,
}

struct Slot {
    name: String,
    var: Var,
    average: Var,
}

impl Ema {
    /// An average that begins with the first [`Ema::update`].
    ///
    /// # Errors
    /// [`Error::Config`] unless `0 <= decay < 1`, [`Error::VariableType`] for a variable that is not `f32`.
    pub fn new(vars: &VarMap, decay: f64) -> Result<Self, Error> {
        check_decay(decay)?;
        let slot = |(name, var): (String, Var)| -> Result<Slot, Error> {
            let average = Var::from_tensor(&var.as_tensor().copy()?)?;
            Ok(Slot { name, var, average })
        };
        let slots = sorted_vars(vars)?.into_iter().map(slot).collect::<Result<_, _>>()?;
        Ok(Self { decay, warm_up: false, slots, updates: 0 })
    }

    /// The same average with a warm-up of its decay.
    #[must_use]
    pub fn with_warm_up(self) -> Self {
        Self { warm_up: true, ..self }
    }

    /// Takes the variables' present values into the average.
    ///
    /// # Errors
    /// Only errors from Candle.
    pub fn update(&mut self) -> Result<(), Error> {
        let n = self.updates as f64;
        let most = if self.warm_up { (1.0 + n) / (10.0 + n) } else { 1.0 };
        let step = if self.updates == 0 { 1.0 } else { 1.0 - self.decay.min(most) };
        self.updates += 1;
        let update = |slot: &Slot| approach(&slot.average, &slot.var, step);
        // On the CPU variables side by side; a device's queue wants one thread: others would use streams of their own.
        if self.slots.iter().all(|slot| slot.var.device().is_cpu()) {
            self.slots.par_iter().try_for_each(update)?;
        } else {
            self.slots.iter().try_for_each(update)?;
        }
        Ok(())
    }

    /// Exchanges the variables' values and the averages; a second call takes it back, bit for bit.
    ///
    /// # Errors
    /// Only errors from Candle.
    pub fn swap(&mut self) -> Result<(), Error> {
        for Slot { var, average, .. } in &self.slots {
            let weights = var.as_tensor().copy()?;
            var.set(average)?;
            average.set(&weights)?;
        }
        Ok(())
    }

    /// Updates so far.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The averages as named arrays, for a checkpoint. [`Self::updates`] belongs to it.
    pub(crate) fn state(&self) -> Result<Vec<NamedArray<'_>>, Error> {
        let array = |slot: &Slot| {
            let (name, shape) = (slot.name.clone(), slot.average.dims().to_vec());
            Ok(NamedArray { name, shape, data: host_values(&slot.average)? })
        };
        self.slots.iter().map(array).collect()
    }

    /// The averages as numbers by name.
    pub(crate) fn named_state(&self) -> Result<BTreeMap<String, Vec<f32>>, Error> {
        Ok(self.state()?.into_iter().map(|array| (array.name, array.data.into_owned())).collect())
    }

    /// Takes over a saved state whose shapes have been checked: removes its arrays `PREFIX + NAME` from `arrays`.
    pub(crate) fn restore(
        &mut self,
        updates: u64,
        prefix: &str,
        arrays: &mut HashMap<String, Vec<f32>>,
    ) -> Result<(), Error> {
        self.updates = updates;
        for Slot { name, average, .. } in &self.slots {
            if let Some(data) = arrays.remove(&format!("{prefix}{name}")) {
                average.set(&Tensor::from_vec(data, average.shape(), average.device())?)?;
            }
        }
        Ok(())
    }
}

fn check_decay(decay: f64) -> Result<(), Error> {
    check((0.0..1.0).contains(&decay), "ema", decay, "at least 0 and less than 1")
}

/// `average += step * (weights - average)`, one pass in place on the CPU.
fn approach(average: &Var, weights: &Tensor, step: f64) -> CandleResult<()> {
    if average.device().is_cpu() {
        return average.inplace_op2(weights, &Approach(step as f32));
    }
    average.set(&(average.as_tensor() + ((weights - average.as_tensor())? * step)?)?)
}

struct Approach(f32);

impl InplaceOp2 for Approach {
    fn name(&self) -> &'static str {
        "moving-average"
    }

    fn cpu_fwd(&self, to: &mut CpuStorage, to_at: &Layout, from: &CpuStorage, from_at: &Layout) -> CandleResult<()> {
        let (CpuStorage::F32(to), CpuStorage::F32(from)) = (to, from) else { bail!("moving-average: expected f32") };
        let (Some((a, b)), Some((c, d))) = (to_at.contiguous_offsets(), from_at.contiguous_offsets()) else {
            bail!("moving-average: the variables must be contiguous")
        };
        for (average, &weight) in to[a..b].iter_mut().zip(&from[c..d]) {
            // At a step of 1 the average is the weight itself, not what rounding makes of the sum.
            *average = if self.0 == 1.0 { weight } else { *average + self.0 * (weight - *average) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn a_warm_up_forgets_the_first_weights() {
        let average = |warm_up: bool| {
            let vars = VarMap::new();
            let var = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
            vars.data().lock().unwrap().insert("x".into(), var.clone());
            let mut ema = Ema::new(&vars, 0.999).unwrap();
            ema = if warm_up { ema.with_warm_up() } else { ema };
            // One update at 0, then 20 at 1.
            for i in 0..21 {
                var.set(&Tensor::new(&[if i == 0 { 0f32 } else { 1.0 }], &Device::Cpu).unwrap()).unwrap();
                ema.update().unwrap();
            }
            ema.swap().unwrap();
            var.to_vec1::<f32>().unwrap()[0]
        };
        // Without: 1 - 0.999^20. With: 1 - the product of (1 + n) / (10 + n) for n from 1 to 20.
        let rest: f64 = (1..=20).map(|n| f64::from(1 + n) / f64::from(10 + n)).product();
        assert!((f64::from(average(false)) - (1.0 - 0.999_f64.powi(20))).abs() < 1e-5);
        assert!((f64::from(average(true)) - (1.0 - rest)).abs() < 1e-5 && rest < 1e-4);
    }
}
