//! The fully connected layer `y = x · wᵀ + b`, initialized as torchvision's MobileNets do.

use candle_core::{Module, Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// A fully connected layer: weight `[c_out, c_in]`, bias `[c_out]`.
///
/// Differs from `candle_nn::Linear` in its initial values only: N(0, 0.01) and 0.
#[derive(Clone, Debug)]
pub struct Linear(candle_nn::Linear);

impl Linear {
    /// The layer with variables `weight` and `bias` below `vb`.
    pub fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        let weight = vb.get_with_hints((c_out, c_in), "weight", Init::Randn { mean: 0., stdev: 0.01 })?;
        let bias = vb.get_with_hints(c_out, "bias", Init::Const(0.))?;
        Ok(Self(candle_nn::Linear::new(weight, Some(bias))))
    }
}

impl Module for Linear {
    /// `[n, c_in] -> [n, c_out]`
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        self.0.forward(xs)
    }
}
