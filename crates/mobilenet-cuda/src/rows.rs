//! What stages hand on.

use crate::backend::View;

/// A tensor between stages: `[n, h, w, c]`.
///
/// A block's output is kept about a row near its mean, its `origin`: where the mean is much larger than the deviation, the
/// sums of products of a backward would cancel about 0 (the CPU's kernels subtract such a row there). A 1×1 convolution with
/// batch norm next gives the same for any origin; only the running mean has to know it.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    /// As the operand of a product.
    pub operand: View,
    /// As float32, where it is added to a later output.
    pub exact: Option<View>,
    /// `[c]`: what is missing from every row.
    pub origin: Option<View>,
    /// Parts' sums of the operand's rows, and how many parts.
    pub sums: Option<(View, usize)>,
}

impl Rows {
    pub fn pixels(&self) -> usize {
        self.h * self.w
    }

    pub fn rows(&self) -> usize {
        self.n * self.pixels()
    }

    pub fn len(&self) -> usize {
        self.rows() * self.c
    }
}

/// How a stage's output is wanted by the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wants {
    /// As float32 too: it is added to a later output.
    pub exact: bool,
    /// About an origin: a 1×1 convolution with batch norm is next.
    pub centered: bool,
    /// With its sums: an expansion is next.
    pub sums: bool,
    /// Only the mean over its pixels.
    pub pooled: bool,
}
