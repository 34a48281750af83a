//! float32 rows as operands of products.

use super::{Pass, walk};
use crate::activation::{Function, Identity};
use crate::buffer::Elements;
use crate::element::{Element, Place};
use crate::matmul::Matrix;
use crate::simd::{Isa, Level};

/// The left side of a product over the channels of `xs`, of which there are `c`. What is packed lies in `packed`.
pub(crate) fn left<'a, E: Element>(
    level: Level,
    xs: &'a [f32],
    c: usize,
    packed: &'a mut Elements<E>,
) -> Matrix<'a, E> {
    let rows = xs.len() / c;
    if let Some(xs) = E::of(xs) {
        return Matrix::new(xs, rows, c);
    }
    packed.resize(xs.len() / E::WIDTH);
    walk::<Identity, _>(level, rows, c, Pack { xs, left: packed, rows: &mut [] });
    Matrix::new(packed, rows, c / E::WIDTH)
}

/// An operand of a product over the rows of `xs`, of `c` channels each. What is packed lies in `packed`.
pub(crate) fn over_rows<'a, E: Element>(level: Level, xs: &'a [f32], c: usize, packed: &'a mut Elements<E>) -> &'a [E] {
    match E::of(xs) {
        Some(xs) => xs,
        None => {
            packed.resize(xs.len() / E::WIDTH);
            pack_rows(level, xs, c, packed);
            packed
        }
    }
}

/// A weight `[inner, n]` as the right side of products over `inner`.
pub(crate) fn right<E: Element>(level: Level, weight: &[f32], n: usize) -> Vec<E> {
    let mut packed = vec![E::default(); weight.len() / E::WIDTH];
    pack_rows(level, weight, n, &mut packed);
    packed
}

/// `xs`, of `c` channels, as kept tensors and products over rows need it.
pub(crate) fn pack_rows<E: Element>(level: Level, xs: &[f32], c: usize, rows: &mut [E]) {
    walk::<Identity, _>(level, xs.len() / c, c, Pack { xs, left: &mut [], rows });
}

struct Pack<'a, E> {
    xs: &'a [f32],
    left: &'a mut [E],
    rows: &'a mut [E],
}

impl<E: Element> Pass for Pack<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    type State<const L: usize> = ();

    #[inline(always)]
    fn begin<const L: usize>(&self, _: usize) -> Self::State<L> {}

    #[inline(always)]
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(&mut self, isa: I, (): &mut (), place: Place) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        if !self.left.is_empty() {
            place.store_left(isa, self.left, x);
        }
        if !self.rows.is_empty() {
            place.store(isa, self.rows, x);
        }
    }
}
