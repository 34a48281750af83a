//! Products of row-major and transposed float32 matrices, over the `gemm` crate: it picks its instruction set at run time.

use gemm::Parallelism;

/// A matrix in a slice: `rows × cols`, row-major, or the transpose of such a one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: isize,
    col_stride: isize,
}

impl<'a> Matrix<'a> {
    /// The row-major `rows × cols` matrix of `data`.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a {rows} × {cols} matrix");
        Self { data, rows, cols, row_stride: cols as isize, col_stride: 1 }
    }

    /// The same values, rows and columns exchanged.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// `out = a · b`, row-major, on the calling thread.
pub(crate) fn matmul(a: Matrix, b: Matrix, out: &mut [f32]) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "inner sizes");
    assert_eq!(out.len(), m * n, "a {m} × {n} product");
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: `Matrix` is made from a slice of exactly rows · cols values, and transposing exchanges sizes and strides
    // together, so every index the product reads lies in `a.data` or `b.data`; `out` has m · n values and is borrowed
    // exclusively, so it overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a.col_stride,
            a.row_stride,
            b.data.as_ptr(),
            b.col_stride,
            b.row_stride,
            0.,
            1.,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition_in_every_orientation() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (64, 24, 16), (33, 17, 100), (2, 40, 0)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            for (a, b) in [
                (Matrix::new(&a, m, k), Matrix::new(&b, k, n)),
                (Matrix::new(&a, k, m).t(), Matrix::new(&b, k, n)),
                (Matrix::new(&a, m, k), Matrix::new(&b, n, k).t()),
            ] {
                let at = |m: Matrix, i: usize, j: usize| {
                    f64::from(m.data[i * m.row_stride as usize + j * m.col_stride as usize])
                };
                let mut out = vec![f32::NAN; m * n];
                matmul(a, b, &mut out);
                for i in 0..m {
                    for j in 0..n {
                        let expected: f64 = (0..k).map(|l| at(a, i, l) * at(b, l, j)).sum();
                        assert!((f64::from(out[i * n + j]) - expected).abs() < 1e-5, "{m} {n} {k}: {i}, {j}");
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
    #[should_panic(expected = "a 2 × 2 product")]
    fn an_output_of_another_length_is_refused() {
        let ab = [0.; 6];
        matmul(Matrix::new(&ab, 2, 3), Matrix::new(&ab, 3, 2), &mut [0.; 3]);
    }
}
