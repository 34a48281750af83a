//! Products of matrices: [`ab`], [`abt`] and [`atb`] share one among the threads.
//!
//! What the other kernels use multiplies on the calling thread, float32 or bf16 with float32 sums. The products of
//! these networks are skewed: thousands of rows (pixels), and 16 to 1280 columns (channels). So nothing is packed: a
//! tile of the result is held in registers, rows of `a` are broadcast value by value (whatever their strides) and `b`
//! is read row by row, which is contiguous. The tile fills the registers of each instruction set.

mod shared;
mod transpose;
mod weight;

use std::ops::Range;

use crate::element::Element;
use crate::simd::{Isa, Level, for_each_level, prefetch};

pub use shared::{Sizes, ab, abt, atb};
pub(crate) use shared::{ab_at, abt_at, atb_at};
pub(crate) use transpose::{transpose, transposed};
pub(crate) use weight::{FEW_ROWS, matmul_weight};

/// A matrix in a slice: `rows × cols` elements, row-major, or the transpose of such a one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, E = f32> {
    data: &'a [E],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, E: Element> Matrix<'a, E> {
    /// The row-major `rows × cols` matrix of `data`.
    pub(crate) fn new(data: &'a [E], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} × {cols} matrix");
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The same values, rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        Self { data, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
    }

    /// The matrix of these rows alone.
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let data = self.data.get(rows.start * self.row_stride..).unwrap_or(&[]);
        Self { data, rows: rows.len(), ..self }
    }
}

/// `out = a · b`, or `out += a · b`; `b` is row-major `k × n`, `out` row-major `m × n`.
pub(crate) fn matmul<E: Element>(level: Level, a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32]) {
    let (m, k) = (a.rows, a.cols);
    assert_eq!(b.len(), k * n, "a {k} × {n} matrix on the right");
    assert_eq!(out.len(), m * n, "a {m} × {n} product");
    if k == 0 && !accumulate {
        out.fill(0.);
    }
    if m * n * k > 0 {
        product(level, a, b, n, accumulate, out);
    }
}

for_each_level! {
    fn product<E: Element>(a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32])
        = product_body[LANES], bf16 if const { E::WIDTH > 1 }
}

/// Chooses the tile: `rows × 2 · lanes` results in registers, the rest of the columns in narrower tiles.
#[inline(always)]
fn product_body<I: Isa, const L: usize, E: Element>(
    isa: I,
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
) {
    if const { L == 16 } {
        let done = columns::<E, I, L, 12>(isa, a, b, n, accumulate, out, 0);
        let done = columns::<E, I, 8, 12>(isa, a, b, n, accumulate, out, done);
        columns::<E, I, 1, 12>(isa, a, b, n, accumulate, out, done);
    } else {
        let done = columns::<E, I, L, 6>(isa, a, b, n, accumulate, out, 0);
        columns::<E, I, 1, 6>(isa, a, b, n, accumulate, out, done);
    }
}

/// The columns from `done` on that fill tiles of `2 · L` or `L` columns; returns where it stopped.
#[inline(always)]
fn columns<E: Element, I: Isa, const L: usize, const ROWS: usize>(
    isa: I,
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
    mut done: usize,
) -> usize {
    while done + 2 * L <= n {
        rows::<E, I, L, 2, ROWS>(isa, a, b, n, accumulate, out, done);
        done += 2 * L;
    }
    while done + L <= n {
        rows::<E, I, L, 1, ROWS>(isa, a, b, n, accumulate, out, done);
        done += L;
    }
    done
}

/// All rows of `V · L` columns.
#[inline(always)]
fn rows<E: Element, I: Isa, const L: usize, const V: usize, const ROWS: usize>(
    isa: I,
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
    col: usize,
) {
    let mut row = 0;
    while row + ROWS <= a.rows {
        tile::<E, I, L, V, ROWS>(isa, a, b, n, accumulate, out, (row, col));
        row += ROWS;
    }
    while row + 4 <= a.rows {
        tile::<E, I, L, V, 4>(isa, a, b, n, accumulate, out, (row, col));
        row += 4;
    }
    while row < a.rows {
        tile::<E, I, L, V, 1>(isa, a, b, n, accumulate, out, (row, col));
        row += 1;
    }
}

/// `R` rows of `V · L` columns, at `row` and `col`.
#[inline(always)]
fn tile<E: Element, I: Isa, const L: usize, const V: usize, const R: usize>(
    isa: I,
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
    (row, col): (usize, usize),
) {
    for r in 0..R {
        for v in 0..V {
            prefetch(out, (row + r) * n + col + v * L);
        }
    }
    let mut sums = [[[0f32; L]; V]; R];
    let a_values = &a.data[row * a.row_stride..];
    let last = (R - 1) * a.row_stride + (a.cols - 1) * a.col_stride;
    assert!(last < a_values.len() && (a.cols - 1) * n + col + V * L <= b.len());
    for k in 0..a.cols {
        let mut right = [[E::default(); L]; V];
        for (v, right) in right.iter_mut().enumerate() {
            let at = k * n + col + v * L;
            // SAFETY: k ≤ cols - 1 and v ≤ V - 1, so `at + L` is at most what was asserted to be within `b`.
            right.copy_from_slice(unsafe { b.get_unchecked(at..at + L) });
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            // SAFETY: r ≤ R - 1 and k ≤ cols - 1, so the index is at most `last`, which was asserted to be within.
            let left = unsafe { *a_values.get_unchecked(r * a.row_stride + k * a.col_stride) };
            for v in 0..V {
                E::add_products(isa, &mut sums[v], left, &right[v]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, sums) in sums.iter().enumerate() {
            let at = (row + r) * n + col + v * L;
            let out = &mut out[at..at + L];
            if accumulate {
                for l in 0..L {
                    out[l] += sums[l];
                }
            } else {
                out.copy_from_slice(sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::Pair;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition_in_every_orientation() {
        // Every remainder of rows and columns by the tiles of every level.
        let mut sizes = vec![(64, 24, 16), (33, 17, 100), (2, 40, 0), (0, 3, 4), (13, 95, 9)];
        // Miri runs the baseline's, which are narrower, and some 100 times slower.
        let (rows, cols) = if cfg!(miri) { (7, 11) } else { (25, 67) };
        sizes.extend((1..=rows).map(|m| (m, 40, 3)));
        sizes.extend((1..=cols).map(|n| (13, n, 5)));
        for (m, n, k) in sizes {
            let (a, b, before) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
            for a in [Matrix::new(&a, m, k), Matrix::new(&a, k, m).t()] {
                for accumulate in [false, true] {
                    for level in Level::available() {
                        let mut out = before.clone();
                        matmul(level, a, &b, n, accumulate, &mut out);
                        for i in 0..m {
                            for j in 0..n {
                                let term = |l| f64::from(a.data[i * a.row_stride + l * a.col_stride] * b[l * n + j]);
                                let start = if accumulate { f64::from(before[i * n + j]) } else { 0. };
                                let expected = start + (0..k).map(term).sum::<f64>();
                                let got = f64::from(out[i * n + j]);
                                assert!((got - expected).abs() < 1e-5, "{m} × {n} × {k} at {i}, {j}, {level}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn products_of_pairs_agree_with_the_definition() {
        for (m, n, k) in [(1, 1, 1), (13, 40, 3), (25, 67, 8), (64, 24, 72), (5, 33, 0)] {
            let pairs = |len: usize, seed| {
                let values = values(2 * len, seed);
                values.chunks(2).map(|v| Pair::new(v[0], v[1])).collect::<Vec<_>>()
            };
            let (a, b) = (pairs(m * k, 1), pairs(k * n, 2));
            for (a, at) in [(Matrix::new(&a, m, k), [k, 1]), (Matrix::new(&a, k, m).t(), [1, m])] {
                for level in Level::available() {
                    let mut out = vec![f32::NAN; m * n];
                    matmul(level, a, &b, n, false, &mut out);
                    for i in 0..m {
                        for j in 0..n {
                            let terms = (0..k).map(|l| {
                                let (a, b) = (a.data[i * at[0] + l * at[1]].values(), b[l * n + j].values());
                                f64::from(a[0]) * f64::from(b[0]) + f64::from(a[1]) * f64::from(b[1])
                            });
                            let (got, expected) = (f64::from(out[i * n + j]), terms.sum::<f64>());
                            assert!((got - expected).abs() < 1e-5, "{m} × {n} × {k} at {i}, {j}, {level}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a 3 × 4 matrix")]
    fn a_slice_of_another_length_is_refused() {
        Matrix::new(&[0.; 11], 3, 4);
    }

    #[test]
    #[should_panic(expected = "a 3 × 3 matrix on the right")]
    fn a_right_side_of_another_length_is_refused() {
        matmul(Level::best(), Matrix::new(&[0.; 6], 2, 3), &[0.; 8], 3, false, &mut [0.; 6]);
    }

    #[test]
    #[should_panic(expected = "a 2 × 2 product")]
    fn an_output_of_another_length_is_refused() {
        matmul(Level::best(), Matrix::new(&[0.; 6], 2, 3), &[0.; 6], 2, false, &mut [0.; 3]);
    }
}
