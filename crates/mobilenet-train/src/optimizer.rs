//! AdamW, Nesterov SGD and Muon with PyTorch's arithmetic, and with a state that can be saved and restored exactly.

mod muon;
mod rule;
mod update;

use std::collections::{BTreeMap, HashMap, HashSet};

use candle_core::Var;
use candle_core::backprop::GradStore;
use candle_nn::VarMap;
use mobilenet_schema::{LrFactor, OptimizerConfig, Variables};
use rayon::prelude::*;

use crate::Error;
use crate::variables::{NamedArray, sorted_vars};
use update::{Buffer, Rule};

/// Updates the variables of a [`VarMap`] from their gradients.
///
/// Variables without a gradient (batch-norm running statistics) are left alone and have no state. On the CPU a step is
/// one pass over each variable with its gradient and state, in place; on other devices it is a composition of Candle's
/// operations. AdamW's bias correction counts the optimizer's steps, not each variable's.
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::{Init, VarMap};
/// use mobilenet_train::{Optimizer, OptimizerConfig, SgdConfig};
///
/// let vars = VarMap::new();
/// let x = vars.get(1, "x", Init::Const(4.0), DType::F32, &Device::Cpu)?;
/// let sgd = SgdConfig { lr: 0.25, momentum: 0.0, nesterov: false, weight_decay: 0.0, ..SgdConfig::default() };
/// let mut optimizer = Optimizer::new(&vars, OptimizerConfig::Sgd(sgd))?;
/// let loss = x.sqr()?.sum_all()?;
/// optimizer.step(&loss.backward()?, 0.25)?; // 4 - 0.25 * (2 * 4)
/// assert_eq!(x.to_vec1::<f32>()?, [2.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Optimizer {
    slots: Vec<Slot>,
    steps: u64,
}

struct Slot {
    name: String,
    var: Var,
    /// The optimizer's, or what it has for variables like this one.
    config: OptimizerConfig,
    decays: bool,
    lr_factor: f64,
    /// As many as the rule has, from the variable's first gradient on; none before.
    buffers: Vec<Buffer>,
}

impl Optimizer {
    /// An optimizer of every variable in `vars`, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Config`] for a hyper-parameter out of range, [`Error::VariableType`] for a variable that is not `f32`.
    pub fn new(vars: &VarMap, config: OptimizerConfig) -> Result<Self, Error> {
        config.validate()?;
        let vars = sorted_vars(vars)?;
        let names: HashSet<_> = vars.iter().map(|(name, _)| name.clone()).collect();
        let slot = |(name, var): (String, Var)| {
            let has_bias = name.strip_suffix("weight").is_some_and(|layer| names.contains(&format!("{layer}bias")));
            let config = rule::of_variable(config, muon::is_matrix(&var) && !has_bias);
            let decays = var.rank() > 1 || config.decay_norm_and_bias();
            Slot { name, var, config, decays, lr_factor: 1.0, buffers: Vec::new() }
        };
        Ok(Self { slots: vars.into_iter().map(slot).collect(), steps: 0 })
    }

    /// The same optimizer with other learning rates for some variables.
    #[must_use]
    pub fn with_lr_factors(mut self, factors: &[LrFactor]) -> Self {
        for slot in &mut self.slots {
            slot.lr_factor = lr_factor(factors, &slot.name, &slot.var);
        }
        self
    }

    /// Adds gradients of this optimizer's variables to a sum of such gradients.
    ///
    /// # Errors
    /// Only errors from Candle.
    pub fn add_gradients(&self, sum: &mut GradStore, grads: &GradStore) -> Result<(), Error> {
        for slot in &self.slots {
            let Some(grad) = grads.get(&slot.var) else { continue };
            let total = match sum.get(&slot.var) {
                Some(before) => (before + grad)?,
                None => grad.clone(),
            };
            sum.insert(&slot.var, total);
        }
        Ok(())
    }

    /// Steps taken so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Updates every variable that has a gradient, at learning rate `lr` (the configured one is only a base for
    /// schedules).
    ///
    /// # Errors
    /// Only errors from Candle.
    pub fn step(&mut self, grads: &GradStore, lr: f64) -> Result<(), Error> {
        self.steps += 1;
        let steps = self.steps;
        let update = |slot: &mut Slot| -> candle_core::Result<()> {
            let Some(grad) = grads.get(&slot.var) else { return Ok(()) };
            if slot.buffers.is_empty() {
                let buffers = rule::buffers(&slot.config).iter().map(|_| Buffer::zeros(&slot.var));
                slot.buffers = buffers.collect::<candle_core::Result<_>>()?;
            }
            update::apply(
                Rule::new(&slot.config, lr * slot.lr_factor, steps, slot.decays, slot.var.dims()),
                &slot.var,
                grad,
                &mut slot.buffers,
            )
        };
        // On the CPU variables side by side, large ones again in parts; a device's queue wants one thread.
        if self.slots.iter().all(|slot| slot.var.device().is_cpu()) {
            self.slots.par_iter_mut().try_for_each(update)?;
        } else {
            self.slots.iter_mut().try_for_each(update)?;
        }
        Ok(())
    }

    /// The state as named arrays `BUFFER.VARIABLE`, for a checkpoint. [`Self::steps`] belongs to it.
    pub(crate) fn state(&self) -> Result<Vec<NamedArray<'_>>, Error> {
        let mut arrays = Vec::new();
        for slot in &self.slots {
            for (kind, buffer) in rule::buffers(&slot.config).iter().zip(&slot.buffers) {
                let name = format!("{kind}.{}", slot.name);
                arrays.push(NamedArray { name, shape: slot.var.dims().to_vec(), data: buffer.to_host()? });
            }
        }
        Ok(arrays)
    }

    /// The state as numbers by name.
    pub(crate) fn named_state(&self) -> Result<BTreeMap<String, Vec<f32>>, Error> {
        Ok(self.state()?.into_iter().map(|array| (array.name, array.data.into_owned())).collect())
    }

    /// For every variable the names of the arrays that [`Self::state`] has once it has been updated, and their shape.
    pub(crate) fn state_shapes(&self) -> Vec<(Vec<String>, Vec<usize>)> {
        let names =
            |slot: &Slot| rule::buffers(&slot.config).iter().map(|kind| format!("{kind}.{}", slot.name)).collect();
        self.slots.iter().map(|slot| (names(slot), slot.var.dims().to_vec())).collect()
    }

    /// Takes over a saved state whose shapes have been checked: removes its arrays from `arrays`.
    pub(crate) fn restore(&mut self, steps: u64, arrays: &mut HashMap<String, Vec<f32>>) -> Result<(), Error> {
        self.steps = steps;
        for slot in &mut self.slots {
            slot.buffers.clear();
            for kind in rule::buffers(&slot.config) {
                if let Some(data) = arrays.remove(&format!("{kind}.{}", slot.name)) {
                    slot.buffers.push(Buffer::from_host(data, &slot.var)?);
                }
            }
        }
        Ok(())
    }
}

/// What a variable's learning rate is multiplied by.
pub(crate) fn lr_factor(factors: &[LrFactor], name: &str, var: &Var) -> f64 {
    factors.iter().filter(|factor| hold(&factor.variables, name, var)).map(|factor| factor.factor).product()
}

/// Whether this variable is one of those.
fn hold(variables: &Variables, name: &str, var: &Var) -> bool {
    match variables {
        Variables::Below(path) => {
            name.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }
        Variables::Biases => var.rank() == 1 && name.rsplit('.').next() == Some("bias"),
    }
}
