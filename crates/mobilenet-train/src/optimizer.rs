//! AdamW, Nesterov SGD and Muon with PyTorch's arithmetic, and with a state that can be saved and restored exactly.

mod muon;
mod update;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use candle_nn::VarMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::checkpoint::NamedArray;
use update::{Buffer, Rule};

/// Hyper-parameters of `torch.optim.AdamW`: Adam with decoupled weight decay (Loshchilov & Hutter, 2019).
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AdamWConfig {
    /// Learning rate, to be multiplied by the schedule.
    pub lr: f64,
    /// Each step shrinks the weights by `lr * weight_decay`.
    pub weight_decay: f64,
    /// Decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Whether variables of rank 0 and 1 (batch-norm scales, biases) decay too, as in PyTorch's default.
    pub decay_norm_and_bias: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { lr: 1e-3, weight_decay: 1e-4, betas: (0.9, 0.999), eps: 1e-8, decay_norm_and_bias: true }
    }
}

/// Hyper-parameters of `torch.optim.SGD` (dampening 0).
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SgdConfig {
    /// Learning rate, to be multiplied by the schedule.
    pub lr: f64,
    /// Share of the last update's direction that is kept; 0 is plain gradient descent.
    pub momentum: f64,
    /// Look ahead along the momentum (Sutskever et al., 2013).
    pub nesterov: bool,
    /// `weight_decay * weight` is added to the gradient.
    pub weight_decay: f64,
    /// Whether variables of rank 0 and 1 (batch-norm scales, biases) decay too, as in PyTorch's default.
    pub decay_norm_and_bias: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { lr: 0.1, momentum: 0.9, nesterov: true, weight_decay: 5e-4, decay_norm_and_bias: true }
    }
}

/// Hyper-parameters of Muon (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>): momentum whose direction for a
/// matrix is brought close to the nearest orthogonal one, so that no few directions of the weights take all of the step.
///
/// It updates the weights of 1×1 convolutions without a bias, which in a MobileNet are those with batch norm after them and
/// most of the parameters. All other variables (depthwise and spatial convolutions, batch norm, biases, linear layers) get
/// [`AdamWConfig`]'s rule. As in `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` (Liu et al. 2025,
/// <https://arxiv.org/abs/2502.16982>) a matrix moves by `0.2 * sqrt(max(rows, columns))` times the learning rate, which makes
/// one rate and one decay fit both.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct MuonConfig {
    /// Learning rate of all variables, to be multiplied by the schedule.
    pub lr: f64,
    /// Each step shrinks the weights by `lr * weight_decay`.
    pub weight_decay: f64,
    /// Share of the last direction that is kept, for matrices.
    pub momentum: f64,
    /// Look ahead along the momentum, for matrices.
    pub nesterov: bool,
    /// AdamW's decay rates of the first and second moment, for all other variables.
    pub betas: (f64, f64),
    /// AdamW's summand to the root of the second moment, for all other variables.
    pub eps: f64,
    /// Whether variables of rank 0 and 1 (batch-norm scales, biases) decay too.
    pub decay_norm_and_bias: bool,
}

impl Default for MuonConfig {
    fn default() -> Self {
        let AdamWConfig { betas, eps, decay_norm_and_bias, .. } = AdamWConfig::default();
        Self { lr: 3e-3, weight_decay: 0.1, momentum: 0.95, nesterov: true, betas, eps, decay_norm_and_bias }
    }
}

/// An update rule with its hyper-parameters.
#[derive(Copy, Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay.
    AdamW(AdamWConfig),
    /// Stochastic gradient descent with (Nesterov) momentum.
    Sgd(SgdConfig),
    /// Orthogonalized momentum for the weights of 1×1 convolutions, AdamW for the rest.
    Muon(MuonConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW(AdamWConfig::default())
    }
}

impl OptimizerConfig {
    /// The learning rate that the schedule multiplies.
    #[must_use]
    pub fn lr(&self) -> f64 {
        match self {
            Self::AdamW(c) => c.lr,
            Self::Sgd(c) => c.lr,
            Self::Muon(c) => c.lr,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        let not_negative = |x: f64| x >= 0.0 && x.is_finite();
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let (lr, decay) = match self {
            Self::AdamW(c) => (c.lr, c.weight_decay),
            Self::Sgd(c) => (c.lr, c.weight_decay),
            Self::Muon(c) => (c.lr, c.weight_decay),
        };
        let mut checks = vec![
            (lr > 0.0 && lr.is_finite(), "optimizer.lr", lr, "more than 0"),
            (not_negative(decay), "optimizer.weight_decay", decay, "at least 0"),
        ];
        let adam = match self {
            Self::AdamW(c) => Some((c.betas, c.eps)),
            Self::Muon(c) => Some((c.betas, c.eps)),
            Self::Sgd(_) => None,
        };
        if let Some((betas, eps)) = adam {
            checks.extend([
                (fraction(betas.0), "optimizer.betas.0", betas.0, "at least 0 and less than 1"),
                (fraction(betas.1), "optimizer.betas.1", betas.1, "at least 0 and less than 1"),
                (not_negative(eps), "optimizer.eps", eps, "at least 0"),
            ]);
        }
        let momentum = match self {
            Self::Sgd(c) => Some((c.momentum, c.nesterov)),
            Self::Muon(c) => Some((c.momentum, c.nesterov)),
            Self::AdamW(_) => None,
        };
        if let Some((momentum, nesterov)) = momentum {
            checks.push((fraction(momentum), "optimizer.momentum", momentum, "at least 0 and less than 1"));
            checks.push((momentum > 0.0 || !nesterov, "optimizer.momentum", momentum, "more than 0 with nesterov"));
        }
        match checks.into_iter().find(|(ok, ..)| !ok) {
            Some((_, field, found, expected)) => Err(Error::Config { field, found: found.to_string(), expected }),
            None => Ok(()),
        }
    }

    /// Names of the buffers that each updated variable has.
    fn buffers(&self) -> &'static [&'static str] {
        match self {
            Self::AdamW(_) => &["exp_avg", "exp_avg_sq"],
            Self::Sgd(c) if c.momentum > 0.0 => &["momentum"],
            Self::Sgd(_) => &[],
            Self::Muon(_) => &["momentum"],
        }
    }

    /// The rule for one kind of variable: itself, except that Muon is for matrices alone.
    fn of_variable(self, is_matrix: bool) -> Self {
        match self {
            Self::Muon(MuonConfig { lr, weight_decay, betas, eps, decay_norm_and_bias, .. }) if !is_matrix => {
                Self::AdamW(AdamWConfig { lr, weight_decay, betas, eps, decay_norm_and_bias })
            }
            rule => rule,
        }
    }

    fn decay_norm_and_bias(&self) -> bool {
        match self {
            Self::AdamW(c) => c.decay_norm_and_bias,
            Self::Sgd(c) => c.decay_norm_and_bias,
            Self::Muon(c) => c.decay_norm_and_bias,
        }
    }
}

/// A learning rate of their own for some variables: the schedule's times `factor`. Where several apply, all multiply.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LrFactor {
    /// Which variables.
    pub variables: Variables,
    /// What the learning rate is multiplied with; at 0 they stay as they are.
    pub factor: f64,
}

/// Some of a model's variables.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variables {
    /// Those whose name is this path or begins with it and a dot.
    Below(String),
    /// Vectors named `bias`: batch norm's shifts and the biases of linear layers.
    Biases,
}

impl Variables {
    fn hold(&self, name: &str, var: &Var) -> bool {
        match self {
            Self::Below(path) => {
                name.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
            Self::Biases => var.rank() == 1 && name.rsplit('.').next() == Some("bias"),
        }
    }
}

/// Updates the variables of a [`VarMap`] from their gradients.
///
/// Variables without a gradient (batch-norm running statistics) are left alone and have no state. On the CPU a step is one
/// pass over each variable with its gradient and state, in place; on other devices it is a composition of Candle's operations.
/// AdamW's bias correction counts the optimizer's steps, not each variable's.
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
            let config = config.of_variable(muon::is_matrix(&var) && !has_bias);
            let decays = var.rank() > 1 || config.decay_norm_and_bias();
            Slot { name, var, config, decays, lr_factor: 1.0, buffers: Vec::new() }
        };
        Ok(Self { slots: vars.into_iter().map(slot).collect(), steps: 0 })
    }

    /// The same optimizer with other learning rates for some variables.
    #[must_use]
    pub fn with_lr_factors(mut self, factors: &[LrFactor]) -> Self {
        for slot in &mut self.slots {
            let applying = factors.iter().filter(|factor| factor.variables.hold(&slot.name, &slot.var));
            slot.lr_factor = applying.map(|factor| factor.factor).product();
        }
        self
    }

    /// Adds gradients of this optimizer's variables to a sum of such gradients.
    ///
    /// # Errors
    /// Only Candle's own.
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

    /// Updates every variable that has a gradient, at learning rate `lr` (the configured one is only a base for schedules).
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn step(&mut self, grads: &GradStore, lr: f64) -> Result<(), Error> {
        self.steps += 1;
        let steps = self.steps;
        let update = |slot: &mut Slot| -> candle_core::Result<()> {
            let Some(grad) = grads.get(&slot.var) else { return Ok(()) };
            if slot.buffers.is_empty() {
                let buffers = slot.config.buffers().iter().map(|_| Buffer::zeros(&slot.var));
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
            for (kind, buffer) in slot.config.buffers().iter().zip(&slot.buffers) {
                let name = format!("{kind}.{}", slot.name);
                arrays.push(NamedArray { name, shape: slot.var.dims().to_vec(), data: buffer.to_host()? });
            }
        }
        Ok(arrays)
    }

    /// For every variable the names of the arrays that [`Self::state`] has once it has been updated, and their shape.
    pub(crate) fn state_shapes(&self) -> Vec<(Vec<String>, Vec<usize>)> {
        let names = |slot: &Slot| slot.config.buffers().iter().map(|kind| format!("{kind}.{}", slot.name)).collect();
        self.slots.iter().map(|slot| (names(slot), slot.var.dims().to_vec())).collect()
    }

    /// Takes over a saved state whose shapes have been checked: removes its arrays from `arrays`.
    pub(crate) fn restore(&mut self, steps: u64, arrays: &mut HashMap<String, Vec<f32>>) -> Result<(), Error> {
        self.steps = steps;
        for slot in &mut self.slots {
            slot.buffers.clear();
            for kind in slot.config.buffers() {
                if let Some(data) = arrays.remove(&format!("{kind}.{}", slot.name)) {
                    slot.buffers.push(Buffer::from_host(data, &slot.var)?);
                }
            }
        }
        Ok(())
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
