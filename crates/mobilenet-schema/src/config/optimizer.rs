//! The update rules and their hyper-parameters.

use serde::{Deserialize, Serialize};

use crate::check::{Problem, check};
use crate::names::RecipeName;

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

/// Hyper-parameters of Muon (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon/>): momentum whose
/// direction for a matrix is brought close to the nearest orthogonal one, so that no few directions of the weights take
/// all of the step.
///
/// It updates the weights of 1×1 convolutions without a bias, which in a MobileNet are those with batch norm after them
/// and most of the parameters. All other variables (depthwise and spatial convolutions, batch norm, biases, linear
/// layers) get [`AdamWConfig`]'s rule. As in `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"` (Liu et al. 2025,
/// <https://arxiv.org/abs/2502.16982>) a matrix moves by `0.2 * sqrt(max(rows, columns))` times the learning rate,
/// which makes one rate and one decay fit both.
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

    /// Whether variables of rank 0 and 1 (batch-norm scales, biases) decay too.
    #[must_use]
    pub fn decay_norm_and_bias(&self) -> bool {
        match self {
            Self::AdamW(c) => c.decay_norm_and_bias,
            Self::Sgd(c) => c.decay_norm_and_bias,
            Self::Muon(c) => c.decay_norm_and_bias,
        }
    }

    /// Refuses hyper-parameters that no update can be made with.
    ///
    /// # Errors
    /// The first such setting, with what is expected and what was found.
    pub fn validate(&self) -> Result<(), Problem> {
        let not_negative = |x: f64| x >= 0.0 && x.is_finite();
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        let (lr, decay) = match self {
            Self::AdamW(c) => (c.lr, c.weight_decay),
            Self::Sgd(c) => (c.lr, c.weight_decay),
            Self::Muon(c) => (c.lr, c.weight_decay),
        };
        check(lr > 0.0 && lr.is_finite(), "optimizer.lr", "more than 0", lr)?;
        check(not_negative(decay), "optimizer.weight_decay", "at least 0", decay)?;
        let adam = match self {
            Self::AdamW(c) => Some((c.betas, c.eps)),
            Self::Muon(c) => Some((c.betas, c.eps)),
            Self::Sgd(_) => None,
        };
        if let Some((betas, eps)) = adam {
            check(fraction(betas.0), "optimizer.betas.0", "at least 0 and less than 1", betas.0)?;
            check(fraction(betas.1), "optimizer.betas.1", "at least 0 and less than 1", betas.1)?;
            check(not_negative(eps), "optimizer.eps", "at least 0", eps)?;
        }
        let momentum = match self {
            Self::Sgd(c) => Some((c.momentum, c.nesterov)),
            Self::Muon(c) => Some((c.momentum, c.nesterov)),
            Self::AdamW(_) => None,
        };
        if let Some((momentum, nesterov)) = momentum {
            check(fraction(momentum), "optimizer.momentum", "at least 0 and less than 1", momentum)?;
            check(momentum > 0.0 || !nesterov, "optimizer.momentum", "more than 0 with nesterov", momentum)?;
        }
        Ok(())
    }
}

impl RecipeName {
    /// The learning rate of its update rule, which its schedule multiplies.
    #[must_use]
    pub fn lr(self) -> f64 {
        match self {
            Self::Article => AdamWConfig::default().lr,
            Self::Fast => 6e-3,
            Self::Finetune => 2e-3,
        }
    }
}
