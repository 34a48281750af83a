//! Rows and columns exchanged.

use std::ops::Range;

use crate::simd::{Isa, Level, for_each_level, load, store};

/// The transpose of the row-major `rows × cols` matrix `data`, row-major: what a weight must be to stand on the right.
pub(crate) fn transposed(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    transposed_columns(data, rows, cols, 0..cols)
}

/// The transpose of some columns of `data`.
pub(super) fn transposed_columns(data: &[f32], rows: usize, cols: usize, part: Range<usize>) -> Vec<f32> {
    assert_eq!(data.len(), rows * cols, "a {rows} × {cols} matrix");
    let mut out = vec![0.; rows * part.len()];
    transpose(Level::best(), data, cols, part, &mut out);
    out
}

for_each_level! {
    /// Writes the transpose of some columns of the matrix `data`, which has `cols` of them.
    pub(crate) fn transpose(data: &[f32], cols: usize, part: Range<usize>, out: &mut [f32]) = transpose_body
}

/// Square blocks, each in registers.
#[inline(always)]
fn transpose_body<I: Isa>(_: I, data: &[f32], cols: usize, part: Range<usize>, out: &mut [f32]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

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
}
