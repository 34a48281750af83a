//! The depthwise convolution: each channel with a k×k window of its own.

use candle_core::{Result, Tensor, bail};
use candle_nn::{Module, VarBuilder};
use mobilenet_kernels::depthwise::{self as kernels, DepthwiseShape};

use crate::Window;
use crate::channels_last::{has_kernels, to_nchw, to_nhwc};
use crate::filter::{Filter, FilterOp};
use crate::init::kaiming_normal_fan_out;

/// A depthwise convolution without bias: weight `[channels, 1, k, k]`, initialized as torchvision does.
#[derive(Clone, Debug)]
pub struct DepthwiseConv2d {
    pub(crate) weight: Tensor,
    pub(crate) window: Window,
}

impl DepthwiseConv2d {
    /// The layer with the variable `weight` below `vb`.
    ///
    /// # Errors
    /// No channels, or a kernel, stride or dilation of 0.
    pub fn new(channels: usize, config: Window, vb: VarBuilder) -> Result<Self> {
        let Window { kernel, stride, dilation, .. } = config;
        if channels == 0 {
            bail!("depthwise convolution: expected at least one channel, found none")
        }
        if kernel == 0 || stride == 0 || dilation == 0 {
            bail!("depthwise convolution: expected kernel, stride and dilation of at least 1, found {config:?}")
        }
        let init = kaiming_normal_fan_out(channels, kernel, channels);
        Ok(Self { weight: vb.get_with_hints((channels, 1, kernel, kernel), "weight", init)?, window: config })
    }

    /// The layer with a weight `[channels, 1, k, k]` that is given, which need not be a variable.
    ///
    /// # Errors
    /// A weight of another shape than the window's, or a stride or dilation of 0.
    pub fn from_tensor(weight: Tensor, window: Window) -> Result<Self> {
        let Window { kernel, stride, dilation, .. } = window;
        let (_, per_channel, height, width) = weight.dims4()?;
        if (per_channel, height, width) != (1, kernel, kernel) || kernel * stride * dilation == 0 {
            bail!("depthwise convolution: expected a weight for {window:?}, found {:?}", weight.shape())
        }
        Ok(Self { weight, window })
    }

    pub(crate) fn channels(&self) -> usize {
        self.weight.dims()[0]
    }

    /// `[n, h, w, c] -> [n, h', w', c]`, by the kernels.
    fn filtered(&self, xs: &Tensor) -> Result<Tensor> {
        let (_, h, w, c) = xs.dims4()?;
        let Window { kernel, stride, dilation, padding } = self.window;
        let windows = self.weight.reshape((c, kernel * kernel))?.t()?.contiguous()?;
        xs.apply_op2(&windows, FilterOp(DepthwiseShape { h, w, c, kernel, stride, dilation, padding }))
    }

    /// `[n, h, w, c] -> [n, h', w', c]`: [`Module::forward`] on channels-last tensors. Between layers that take each other's
    /// results like this, Candle's backward permutes nothing.
    ///
    /// # Errors
    /// Images of other channels, or too small for the window.
    pub fn forward_channels_last(&self, xs: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = xs.dims4()?;
        let fits = c == self.channels() && self.window.output_len(h) * self.window.output_len(w) > 0;
        if !has_kernels(xs) || n == 0 || !fits {
            return to_nhwc(&self.forward(&to_nchw(xs)?)?);
        }
        self.filtered(&xs.contiguous()?)
    }

    /// The definition in Candle's own ops: a sum over the window's taps of shifted images, each scaled channel by
    /// channel. k² passes, where Candle's grouped convolution is one convolution per channel.
    fn compose(&self, xs: &Tensor) -> Result<Tensor> {
        let kernel = self.window.kernel;
        let weight = self.weight.flatten_from(1)?;
        let mut sum: Option<Tensor> = None;
        for (k, tap) in self.window.taps(xs)?.iter().enumerate() {
            let scale = weight.narrow(1, k, 1)?.reshape((1, (), 1, 1))?;
            let term = tap.broadcast_mul(&scale)?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
        match sum {
            Some(sum) => Ok(sum),
            None => bail!("depthwise convolution: an empty window of {kernel}"),
        }
    }
}

impl Module for DepthwiseConv2d {
    /// `[n, c, h, w] -> [n, c, h', w']` with `h' = (h + 2 padding - dilation (k - 1) - 1) / stride + 1`
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = xs.dims4()?;
        if c != self.weight.dim(0)? || self.window.output_len(h) == 0 || self.window.output_len(w) == 0 {
            bail!("depthwise convolution: {:?} does not fit an image of shape {:?}", self.window, xs.shape())
        }
        if n == 0 {
            let (h_out, w_out) = (self.window.output_len(h), self.window.output_len(w));
            return Tensor::zeros((0, c, h_out, w_out), xs.dtype(), xs.device());
        }
        if !has_kernels(xs) {
            return self.compose(xs);
        }
        to_nchw(&self.filtered(&to_nhwc(xs)?)?)
    }
}

/// The weight is `[k · k, c]`.
impl Filter for DepthwiseShape {
    const NAME: &'static str = "depthwise-convolution";

    fn output(&self) -> (usize, usize, usize) {
        (self.h_out(), self.w_out(), self.c)
    }

    fn forward(&self, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
        kernels::forward(self, xs, weight, ys);
    }

    fn backward_input(&self, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
        kernels::backward_input(self, gys, weight, gxs);
    }

    fn backward_weight(&self, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
        kernels::backward_weight(self, xs, gys, gweight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};

    #[test]
    fn kernels_agree_with_the_composition() -> Result<()> {
        for kernel in [3, 5] {
            for stride in [1, 2] {
                for (dilation, padding) in [(1, kernel / 2), (2, kernel - 1), (1, 0), (1, kernel)] {
                    for (h, w) in [(9, 10), (11, 9)] {
                        let c = 20;
                        let config = Window { kernel, stride, dilation, padding };
                        let xs = image((2, c, h, w), 1., 1)?;
                        let weight = image((c, 1, kernel, kernel), 1., 2)?;
                        let conv = |args: &[Tensor]| DepthwiseConv2d::from_tensor(args[1].clone(), config);
                        let compared = Compared::new(
                            &[&xs, &weight],
                            |args| conv(args)?.forward(&args[0]),
                            |args| conv(args)?.compose(&args[0]),
                        )?;
                        compared.assert_close(1e-5, config);
                        let compared = Compared::new(
                            &[&xs, &weight],
                            |args| to_nchw(&conv(args)?.forward_channels_last(&to_nhwc(&args[0])?)?),
                            |args| conv(args)?.forward(&args[0]),
                        )?;
                        compared.assert_close(1e-6, config);
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn the_composition_agrees_with_candles_grouped_convolution() -> Result<()> {
        for (kernel, stride, dilation) in [(3, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2)] {
            let config = Window::same(kernel, stride, dilation);
            let (xs, weight) = (image((2, 6, 8, 7), 1., 1)?, image((6, 1, kernel, kernel), 1., 2)?);
            let got = DepthwiseConv2d { weight: weight.clone(), window: config }.compose(&xs)?;
            let expected = xs.conv2d(&weight, config.padding, stride, dilation, 6)?;
            let error = (got - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(error < 1e-5, "{config:?}: {error}");
        }
        Ok(())
    }

    #[test]
    fn a_window_that_does_not_fit_is_an_error() -> Result<()> {
        let config = Window { kernel: 5, stride: 1, dilation: 1, padding: 0 };
        let conv = DepthwiseConv2d { weight: image((2, 1, 5, 5), 1., 1)?, window: config };
        for shape in [(1, 2, 4, 8), (1, 2, 8, 4), (1, 3, 8, 8), (1, 2, 0, 0)] {
            assert!(conv.forward(&Tensor::zeros(shape, candle_core::DType::F32, &candle_core::Device::Cpu)?).is_err());
        }
        let window = Window { kernel: 3, ..config };
        for shape in [(2, 1, 5, 5), (2, 2, 3, 3)] {
            assert!(DepthwiseConv2d::from_tensor(image(shape, 1., 1)?, window).is_err(), "{shape:?}");
        }
        Ok(())
    }
}
