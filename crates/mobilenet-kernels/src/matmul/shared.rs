//! Products that the threads share, of row-major matrices in slices.

use super::{Matrix, matmul, transposed};
use crate::parallel::{add_up_into, for_parts, map_parts, rows_per_part};
use crate::simd::Level;

/// The sizes of a product: of `rows × inner` by `inner × columns` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of the product.
    pub rows: usize,
    /// How many products each of its values is a sum of.
    pub inner: usize,
    /// Columns of the product.
    pub columns: usize,
}

impl Sizes {
    fn assert_fits(&self, a: &[f32], b: &[f32], out: &[f32]) {
        let &Self { rows, inner, columns } = self;
        assert_eq!(a.len(), rows * inner, "the left side of {self:?}");
        assert_eq!(b.len(), inner * columns, "the right side of {self:?}");
        assert_eq!(out.len(), rows * columns, "the product of {self:?}");
    }
}

/// How many parts the inner dimension of [`atb`] has, at most: a part's product is as large as the whole, so that few
/// parts cost little to add up.
const INNER_PARTS: usize = 8;

/// Rows of such a part, at least.
const INNER_ROWS: usize = 256;

/// Rows of a part's product that one thread computes at once.
const PRODUCT_ROWS: usize = 48;

/// `out = a · b`: `a` is `[rows, inner]`, `b` `[inner, columns]`, `out` `[rows, columns]`.
pub fn ab(a: &[f32], b: &[f32], sizes: Sizes, out: &mut [f32]) {
    ab_at(Level::best(), a, b, sizes, out);
}

pub(crate) fn ab_at(level: Level, a: &[f32], b: &[f32], sizes: Sizes, out: &mut [f32]) {
    sizes.assert_fits(a, b, out);
    let Sizes { inner, columns, .. } = sizes;
    for_parts(out, columns, rows_per_part(inner.max(columns)), |first, out| {
        let rows = out.len() / columns;
        let a = Matrix::new(&a[first * inner..(first + rows) * inner], rows, inner);
        matmul(level, a, b, columns, false, out);
    });
}

/// `out = a · bᵀ`: `a` is `[rows, inner]`, `b` `[columns, inner]`, `out` `[rows, columns]`.
pub fn abt(a: &[f32], b: &[f32], sizes: Sizes, out: &mut [f32]) {
    abt_at(Level::best(), a, b, sizes, out);
}

pub(crate) fn abt_at(level: Level, a: &[f32], b: &[f32], sizes: Sizes, out: &mut [f32]) {
    sizes.assert_fits(a, b, out);
    ab_at(level, a, &transposed(b, sizes.columns, sizes.inner), sizes, out);
}

/// `out = aᵀ · b`: `a` is `[inner, rows]`, `b` `[inner, columns]`, `out` `[rows, columns]`.
pub fn atb(a: &[f32], b: &[f32], sizes: Sizes, out: &mut [f32]) {
    atb_at(Level::best(), a, b, sizes, out);
}

pub(crate) fn atb_at(level: Level, a: &[f32], b: &[f32], sizes: Sizes, out: &mut [f32]) {
    sizes.assert_fits(a, b, out);
    let Sizes { rows, inner, columns } = sizes;
    let parts = map_parts(inner, inner.div_ceil(INNER_PARTS).max(INNER_ROWS), |part| {
        let a = Matrix::new(&a[part.start * rows..part.end * rows], part.len(), rows).t();
        let b = &b[part.start * columns..part.end * columns];
        let mut product = vec![0.; rows * columns];
        for_parts(&mut product, columns, PRODUCT_ROWS, |first, product| {
            let a = a.rows(first..first + product.len() / columns);
            matmul(level, a, b, columns, false, product);
        });
        product
    });
    if parts.is_empty() {
        out.fill(0.);
    } else {
        add_up_into(&parts, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition() {
        for (rows, inner, columns) in
            [(1, 1, 1), (7, 3, 5), (600, 16, 24), (16, 600, 24), (3, 5000, 4), (100, 40, 33), (2, 0, 3), (0, 3, 2)]
        {
            let sizes = Sizes { rows, inner, columns };
            let (a, b) = (values(rows * inner, 1), values(inner * columns, 2));
            let (at, bt) = (transposed(&a, rows, inner), transposed(&b, inner, columns));
            for level in Level::available() {
                let mut out = [(); 3].map(|()| vec![f32::NAN; rows * columns]);
                ab_at(level, &a, &b, sizes, &mut out[0]);
                abt_at(level, &a, &bt, sizes, &mut out[1]);
                atb_at(level, &at, &b, sizes, &mut out[2]);
                for i in 0..rows {
                    for j in 0..columns {
                        let term = |l| f64::from(a[i * inner + l]) * f64::from(b[l * columns + j]);
                        let expected: f64 = (0..inner).map(term).sum();
                        for out in &out {
                            let found = f64::from(out[i * columns + j]);
                            let is_close = (found - expected).abs() < 1e-4 * (1. + expected.abs());
                            assert!(is_close, "{sizes:?}, {level}: {found} {expected}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let sizes = Sizes { rows: 130, inner: 3000, columns: 70 };
        let (a, b) = (values(sizes.rows * sizes.inner, 1), values(sizes.inner * sizes.columns, 2));
        let product = |threads| {
            let mut out = vec![f32::NAN; sizes.rows * sizes.columns];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| atb(&a, &b, sizes, &mut out));
            out
        };
        let expected = product(1);
        assert!([2, 3, 5, 16].into_iter().all(|threads| product(threads) == expected));
    }

    #[test]
    #[should_panic(expected = "the right side")]
    fn a_slice_of_another_length_is_refused() {
        ab(&[0.; 6], &[0.; 5], Sizes { rows: 2, inner: 3, columns: 2 }, &mut [0.; 4]);
    }
}
