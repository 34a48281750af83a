//! 1×1 convolutions: products of matrices over all pixels.
//!
//! With `rows = n·h·w` pixels, `xs` is `[rows, c_in]`, `ys` is `[rows, c_out]` and `weight` is `[c_out, c_in]`:
//!
//! ```text
//! ys      = xs · weightᵀ
//! gxs     = gys · weight
//! gweight = gysᵀ · xs
//! ```

use crate::matmul::{Sizes, ab_at, abt_at, atb_at};
use crate::simd::Level;

/// `ys = xs · weightᵀ`
pub fn forward(xs: &[f32], weight: &[f32], c_in: usize, c_out: usize, ys: &mut [f32]) {
    forward_at(Level::best(), xs, weight, c_in, c_out, ys);
}

fn forward_at(level: Level, xs: &[f32], weight: &[f32], c_in: usize, c_out: usize, ys: &mut [f32]) {
    abt_at(level, xs, weight, Sizes { rows: xs.len() / c_in, inner: c_in, columns: c_out }, ys);
}

/// `gxs = gys · weight`
pub fn backward_input(gys: &[f32], weight: &[f32], c_in: usize, c_out: usize, gxs: &mut [f32]) {
    backward_input_at(Level::best(), gys, weight, c_in, c_out, gxs);
}

fn backward_input_at(level: Level, gys: &[f32], weight: &[f32], c_in: usize, c_out: usize, gxs: &mut [f32]) {
    ab_at(level, gys, weight, Sizes { rows: gys.len() / c_out, inner: c_out, columns: c_in }, gxs);
}

/// `gweight = gysᵀ · xs`
pub fn backward_weight(xs: &[f32], gys: &[f32], c_in: usize, c_out: usize, gweight: &mut [f32]) {
    backward_weight_at(Level::best(), xs, gys, c_in, c_out, gweight);
}

fn backward_weight_at(level: Level, xs: &[f32], gys: &[f32], c_in: usize, c_out: usize, gweight: &mut [f32]) {
    atb_at(level, gys, xs, Sizes { rows: c_out, inner: xs.len() / c_in, columns: c_in }, gweight);
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
            let (mut e_ys, mut e_gxs) = (vec![0f64; gys.len()], vec![0f64; xs.len()]);
            let mut e_gweight = vec![0f64; weight.len()];
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
            for level in Level::available() {
                let [mut ys, mut gxs, mut gweight] = [gys.len(), xs.len(), weight.len()].map(|len| vec![f32::NAN; len]);
                forward_at(level, &xs, &weight, c_in, c_out, &mut ys);
                backward_input_at(level, &gys, &weight, c_in, c_out, &mut gxs);
                backward_weight_at(level, &xs, &gys, c_in, c_out, &mut gweight);
                for (name, got, expected) in
                    [("ys", &ys, &e_ys), ("gxs", &gxs, &e_gxs), ("gweight", &gweight, &e_gweight)]
                {
                    for (g, e) in got.iter().zip(expected) {
                        let is_close = (f64::from(*g) - e).abs() < 1e-4 * (1. + e.abs());
                        assert!(is_close, "{name} {rows} {c_in} {c_out}, {level}: {g} {e}");
                    }
                }
            }
        }
    }
}
