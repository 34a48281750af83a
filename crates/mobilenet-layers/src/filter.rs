//! Convolutions as custom ops: images and a weight in, images out, and the gradients of both.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::channels_last::{as_slice, gradient};

/// A convolution of images of given sizes, by kernels. Images are `[n, h, w, c]`.
pub(crate) trait Filter: Send + Sync {
    /// What the op is called.
    const NAME: &'static str;

    /// Height, width and channels of the outputs.
    fn output(&self) -> (usize, usize, usize);

    fn forward(&self, xs: &[f32], weight: &[f32], ys: &mut [f32]);

    fn backward_input(&self, gys: &[f32], weight: &[f32], gxs: &mut [f32]);

    fn backward_weight(&self, xs: &[f32], gys: &[f32], gweight: &mut [f32]);
}

/// The op over a filter: `[n, h, w, c] × weight -> [n, h', w', c']`.
pub(crate) struct FilterOp<F>(pub(crate) F);

impl<F: Filter> CustomOp2 for FilterOp<F> {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (h, w, c) = self.0.output();
        let shape: Shape = (xs_layout.shape().dim(0)?, h, w, c).into();
        let mut ys = vec![0.; shape.elem_count()];
        self.0.forward(as_slice(xs, xs_layout)?, as_slice(weight, weight_layout)?, &mut ys);
        Ok((CpuStorage::F32(ys), shape))
    }

    fn bwd(&self, xs: &Tensor, weight: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gxs = gradient(xs, [gys, weight], |[gys, weight], gxs| self.0.backward_input(gys, weight, gxs))?;
        let gweight = gradient(weight, [xs, gys], |[xs, gys], gweight| self.0.backward_weight(xs, gys, gweight))?;
        Ok((gxs, gweight))
    }
}
