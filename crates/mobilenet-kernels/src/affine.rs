//! Batch norm with given statistics, as the passes over rows apply it.

use std::ops::Range;

use crate::simd::load;

/// The function that a batch norm is once its statistics are known.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[c]`
    pub mean: &'a [f32],
    /// `[c]`: `weight / sqrt(var + eps)`
    pub scale: &'a [f32],
    /// `[c]`
    pub bias: &'a [f32],
}

impl<'a> Affine<'a> {
    /// That of some of the channels.
    pub(crate) fn of(self, channels: Range<usize>) -> Self {
        let Self { mean, scale, bias } = self;
        Self { mean: &mean[channels.clone()], scale: &scale[channels.clone()], bias: &bias[channels] }
    }

    /// Mean, scale and bias of the channels from `at` on.
    #[inline(always)]
    pub(crate) fn load<const L: usize>(self, at: usize) -> [[f32; L]; 3] {
        [load(self.mean, at), load(self.scale, at), load(self.bias, at)]
    }
}
