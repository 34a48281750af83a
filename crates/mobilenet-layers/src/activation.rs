//! The activations of MobileNetV2 and MobileNetV3.
//!
//! ```text
//! relu(x)      = max(x, 0)
//! relu6(x)     = min(max(x, 0), 6)
//! h-sigmoid(x) = relu6(x + 3) / 6
//! h-swish(x)   = x · h-sigmoid(x)
//! ```
//!
//! Gradients are PyTorch's: 0 at the ends of a clamp, where Candle's `clamp` gives 0.5.

use candle_core::{CpuStorage, CustomOp1, Layout, Module, Result, Shape, Tensor};
use mobilenet_kernels::{self as kernels, Activation};

use crate::channels_last::{as_slice, gradient, has_kernels, map_nhwc};

/// An activation function as a layer. ([`Activation`] is the name alone.)
///
/// ```
/// use candle_core::{Device, Module, Tensor};
/// use mobilenet_layers::{Activate, Activation};
///
/// # fn main() -> candle_core::Result<()> {
/// let xs = Tensor::new(&[-4f32, 1., 5.], &Device::Cpu)?;
/// assert_eq!(Activate(Activation::Relu).forward(&xs)?.to_vec1::<f32>()?, [0., 1., 5.]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Activate(pub Activation);

impl Module for Activate {
    /// Any shape, kept.
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        match self.0 {
            Activation::Identity => Ok(xs.clone()),
            activation if has_kernels(xs) => map_nhwc(xs, |xs| xs.apply_op1(Op(activation))),
            _ => self.compose(xs),
        }
    }
}

impl Activate {
    /// The definition in Candle's own ops.
    pub(crate) fn compose(self, xs: &Tensor) -> Result<Tensor> {
        match self.0 {
            Activation::Identity => Ok(xs.clone()),
            Activation::Relu => clamp_below(xs, f64::INFINITY),
            Activation::Relu6 => clamp_below(xs, 6.),
            Activation::HSigmoid => clamp_below(&(xs + 3.)?, 6.)? / 6.,
            Activation::HSwish => xs * Self(Activation::HSigmoid).compose(xs)?,
        }
    }
}

/// `min(max(x, 0), top)` whose gradient is 0 at both ends: a masked copy of `x` plus a constant.
fn clamp_below(xs: &Tensor, top: f64) -> Result<Tensor> {
    let xs_detached = xs.detach();
    let inside = xs_detached.gt(0.)?.to_dtype(xs.dtype())?;
    if top.is_infinite() {
        return xs * inside;
    }
    let above = xs_detached.ge(top)?.to_dtype(xs.dtype())?;
    let inside = (inside - &above)?;
    (xs * inside)? + (above * top)?
}

struct Op(Activation);

impl CustomOp1 for Op {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = as_slice(xs, layout)?;
        let mut ys = vec![0.; xs.len()];
        kernels::activation::forward(self.0, xs, &mut ys);
        Ok((CpuStorage::F32(ys), layout.shape().clone()))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gys: &Tensor) -> Result<Option<Tensor>> {
        gradient(xs, [xs, gys], |[xs, gys], gxs| kernels::activation::backward(self.0, xs, gys, gxs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};

    #[test]
    fn kernels_agree_with_the_composition() -> Result<()> {
        for act in Activation::ALL.map(Activate) {
            // Wide enough to reach every piece of every function.
            let xs = image((2, 5, 3, 4), 6., 1)?;
            Compared::new(&[&xs], |args| act.forward(&args[0]), |args| act.compose(&args[0]))?.assert_close(1e-6, act);
        }
        Ok(())
    }

    #[test]
    fn gradients_at_the_kinks_are_torchs_in_the_composition_too() -> Result<()> {
        for (act, xs, slopes) in [
            (Activation::Relu, [0f32, 1.], [0f32, 1.]),
            (Activation::Relu6, [0., 6.], [0., 0.]),
            (Activation::HSigmoid, [-3., 3.], [0., 0.]),
            (Activation::HSwish, [-3., 3.], [0., 1.]),
        ] {
            let xs = candle_core::Var::new(&xs, &candle_core::Device::Cpu)?;
            let gradients = Activate(act).compose(&xs)?.sum_all()?.backward()?;
            let got = gradients.get(&xs).map(|g| g.to_vec1::<f32>()).transpose()?;
            assert_eq!(got, Some(slopes.to_vec()), "{act:?}");
        }
        Ok(())
    }
}
