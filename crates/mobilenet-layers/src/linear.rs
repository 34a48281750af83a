//! The fully connected layer `y = x · wᵀ + b`, initialized as torchvision's MobileNets do.

use candle_core::{Module, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

/// A fully connected layer: weight `[c_out, c_in]`, bias `[c_out]`.
///
/// Differs from `candle_nn::Linear` in its initial values only: N(0, 0.01) and 0.
#[derive(Clone, Debug)]
pub struct Linear(candle_nn::Linear);

impl Linear {
    /// The layer with variables `weight` and `bias` below `vb`.
    ///
    /// # Errors
    /// No features in or out, or variables of another shape in `vb`.
    pub fn new(c_in: usize, c_out: usize, vb: VarBuilder) -> Result<Self> {
        if c_in == 0 || c_out == 0 {
            bail!("linear layer: expected at least one feature in and out, found {c_in} and {c_out}")
        }
        let weight = vb.get_with_hints((c_out, c_in), "weight", Init::Randn { mean: 0., stdev: 0.01 })?;
        let bias = vb.get_with_hints(c_out, "bias", Init::Const(0.))?;
        Ok(Self(candle_nn::Linear::new(weight, Some(bias))))
    }
}

impl Module for Linear {
    /// `[n, c_in] -> [n, c_out]`
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match *xs.dims() {
            [0, c] if c == self.0.weight().dim(1)? => {
                Tensor::zeros((0, self.0.weight().dim(0)?), xs.dtype(), xs.device())
            }
            _ => self.0.forward(xs),
        }
    }
}
