//! Products with a layer's weight, which stands on the right transposed.

use std::ops::Range;

use super::transpose::transposed_columns;
use super::{Matrix, matmul};
use crate::simd::{Isa, Level, for_each_level};

/// With no more rows than this, dot products with a weight as it lies cost less than to transpose it first.
pub(crate) const FEW_ROWS: usize = 32;

/// `out = xs · weightᵀ`, the weight being `[c_out, c_in]` as layers keep it, of which only the columns `part` are
/// taken: as many as `xs` has. For a weight that serves many products, [`transposed`] and [`matmul`] spare the choice
/// and the copy.
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
fn dots_body<I: Isa, const L: usize>(
    isa: I,
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
        dot_rows::<I, L, 4>(isa, &xs[row * k..], k, weight, stride, n, &mut out[row * n..]);
        row += 4;
    }
    while row < m {
        dot_rows::<I, L, 1>(isa, &xs[row * k..], k, weight, stride, n, &mut out[row * n..]);
        row += 1;
    }
}

/// `R` rows of dot products.
#[inline(always)]
fn dot_rows<I: Isa, const L: usize, const R: usize>(
    isa: I,
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
        dot_tile::<I, L, R, 4>(isa, xs, weights, k, n, &mut out[col..]);
        col += 4;
    }
    while col < n {
        dot_tile::<I, L, R, 1>(isa, xs, [&weight[col * stride..][..k]], k, n, &mut out[col..]);
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
fn dot_tile<I: Isa, const L: usize, const R: usize, const C: usize>(
    isa: I,
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
                isa.add_products(&mut sums[r][c], left[r], right);
            }
        }
    }
    for (r, x) in xs.iter().enumerate() {
        for (c, weight) in weights.iter().enumerate() {
            let mut sum = total(sums[r][c]);
            for i in blocks * L..k {
                sum = isa.mul_add(x[i], weight[i], sum);
            }
            out[r * n + c] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

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
}
