//! Products of matrices on the calling thread, float32 or bf16 with float32 sums.
//!
//! The products of these networks are skewed: thousands of rows (pixels), and 16 to 1280 columns (channels). So nothing is
//! packed: a tile of the result is held in registers, rows of `a` are broadcast value by value (whatever their strides)
//! and `b` is read row by row, which is contiguous. The tile fills the registers of each instruction set.

use std::ops::Range;

use crate::element::Element;
use crate::simd::{Arithmetic, Fused, Level, Separate, Set, for_each_level, load, prefetch, store};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512, Avx512Bf16};

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

    /// Some of its rows.
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        let data = self.data.get(rows.start * self.row_stride..).unwrap_or(&[]);
        Self { data, rows: rows.len(), ..self }
    }
}

/// The transpose of the row-major `rows × cols` matrix `data`, row-major: what a weight must be to stand on the right.
pub(crate) fn transposed(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    transposed_columns(data, rows, cols, 0..cols)
}

/// The transpose of some columns of `data`.
fn transposed_columns(data: &[f32], rows: usize, cols: usize, part: Range<usize>) -> Vec<f32> {
    assert_eq!(data.len(), rows * cols, "a {rows} × {cols} matrix");
    let mut out = vec![0.; rows * part.len()];
    transpose(Level::best(), data, cols, part, &mut out);
    out
}

for_each_level! {
    fn transpose(data: &[f32], cols: usize, part: Range<usize>, out: &mut [f32]) = transpose_body
}

/// Square blocks, each in registers.
#[inline(always)]
fn transpose_body<A: Arithmetic>(data: &[f32], cols: usize, part: Range<usize>, out: &mut [f32]) {
    const B: usize = 8;
    let rows = out.len() / part.len().max(1);
    let (full_rows, full_cols) = (rows / B * B, part.len() / B * B);
    for row in (0..full_rows).step_by(B) {
        for col in (0..full_cols).step_by(B) {
            let mut block: [[f32; B]; B] = [[0.; B]; B];
            for (i, line) in block.iter_mut().enumerate() {
                *line = load(data, (row + i) * cols + part.start + col);
            }
            // Three riffles of the eight rows, taken in halves, exchange rows and columns.
            for _ in 0..3 {
                block = riffle(block);
            }
            for (i, line) in block.into_iter().enumerate() {
                store(out, (col + i) * rows + row, line);
            }
        }
    }
    for row in 0..rows {
        let from = if row < full_rows { full_cols } else { 0 };
        for col in from..part.len() {
            out[col * rows + row] = data[row * cols + part.start + col];
        }
    }
}

#[inline(always)]
fn riffle(rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
    let mut out = [[0.; 8]; 8];
    for i in 0..4 {
        let (a, b) = (rows[i], rows[i + 4]);
        out[2 * i] = [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
        out[2 * i + 1] = [a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7]];
    }
    out
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

/// With no more rows than this, dot products with a weight as it lies cost less than to transpose it first.
pub(crate) const FEW_ROWS: usize = 32;

/// `out = xs · weightᵀ`, the weight being `[c_out, c_in]` as layers keep it, of which only the columns `part` are taken: as
/// many as `xs` has. For a weight that serves many products, [`transposed`] and [`matmul`] spare the choice and the copy.
pub(crate) fn matmul_weight(
    level: Level,
    xs: &[f32],
    weight: &[f32],
    (c_out, c_in): (usize, usize),
    part: Range<usize>,
    out: &mut [f32],
) {
    assert_eq!(weight.len(), c_out * c_in, "a {c_out} × {c_in} weight");
    assert!(part.start <= part.end && part.end <= c_in, "columns {part:?} of {c_in}");
    assert_eq!(xs.len() * c_out, out.len() * part.len(), "rows of xs and out");
    let (rows, k) = (out.len() / c_out.max(1), part.len());
    if k == 0 {
        out.fill(0.);
    } else if rows <= FEW_ROWS {
        dots(level, xs, k, &weight[part.start..], c_in, c_out, out);
    } else {
        matmul(level, Matrix::new(xs, rows, k), &transposed_columns(weight, c_out, c_in, part), c_out, false, out);
    }
}

for_each_level! {
    fn dots(xs: &[f32], k: usize, weight: &[f32], stride: usize, n: usize, out: &mut [f32]) = dots_body[LANES]
}

#[inline(always)]
fn dots_body<A: Arithmetic, const L: usize>(
    xs: &[f32],
    k: usize,
    weight: &[f32],
    stride: usize,
    n: usize,
    out: &mut [f32],
) {
    let m = out.len() / n;
    let mut row = 0;
    while row + 4 <= m {
        dot_rows::<A, L, 4>(&xs[row * k..], k, weight, stride, n, &mut out[row * n..]);
        row += 4;
    }
    while row < m {
        dot_rows::<A, L, 1>(&xs[row * k..], k, weight, stride, n, &mut out[row * n..]);
        row += 1;
    }
}

/// `R` rows of dot products.
#[inline(always)]
fn dot_rows<A: Arithmetic, const L: usize, const R: usize>(
    xs: &[f32],
    k: usize,
    weight: &[f32],
    stride: usize,
    n: usize,
    out: &mut [f32],
) {
    let mut rows: [&[f32]; R] = [&[]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &xs[r * k..][..k];
    }
    let xs = rows;
    let mut col = 0;
    while col + 4 <= n {
        let weights = [0, 1, 2, 3].map(|c| &weight[(col + c) * stride..][..k]);
        dot_tile::<A, L, R, 4>(xs, weights, k, n, &mut out[col..]);
        col += 4;
    }
    while col < n {
        dot_tile::<A, L, R, 1>(xs, [&weight[col * stride..][..k]], k, n, &mut out[col..]);
        col += 1;
    }
}

/// The sum of a register's values, halving it until one is left: short chains of additions.
#[inline(always)]
fn total<const L: usize>(mut values: [f32; L]) -> f32 {
    let mut len = L;
    while len > 1 {
        len /= 2;
        for i in 0..len {
            values[i] += values[i + len];
        }
    }
    values[0]
}

#[inline(always)]
fn dot_tile<A: Arithmetic, const L: usize, const R: usize, const C: usize>(
    xs: [&[f32]; R],
    weights: [&[f32]; C],
    k: usize,
    n: usize,
    out: &mut [f32],
) {
    let mut sums = [[[0f32; L]; C]; R];
    let blocks = k / L;
    for b in 0..blocks {
        let at = b * L;
        let mut left = [[0f32; L]; R];
        for (left, x) in left.iter_mut().zip(xs) {
            left.copy_from_slice(&x[at..at + L]);
        }
        for (c, weight) in weights.iter().enumerate() {
            let mut right = [0f32; L];
            right.copy_from_slice(&weight[at..at + L]);
            for r in 0..R {
                A::add_products(&mut sums[r][c], left[r], right);
            }
        }
    }
    for (r, x) in xs.iter().enumerate() {
        for (c, weight) in weights.iter().enumerate() {
            let mut sum = total(sums[r][c]);
            for i in blocks * L..k {
                sum = A::mul_add(x[i], weight[i], sum);
            }
            out[r * n + c] = sum;
        }
    }
}

/// Chooses the tile: `rows × 2 · lanes` results in registers, the rest of the columns in narrower tiles.
fn product<E: Element>(level: Level, a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn avx512<E: Element>(a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32]) {
        let done = columns::<E, Avx512, 16, 12>(a, b, n, accumulate, out, 0);
        let done = columns::<E, Avx512, 8, 12>(a, b, n, accumulate, out, done);
        columns::<E, Avx512, 1, 12>(a, b, n, accumulate, out, done);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn avx512_bf16<E: Element>(a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32]) {
        let done = columns::<E, Avx512Bf16, 16, 12>(a, b, n, accumulate, out, 0);
        let done = columns::<E, Avx512Bf16, 8, 12>(a, b, n, accumulate, out, done);
        columns::<E, Avx512Bf16, 1, 12>(a, b, n, accumulate, out, done);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<E: Element>(a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32]) {
        let done = columns::<E, Avx2, 8, 6>(a, b, n, accumulate, out, 0);
        columns::<E, Avx2, 1, 6>(a, b, n, accumulate, out, done);
    }
    fn baseline<E: Element, A: Arithmetic>(a: Matrix<E>, b: &[E], n: usize, accumulate: bool, out: &mut [f32]) {
        let done = columns::<E, A, 4, 6>(a, b, n, accumulate, out, 0);
        columns::<E, A, 1, 6>(a, b, n, accumulate, out, done);
    }
    match level.set() {
        // SAFETY: a `Level` is made only after the processor was asked for its features.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => unsafe { avx512::<E>(a, b, n, accumulate, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Bf16 => unsafe { avx512_bf16::<E>(a, b, n, accumulate, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { avx2(a, b, n, accumulate, out) },
        Set::Baseline if cfg!(target_arch = "aarch64") => baseline::<E, Fused>(a, b, n, accumulate, out),
        Set::Baseline => baseline::<E, Separate>(a, b, n, accumulate, out),
    }
}

/// The columns from `done` on that fill tiles of `2 · L` or `L` columns; returns where it stopped.
#[inline(always)]
fn columns<E: Element, A: Arithmetic, const L: usize, const ROWS: usize>(
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
    mut done: usize,
) -> usize {
    while done + 2 * L <= n {
        rows::<E, A, L, 2, ROWS>(a, b, n, accumulate, out, done);
        done += 2 * L;
    }
    while done + L <= n {
        rows::<E, A, L, 1, ROWS>(a, b, n, accumulate, out, done);
        done += L;
    }
    done
}

/// All rows of `V · L` columns.
#[inline(always)]
fn rows<E: Element, A: Arithmetic, const L: usize, const V: usize, const ROWS: usize>(
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
    col: usize,
) {
    let mut row = 0;
    while row + ROWS <= a.rows {
        tile::<E, A, L, V, ROWS>(a, b, n, accumulate, out, row, col);
        row += ROWS;
    }
    while row + 4 <= a.rows {
        tile::<E, A, L, V, 4>(a, b, n, accumulate, out, row, col);
        row += 4;
    }
    while row < a.rows {
        tile::<E, A, L, V, 1>(a, b, n, accumulate, out, row, col);
        row += 1;
    }
}

/// `R` rows of `V · L` columns, at `row` and `col`.
#[inline(always)]
fn tile<E: Element, A: Arithmetic, const L: usize, const V: usize, const R: usize>(
    a: Matrix<E>,
    b: &[E],
    n: usize,
    accumulate: bool,
    out: &mut [f32],
    row: usize,
    col: usize,
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
                E::add_products::<A, L>(&mut sums[v], left, &right[v]);
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
    use crate::element::Pair;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition_in_every_orientation() {
        // Every remainder of rows and columns by the tiles of every level.
        let mut sizes = vec![(64, 24, 16), (33, 17, 100), (2, 40, 0), (0, 3, 4), (13, 95, 9)];
        sizes.extend((1..=25).map(|m| (m, 40, 3)));
        sizes.extend((1..=67).map(|n| (13, n, 5)));
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
    fn a_weight_as_it_lies_gives_the_same_product() {
        for (m, n, c_in, part) in [
            (1, 1, 1, 0..1),
            (4, 8, 16, 0..16),
            (5, 7, 40, 3..33),
            (16, 13, 33, 0..33),
            (50, 9, 24, 8..24),
            (3, 4, 5, 2..2),
        ] {
            let (xs, weight) = (values(m * part.len(), 1), values(n * c_in, 2));
            for level in Level::available() {
                let mut out = vec![f32::NAN; m * n];
                matmul_weight(level, &xs, &weight, (n, c_in), part.clone(), &mut out);
                for (i, out) in out.chunks(n).enumerate() {
                    for (j, out) in out.iter().enumerate() {
                        let xs = &xs[i * part.len()..(i + 1) * part.len()];
                        let weight = &weight[j * c_in..(j + 1) * c_in][part.clone()];
                        let expected: f64 = xs.iter().zip(weight).map(|(x, w)| f64::from(x * w)).sum();
                        assert!((f64::from(*out) - expected).abs() < 1e-5, "{m} × {n} of {part:?}, {level}");
                    }
                }
            }
        }
    }

    #[test]
    fn transposing_exchanges_rows_and_columns() {
        assert_eq!(transposed(&[1., 2., 3., 4., 5., 6.], 2, 3), [1., 4., 2., 5., 3., 6.]);
        for (rows, cols, part) in [(8, 8, 0..8), (19, 33, 3..30), (24, 16, 8..16), (5, 40, 0..40), (7, 3, 1..1)] {
            let data = values(rows * cols, 1);
            for level in Level::available() {
                let mut out = vec![f32::NAN; rows * part.len()];
                transpose(level, &data, cols, part.clone(), &mut out);
                for (i, col) in part.clone().enumerate() {
                    for row in 0..rows {
                        assert_eq!(out[i * rows + row], data[row * cols + col], "{rows} × {cols}, {level}");
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
