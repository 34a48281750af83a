//! Dense convolutions: the 1×1 as a matrix product, and the stem's k×k.

use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, Module, VarBuilder};
use mobilenet_kernels::conv::{self as kernels, ConvShape};
use mobilenet_kernels::pointwise;

use crate::Window;
use crate::channels_last::{has_kernels, to_nchw, to_nhwc};
use crate::filter::{Filter, FilterOp};
use crate::init::kaiming_normal_fan_out;

/// The geometry of a dense convolution. The padding is `kernel / 2`, so that stride 1 keeps the size of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dConfig {
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2dConfig {
    /// A 1×1 convolution without bias.
    pub const POINTWISE: Self = Self { kernel: 1, stride: 1, bias: false };
}

/// A dense two-dimensional convolution: weight `[c_out, c_in, k, k]`, initialized as torchvision does.
#[derive(Clone, Debug)]
pub struct Conv2d {
    pub(crate) weight: Tensor,
    pub(crate) bias: Option<Tensor>,
    pub(crate) config: Conv2dConfig,
}

impl Conv2d {
    /// The layer with the variables `weight` and, if asked for, `bias` below `vb`.
    ///
    /// # Errors
    /// No channels, an even or zero kernel, or a zero stride.
    pub fn new(c_in: usize, c_out: usize, config: Conv2dConfig, vb: VarBuilder) -> Result<Self> {
        let Conv2dConfig { kernel, stride, bias } = config;
        if c_in == 0 || c_out == 0 {
            bail!("convolution: expected at least one channel in and out, found {c_in} and {c_out}")
        }
        if kernel % 2 == 0 {
            bail!("convolution: expected an odd kernel, found {kernel}")
        }
        if stride == 0 {
            bail!("convolution: expected a stride of at least 1, found 0")
        }
        let init = kaiming_normal_fan_out(c_out, kernel, 1);
        let weight = vb.get_with_hints((c_out, c_in, kernel, kernel), "weight", init)?;
        let bias = if bias { Some(vb.get_with_hints(c_out, "bias", Init::Const(0.))?) } else { None };
        Ok(Self { weight, bias, config })
    }

    /// The layer with a weight `[c_out, c_in, k, k]` that is given, which need not be a variable, without bias or with one
    /// `[c_out]`.
    ///
    /// # Errors
    /// An even or zero kernel, one that is not square, a zero stride, or a bias of another length.
    pub fn from_tensors(weight: Tensor, bias: Option<Tensor>, stride: usize) -> Result<Self> {
        let (c_out, _, kernel, width) = weight.dims4()?;
        if kernel % 2 == 0 || width != kernel || stride == 0 {
            bail!("convolution: expected an odd square kernel and a stride, found {:?} and {stride}", weight.shape())
        }
        if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [c_out]) {
            bail!("convolution: expected a bias of {c_out} channels, found {:?}", bias.shape())
        }
        let config = Conv2dConfig { kernel, stride, bias: bias.is_some() };
        Ok(Self { weight, bias, config })
    }

    pub(crate) fn window(&self) -> Window {
        Window::same(self.config.kernel, self.config.stride, 1)
    }

    pub(crate) fn c_out(&self) -> usize {
        self.weight.dims()[0]
    }

    pub(crate) fn c_in(&self) -> usize {
        self.weight.dims()[1]
    }

    /// The definition in Candle's own ops, without the bias: a product of matrices over the window's taps. The backward
    /// of Candle's own convolution is slow, and fails where height and width leave different remainders by the stride.
    fn compose(&self, xs: &Tensor) -> Result<Tensor> {
        let window = self.window();
        let (n, c_in, h, w) = xs.dims4()?;
        if self.config.kernel == 1 && self.config.stride == 1 {
            // One product over all images' pixels: Candle copies a matrix that it broadcasts once for each image.
            let rows = to_nhwc(xs)?.reshape((n * h * w, c_in))?;
            let weight = self.weight.reshape((self.c_out(), c_in))?.t()?;
            return to_nchw(&rows.matmul(&weight)?.reshape((n, h, w, self.c_out()))?);
        }
        let (h_out, w_out) = (window.output_len(h), window.output_len(w));
        let taps = Tensor::cat(&window.taps(xs)?, 1)?.reshape((n, (), h_out * w_out))?;
        let weight = self.weight.permute((0, 2, 3, 1))?.contiguous()?.flatten_from(1)?;
        weight.broadcast_matmul(&taps)?.reshape((n, (), h_out, w_out))
    }

    fn without_bias(&self, xs: &Tensor) -> Result<Tensor> {
        let (n, c, h, w) = xs.dims4()?;
        let (c_out, c_in, ..) = self.weight.dims4()?;
        if c != c_in || h * w == 0 {
            bail!("convolution: expected images of {c_in} channels, found {:?}", xs.shape())
        }
        if n == 0 {
            let window = self.window();
            return Tensor::zeros((0, c_out, window.output_len(h), window.output_len(w)), xs.dtype(), xs.device());
        }
        if !has_kernels(xs) {
            return self.compose(xs);
        }
        to_nchw(&self.filtered(&to_nhwc(xs)?)?)
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`, without the bias, by the kernels.
    fn filtered(&self, xs: &Tensor) -> Result<Tensor> {
        let (_, h, w, c_in) = xs.dims4()?;
        let Conv2dConfig { kernel, stride, .. } = self.config;
        let c_out = self.c_out();
        if kernel == 1 && stride == 1 {
            xs.apply_op2(&self.weight, FilterOp(Pointwise { h, w, c_in, c_out }))
        } else {
            let geometry = ConvShape { h, w, c_in, c_out, kernel, stride, padding: kernel / 2 };
            xs.apply_op2(&self.weight, FilterOp(geometry))
        }
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`Module::forward`] on channels-last tensors. Between layers that take each
    /// other's results like this, Candle's backward permutes nothing.
    ///
    /// # Errors
    /// Images of other channels, or without pixels.
    pub fn forward_channels_last(&self, xs: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = xs.dims4()?;
        if !has_kernels(xs) || n * h * w == 0 || c != self.c_in() {
            return to_nhwc(&self.forward(&to_nchw(xs)?)?);
        }
        let ys = self.filtered(&xs.contiguous()?)?;
        match &self.bias {
            Some(bias) => ys.broadcast_add(bias),
            None => Ok(ys),
        }
    }
}

impl Module for Conv2d {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']` with `h' = (h - 1) / stride + 1`
    fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let ys = self.without_bias(xs)?;
        match &self.bias {
            Some(bias) if ys.elem_count() > 0 => ys.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            _ => Ok(ys),
        }
    }
}

/// A 1×1 convolution of stride 1, whose weight is `[c_out, c_in, 1, 1]`.
struct Pointwise {
    h: usize,
    w: usize,
    c_in: usize,
    c_out: usize,
}

impl Filter for Pointwise {
    const NAME: &'static str = "pointwise-convolution";

    fn output(&self) -> (usize, usize, usize) {
        (self.h, self.w, self.c_out)
    }

    fn forward(&self, xs: &[f32], weight: &[f32], ys: &mut [f32]) {
        pointwise::forward(xs, weight, self.c_in, self.c_out, ys);
    }

    fn backward_input(&self, gys: &[f32], weight: &[f32], gxs: &mut [f32]) {
        pointwise::backward_input(gys, weight, self.c_in, self.c_out, gxs);
    }

    fn backward_weight(&self, xs: &[f32], gys: &[f32], gweight: &mut [f32]) {
        pointwise::backward_weight(xs, gys, self.c_in, self.c_out, gweight);
    }
}

impl Filter for ConvShape {
    const NAME: &'static str = "dense-convolution";

    fn output(&self) -> (usize, usize, usize) {
        (self.h_out(), self.w_out(), self.c_out)
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
        for (kernel, stride, c_in, c_out) in [(1, 1, 3, 24), (1, 1, 40, 7), (3, 1, 3, 16), (3, 2, 3, 16)] {
            let xs = image((3, c_in, 7, 6), 1., 1)?;
            let weight = image((c_out, c_in, kernel, kernel), 1., 2)?;
            let bias = image((c_out, 1, 1, 1), 1., 3)?.flatten_all()?;
            let conv = |args: &[Tensor]| Conv2d::from_tensors(args[1].clone(), Some(args[2].clone()), stride);
            let compared = Compared::new(
                &[&xs, &weight, &bias],
                |args| conv(args)?.forward(&args[0]),
                |args| conv(args)?.compose(&args[0])?.broadcast_add(&args[2].reshape((1, (), 1, 1))?),
            )?;
            compared.assert_close(1e-5, (kernel, stride, c_in, c_out));
            let compared = Compared::new(
                &[&xs, &weight, &bias],
                |args| to_nchw(&conv(args)?.forward_channels_last(&to_nhwc(&args[0])?)?),
                |args| conv(args)?.forward(&args[0]),
            )?;
            compared.assert_close(1e-6, (kernel, stride, c_in, c_out));
        }
        Ok(())
    }

    #[test]
    fn the_composition_agrees_with_candles_convolution() -> Result<()> {
        for (kernel, stride) in [(1, 1), (3, 1), (3, 2), (5, 2)] {
            let (xs, weight) = (image((2, 3, 8, 7), 1., 1)?, image((4, 3, kernel, kernel), 1., 2)?);
            let expected = xs.conv2d(&weight, kernel / 2, stride, 1, 1)?;
            let config = Conv2dConfig { kernel, stride, bias: false };
            let got = Conv2d { weight, bias: None, config }.compose(&xs)?;
            let error = (got - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(error < 1e-5, "{config:?}: {error}");
        }
        Ok(())
    }

    #[test]
    fn tensors_that_are_no_convolution_are_errors() -> Result<()> {
        let weight = |k: usize, w: usize| image((4, 3, k, w), 1., 1);
        let bias = image((3, 1, 1, 1), 1., 1)?.flatten_all()?;
        assert!(Conv2d::from_tensors(weight(2, 2)?, None, 1).is_err());
        assert!(Conv2d::from_tensors(weight(3, 1)?, None, 1).is_err());
        assert!(Conv2d::from_tensors(weight(3, 3)?, None, 0).is_err());
        assert!(Conv2d::from_tensors(weight(3, 3)?, Some(bias), 1).is_err());
        Ok(())
    }
}
