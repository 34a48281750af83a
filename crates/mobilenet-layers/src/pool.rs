//! The mean over an image's pixels, channel by channel.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use mobilenet_kernels::pool as kernels;

use crate::channels_last::{as_slice, gradient, has_kernels, to_nhwc};

/// Global average pooling: `[n, c, h, w] -> [n, c]`.
///
/// # Errors
/// `xs` is not an image, or has no pixels.
pub fn global_avg_pool(xs: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = xs.dims4()?;
    if h * w == 0 {
        bail!("global average pool: expected at least one pixel, found {:?}", xs.shape())
    }
    if n == 0 {
        return Tensor::zeros((0, c), xs.dtype(), xs.device());
    }
    if has_kernels(xs) { mean_channels_last(&to_nhwc(xs)?) } else { xs.mean((2, 3)) }
}

/// `[n, h, w, c] -> [n, c]`, of float32 on the CPU, contiguous, with pixels.
pub(crate) fn mean_channels_last(xs: &Tensor) -> Result<Tensor> {
    xs.apply_op1(Mean)
}

/// `[n, h, w, c] -> [n, c]`
struct Mean;

impl CustomOp1 for Mean {
    fn name(&self) -> &'static str {
        "global-average-pool"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, h, w, c) = layout.shape().dims4()?;
        let mut means = vec![0.; n * c];
        kernels::mean(as_slice(xs, layout)?, h * w, c, &mut means);
        Ok((CpuStorage::F32(means), (n, c).into()))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, gmeans: &Tensor) -> Result<Option<Tensor>> {
        let (_, h, w, c) = xs.dims4()?;
        gradient(xs, [gmeans], |[gmeans], gxs| kernels::mean_backward(gmeans, h * w, c, gxs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};

    #[test]
    fn agrees_with_candles_mean() -> Result<()> {
        for shape in [(2, 3, 4, 5), (1, 17, 1, 1)] {
            let xs = image(shape, 1., 1)?;
            Compared::new(&[&xs], |args| global_avg_pool(&args[0]), |args| args[0].mean((2, 3)))?
                .assert_close(1e-6, shape);
        }
        Ok(())
    }
}
