//! A dense convolution, batch norm and activation as one operation: the networks' first and last convolutions.
//!
//! `y = act(bn(p))` with `p = conv(x)`; only `p` is kept. Windows are unfolded into rows, so that a convolution is a
//! product of matrices; the rows of a 1×1 are the pixels as they are.

mod backward;
mod forward;
mod infer;
mod shape;
#[cfg(test)]
mod tests;

use crate::batch_norm::{Statistics, Unit};
use crate::element::Element;
use crate::matmul::{Matrix, matmul};
use crate::parallel::{for_each_with, images_per_part};
use crate::simd::Level;
pub use backward::backward;
pub use forward::forward;
pub use infer::infer;
pub use shape::ConvNormShape;

/// Images are divided into as many parts as this however large the weight is, whose gradient every part sums up for
/// itself.
const PARTS_OF_LARGE_WEIGHTS: usize = 16;

/// Rows of a part that make such a sum cost next to nothing, for each of the weight's columns.
const ROWS_PER_COLUMN: usize = 40;

/// Rows of a product that one thread computes at once, where the threads share it.
const SHARED_ROWS: usize = 48;

/// What a forward leaves for its backward.
pub struct Saved(Unit);

impl Saved {
    /// The batch's statistics.
    pub fn statistics(&self) -> &Statistics {
        &self.0.statistics
    }
}

/// Images of a part.
fn part_images(g: &ConvNormShape) -> usize {
    let cheap = (ROWS_PER_COLUMN * g.conv.unfolded()).div_ceil(g.conv.pixels_out());
    images_per_part(g.n).max(cheap.min(g.n.div_ceil(PARTS_OF_LARGE_WEIGHTS)))
}

/// Images whose rows are multiplied at once.
fn images_at_once(g: &ConvNormShape) -> usize {
    (256 / g.conv.pixels_out()).max(1)
}

/// [`matmul`], whose rows the threads share if there are few parts: they do not know of each other.
fn product<E: Element>(
    level: Level,
    is_shared: bool,
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
) {
    let rows = if is_shared { SHARED_ROWS } else { out.len() / n };
    let parts = out.chunks_mut((rows * n).max(1)).enumerate();
    for_each_with(is_shared, &mut (), parts, |(), (i, out)| {
        let a = a.rows(i * rows..i * rows + out.len() / n);
        matmul(level, a, b, n, accumulate, out);
    });
}
