//! Activations and their derivatives.

use candle_core::Result;
use mobilenet_kernels::activation::{self, Activation as Named};
use mobilenet_kernels::folded::{Epilogue, Pieces};
use mobilenet_runtime::Activation;

/// An activation that has a derivative.
#[derive(Clone, Debug)]
pub(crate) enum Function {
    /// One with a kernel.
    Named(Named),
    /// Straight pieces.
    Pieces(Pieces),
}

impl Function {
    /// The function of an activation of the runtime.
    ///
    /// # Errors
    /// Straight pieces that are none.
    pub(crate) fn new(activation: &Activation) -> Result<Self> {
        Ok(Self::Named(match activation {
            Activation::Identity => Named::Identity,
            Activation::Relu => Named::Relu,
            Activation::Relu6 => Named::Relu6,
            Activation::HSwish => Named::HSwish,
            Activation::HSigmoid => Named::HSigmoid,
            Activation::Pieces { kinks, slopes } => {
                return Pieces::new(kinks, slopes).map(Self::Pieces).map_err(candle_core::Error::wrap);
            }
        }))
    }

    /// What it keeps values between, if it does no more.
    pub(crate) fn clamp(&self) -> Option<[f32; 2]> {
        let Self::Named(name) = self else { return None };
        match Epilogue::from(*name) {
            Epilogue::Clamp { low, high } => Some([low, high]),
            _ => None,
        }
    }

    /// `ys = f(xs)`
    pub(crate) fn forward(&self, xs: &[f32], ys: &mut [f32]) {
        match self {
            Self::Named(name) => activation::forward(*name, xs, ys),
            Self::Pieces(pieces) => ys.iter_mut().zip(xs).for_each(|(y, x)| *y = pieces.value(*x)),
        }
    }

    /// `gxs = gys · f'(xs)`; at a kink of straight pieces the slope before it, which is 0 at ReLU's.
    pub(crate) fn backward(&self, xs: &[f32], gys: &[f32], gxs: &mut [f32]) {
        match self {
            Self::Named(name) => activation::backward(*name, xs, gys, gxs),
            Self::Pieces(pieces) => {
                for ((gx, x), gy) in gxs.iter_mut().zip(xs).zip(gys) {
                    let parts = pieces.kinks().iter().zip(pieces.slopes());
                    *gx = gy * parts.map(|(kink, slope)| if x > kink { *slope } else { 0. }).sum::<f32>();
                }
            }
        }
    }
}
