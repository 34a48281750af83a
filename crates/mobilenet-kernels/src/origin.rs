//! A row near the mean of others, which sums of products are taken about: where the mean is much larger than the
//! deviation, such sums about 0 would cancel.
//!
//! A weight's gradient is `gᵀ · x`, with `g` the gradient of a convolution's output. If batch norm comes next, `g` sums
//! up to 0, and `gᵀ · x = gᵀ · (x - o)` for any row `o`. In float32 the sum is not quite 0: what is left of it must not
//! meet a large mean.

use crate::buffer::Buffer;
use crate::rows::scale_shift;
use crate::simd::Level;

/// See the module's description.
pub(crate) struct Origin {
    /// The row, negated, as [`scale_shift`] takes it.
    negative: Vec<f32>,
    ones: Vec<f32>,
}

impl Origin {
    /// The mean of some rows of `c` values. It need not be near: a deviation or two costs no digits.
    pub(crate) fn of<'a>(c: usize, rows: impl Iterator<Item = &'a [f32]>) -> Self {
        let (mut sums, mut count) = (vec![0.; c], 0.);
        for row in rows {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            count += 1.;
        }
        let negative = sums.into_iter().map(|sum| (-sum / f64::max(count, 1.)) as f32).collect();
        Self { negative, ones: vec![1.; c] }
    }

    /// `x - o`, row by row.
    pub(crate) fn subtract(&self, level: Level, x: &[f32], shifted: &mut Buffer) {
        shifted.resize(x.len());
        scale_shift::<f32>(level, x, &self.ones, &self.negative, shifted);
    }
}
