//! 1×1 convolutions: products of matrices over all pixels.
//!
//! With `rows = n·h·w` pixels, `xs` is `[rows, c_in]`, `ys` is `[rows, c_out]` and `weight` is `[c_out, c_in]`:
//!
//! ```text
//! ys      = xs · weightᵀ
//! gxs     = gys · weight
//! gweight = gysᵀ · xs
//! ```

use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{add_up_into, for_parts, map_parts, rows_per_part};
use crate::simd::Level;

/// `ys = xs · weightᵀ`
pub fn forward(xs: &[f32], weight: &[f32], c_in: usize, c_out: usize, ys: &mut [f32]) {
    assert_eq!(xs.len() * c_out, ys.len() * c_in, "pixels of xs and ys");
    let weight = transposed(weight, c_out, c_in);
    for_parts(ys, c_out, rows_per_part(c_in.max(c_out)), |first, ys| {
        let rows = ys.len() / c_out;
        let xs = &xs[first * c_in..(first + rows) * c_in];
        matmul(Level::best(), Matrix::new(xs, rows, c_in), &weight, c_out, false, ys);
    });
}

/// `gxs = gys · weight`
pub fn backward_input(gys: &[f32], weight: &[f32], c_in: usize, c_out: usize, gxs: &mut [f32]) {
    assert_eq!(gxs.len() * c_out, gys.len() * c_in, "pixels of gxs and gys");
    for_parts(gxs, c_in, rows_per_part(c_in.max(c_out)), |first, gxs| {
        let rows = gxs.len() / c_in;
        let gys = &gys[first * c_out..(first + rows) * c_out];
        matmul(Level::best(), Matrix::new(gys, rows, c_out), weight, c_in, false, gxs);
    });
}

/// `gweight = gysᵀ · xs`
pub fn backward_weight(xs: &[f32], gys: &[f32], c_in: usize, c_out: usize, gweight: &mut [f32]) {
    assert_eq!(gweight.len(), c_out * c_in, "weights");
    assert_eq!(xs.len() * c_out, gys.len() * c_in, "pixels of xs and gys");
    let rows = xs.len() / c_in;
    // A part's product is as large as the weight: few and large parts, so that adding them up costs little.
    let per_part = rows.div_ceil(8).max(256);
    let parts = map_parts(rows, per_part, |r| {
        let (xs, gys) = (&xs[r.start * c_in..r.end * c_in], &gys[r.start * c_out..r.end * c_out]);
        let mut part = vec![0.; c_out * c_in];
        matmul(Level::best(), Matrix::new(gys, r.len(), c_out).t(), xs, c_in, false, &mut part);
        part
    });
    add_up_into(&parts, gweight);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition() {
        for (rows, c_in, c_out) in [(1, 1, 1), (7, 3, 5), (600, 16, 24), (5000, 9, 17)] {
            let (xs, weight) = (values(rows * c_in, 1), values(c_in * c_out, 2));
            let gys = values(rows * c_out, 3);
            let mut ys = vec![0.; rows * c_out];
            let mut gxs = vec![0.; rows * c_in];
            let mut gweight = vec![0.; c_in * c_out];
            forward(&xs, &weight, c_in, c_out, &mut ys);
            backward_input(&gys, &weight, c_in, c_out, &mut gxs);
            backward_weight(&xs, &gys, c_in, c_out, &mut gweight);

            let (mut e_ys, mut e_gxs) = (vec![0f64; ys.len()], vec![0f64; gxs.len()]);
            let mut e_gweight = vec![0f64; gweight.len()];
            for r in 0..rows {
                for o in 0..c_out {
                    for i in 0..c_in {
                        let (x, w) = (f64::from(xs[r * c_in + i]), f64::from(weight[o * c_in + i]));
                        let gy = f64::from(gys[r * c_out + o]);
                        e_ys[r * c_out + o] += x * w;
                        e_gxs[r * c_in + i] += gy * w;
                        e_gweight[o * c_in + i] += gy * x;
                    }
                }
            }
            for (name, got, expected) in [("ys", &ys, &e_ys), ("gxs", &gxs, &e_gxs), ("gweight", &gweight, &e_gweight)]
            {
                for (g, e) in got.iter().zip(expected) {
                    assert!((f64::from(*g) - e).abs() < 1e-4 * (1. + e.abs()), "{name} {rows} {c_in} {c_out}: {g} {e}");
                }
            }
        }
    }
}
