//! Squeeze-and-excite: scales each channel by a gate computed from all channels' means.
//!
//! ```text
//! y = x · h-sigmoid(fc2(relu(fc1(mean over h, w of x))))
//! ```
//!
//! Hu et al., "Squeeze-and-Excitation Networks", with MobileNetV3's ReLU and h-sigmoid; `fc1` and `fc2` are 1×1
//! convolutions with bias, as in torchvision's `SqueezeExcitation`.

use candle_core::{CpuStorage, CustomOp2, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::VarBuilder;
use mobilenet_kernels::pool as kernels;

use crate::channels_last::{as_slice, gradient, has_kernels, to_nchw, to_nhwc};
use crate::pool::mean_channels_last;
use crate::{Activate, Activation, Conv2d, Conv2dConfig, global_avg_pool};

/// The squeeze-and-excite layer of MobileNetV3.
#[derive(Clone, Debug)]
pub struct SqueezeExcite {
    pub(crate) fc1: Conv2d,
    pub(crate) fc2: Conv2d,
}

impl SqueezeExcite {
    /// The layer over `channels` channels with a hidden width of `squeeze`; variables `fc1` and `fc2` below `vb`.
    ///
    /// # Errors
    /// No channels, a hidden width of 0, or variables of another shape in `vb`.
    pub fn new(channels: usize, squeeze: usize, vb: VarBuilder) -> Result<Self> {
        if channels == 0 || squeeze == 0 {
            bail!("squeeze-and-excite: expected channels and a hidden width, found {channels} and {squeeze}")
        }
        let config = Conv2dConfig { bias: true, ..Conv2dConfig::POINTWISE };
        Ok(Self {
            fc1: Conv2d::new(channels, squeeze, config, vb.pp("fc1"))?,
            fc2: Conv2d::new(squeeze, channels, config, vb.pp("fc2"))?,
        })
    }

    /// The layer of two given 1×1 convolutions with bias, from channels to the hidden width and back.
    ///
    /// # Errors
    /// They do not fit each other.
    pub fn from_layers(fc1: Conv2d, fc2: Conv2d) -> Result<Self> {
        let fits = (fc1.c_in(), fc1.c_out()) == (fc2.c_out(), fc2.c_in());
        let expected = Conv2dConfig { bias: true, ..Conv2dConfig::POINTWISE };
        if !fits || fc1.config != expected || fc2.config != expected {
            bail!(
                "squeeze-and-excite: expected two 1×1 convolutions with bias that fit, found {:?} and {:?}",
                fc1.weight.shape(),
                fc2.weight.shape()
            )
        }
        Ok(Self { fc1, fc2 })
    }

    pub(crate) fn channels(&self) -> usize {
        self.fc1.c_in()
    }

    pub(crate) fn squeeze(&self) -> usize {
        self.fc1.c_out()
    }

    pub(crate) fn parameters(&self) -> Vec<Tensor> {
        let of = |fc: &Conv2d| [Some(fc.weight.clone()), fc.bias.clone()];
        [&self.fc1, &self.fc2].into_iter().flat_map(of).flatten().collect()
    }

    /// The gates of channels with these means: `[n, c] -> [n, c]`, each in `[0, 1]`.
    fn gates(&self, means: &Tensor) -> Result<Tensor> {
        let (n, c) = means.dims2()?;
        let hidden = self.fc1.forward_channels_last(&means.reshape((n, 1, 1, c))?)?.reshape((n, ()))?;
        let hidden = Activate(Activation::Relu).forward(&hidden)?.reshape((n, 1, 1, ()))?;
        Activate(Activation::HSigmoid).forward(&self.fc2.forward_channels_last(&hidden)?.reshape((n, c))?)
    }

    /// `[n, h, w, c] -> [n, h, w, c]`: [`Module::forward`] on channels-last tensors. Between layers that take each other's
    /// results like this, Candle's backward permutes nothing.
    ///
    /// # Errors
    /// Images of other channels, or without pixels.
    pub fn forward_channels_last(&self, xs: &Tensor) -> Result<Tensor> {
        let (n, h, w, _) = xs.dims4()?;
        if !has_kernels(xs) || n * h * w == 0 {
            return to_nhwc(&self.forward(&to_nchw(xs)?)?);
        }
        let xs = xs.contiguous()?;
        xs.apply_op2(&self.gates(&mean_channels_last(&xs)?)?.contiguous()?, Scale)
    }
}

impl Module for SqueezeExcite {
    /// `[n, c, h, w] -> [n, c, h, w]`
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        if xs.dim(0)? == 0 {
            return Ok(xs.clone());
        }
        scale_channels(xs, &self.gates(&global_avg_pool(xs)?)?)
    }
}

/// `[n, c, h, w] · [n, c] -> [n, c, h, w]`
fn scale_channels(xs: &Tensor, gates: &Tensor) -> Result<Tensor> {
    if has_kernels(xs) {
        return to_nchw(&to_nhwc(xs)?.apply_op2(&gates.contiguous()?, Scale)?);
    }
    let (n, c) = gates.dims2()?;
    xs.broadcast_mul(&gates.reshape((n, c, 1, 1))?)
}

/// `[n, h, w, c] · [n, c] -> [n, h, w, c]`
struct Scale;

impl CustomOp2 for Scale {
    fn name(&self) -> &'static str {
        "scale-channels"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        gates: &CpuStorage,
        gates_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, h, w, c) = xs_layout.shape().dims4()?;
        let xs = as_slice(xs, xs_layout)?;
        let mut ys = vec![0.; xs.len()];
        kernels::scale(xs, as_slice(gates, gates_layout)?, h * w, c, &mut ys);
        Ok((CpuStorage::F32(ys), xs_layout.shape().clone()))
    }

    fn bwd(&self, xs: &Tensor, gates: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, h, w, c) = xs.dims4()?;
        let gxs = gradient(xs, [gys, gates], |[gys, gates], gxs| kernels::scale(gys, gates, h * w, c, gxs))?;
        let ggates = gradient(gates, [xs, gys], |[xs, gys], ggates| {
            kernels::scale_backward_gates(xs, gys, h * w, c, ggates);
        })?;
        Ok((gxs, ggates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};

    #[test]
    fn agrees_with_the_definition_in_candles_ops() -> Result<()> {
        for (n, c, squeeze, h, w) in [(2, 16, 8, 4, 3), (1, 9, 5, 1, 1)] {
            let shapes = [(squeeze, c, 1, 1), (squeeze, 1, 1, 1), (c, squeeze, 1, 1), (c, 1, 1, 1)];
            let mut args = vec![image((n, c, h, w), 2., 1)?];
            for (i, shape) in shapes.into_iter().enumerate() {
                args.push(image(shape, 1., 2 + i as u64)?);
            }
            let layer = |args: &[Tensor]| -> Result<SqueezeExcite> {
                let conv =
                    |weight: &Tensor, bias: &Tensor| Conv2d::from_tensors(weight.clone(), Some(bias.flatten_all()?), 1);
                SqueezeExcite::from_layers(conv(&args[1], &args[2])?, conv(&args[3], &args[4])?)
            };
            let compose = |args: &[Tensor]| -> Result<Tensor> {
                let mean = args[0].mean((2, 3))?;
                let fc = |xs: &Tensor, w: &Tensor, b: &Tensor| {
                    xs.matmul(&w.flatten_from(1)?.t()?)?.broadcast_add(&b.flatten_all()?)
                };
                let hidden = Activate(Activation::Relu).compose(&fc(&mean, &args[1], &args[2])?)?;
                let gates = Activate(Activation::HSigmoid).compose(&fc(&hidden, &args[3], &args[4])?)?;
                args[0].broadcast_mul(&gates.reshape((n, c, 1, 1))?)
            };
            let args: Vec<&Tensor> = args.iter().collect();
            Compared::new(&args, |args| layer(args)?.forward(&args[0]), compose)?.assert_close(1e-5, (n, c, squeeze));
            let last = |args: &[Tensor]| to_nchw(&layer(args)?.forward_channels_last(&to_nhwc(&args[0])?)?);
            Compared::new(&args, last, compose)?.assert_close(1e-5, (n, c, squeeze));
        }
        Ok(())
    }
}
