//! Which rule a variable gets, and what the rule keeps for it.

use mobilenet_schema::{AdamWConfig, MuonConfig, OptimizerConfig};

/// Names of the buffers that each updated variable has.
pub(super) fn buffers(config: &OptimizerConfig) -> &'static [&'static str] {
    match config {
        OptimizerConfig::AdamW(_) => &["exp_avg", "exp_avg_sq"],
        OptimizerConfig::Sgd(c) if c.momentum > 0.0 => &["momentum"],
        OptimizerConfig::Sgd(_) => &[],
        OptimizerConfig::Muon(_) => &["momentum"],
    }
}

/// The rule for one kind of variable: itself, except that Muon is for matrices alone.
pub(super) fn of_variable(config: OptimizerConfig, is_matrix: bool) -> OptimizerConfig {
    match config {
        OptimizerConfig::Muon(MuonConfig { lr, weight_decay, betas, eps, decay_norm_and_bias, .. }) if !is_matrix => {
            OptimizerConfig::AdamW(AdamWConfig { lr, weight_decay, betas, eps, decay_norm_and_bias })
        }
        rule => rule,
    }
}
