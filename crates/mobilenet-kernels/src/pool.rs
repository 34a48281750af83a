//! Global average pooling, and scaling channels by gates: the two ends of squeeze-and-excite.
//!
//! Images are `[n, pixels, c]`, means and gates `[n, c]`.

use crate::parallel::for_parts;
use crate::simd::{Isa, Level, for_each_level};

/// `means[i, c] = Σ_p xs[i, p, c] / pixels`
pub fn mean(xs: &[f32], pixels: usize, c: usize, means: &mut [f32]) {
    assert_eq!(xs.len(), means.len() * pixels);
    let level = Level::best();
    for_parts(means, c, 1, |i, means| {
        means.fill(0.);
        sum_rows(level, &xs[i * pixels * c..(i + 1) * pixels * c], means);
        means.iter_mut().for_each(|m| *m /= pixels as f32);
    });
}

/// `gxs[i, p, c] = gmeans[i, c] / pixels`
pub fn mean_backward(gmeans: &[f32], pixels: usize, c: usize, gxs: &mut [f32]) {
    assert_eq!(gxs.len(), gmeans.len() * pixels);
    for_parts(gxs, pixels * c, 1, |i, gxs| {
        let row: Vec<f32> = gmeans[i * c..(i + 1) * c].iter().map(|g| g / pixels as f32).collect();
        gxs.chunks_exact_mut(c).for_each(|gx| gx.copy_from_slice(&row));
    });
}

/// `ys[i, p, c] = xs[i, p, c] · gates[i, c]`
pub fn scale(xs: &[f32], gates: &[f32], pixels: usize, c: usize, ys: &mut [f32]) {
    assert_eq!(xs.len(), gates.len() * pixels);
    assert_eq!(xs.len(), ys.len());
    let level = Level::best();
    for_parts(ys, pixels * c, 1, |i, ys| {
        ys.copy_from_slice(&xs[i * pixels * c..(i + 1) * pixels * c]);
        scale_rows(level, &gates[i * c..(i + 1) * c], ys);
    });
}

/// `ggates[i, c] = Σ_p xs[i, p, c] · gys[i, p, c]`; the gradient of `xs` is [`scale`] of `gys`.
pub fn scale_backward_gates(xs: &[f32], gys: &[f32], pixels: usize, c: usize, ggates: &mut [f32]) {
    assert_eq!(xs.len(), gys.len());
    assert_eq!(xs.len(), ggates.len() * pixels);
    let level = Level::best();
    for_parts(ggates, c, 1, |i, ggates| {
        let image = i * pixels * c..(i + 1) * pixels * c;
        ggates.fill(0.);
        dot_rows(level, &xs[image.clone()], &gys[image], ggates);
    });
}

for_each_level! {
    /// `sums[c] += Σ_row xs[row, c]`
    pub(crate) fn sum_rows(xs: &[f32], sums: &mut [f32]) = sum_rows_body
}

#[inline(always)]
fn sum_rows_body<I: Isa>(_: I, xs: &[f32], sums: &mut [f32]) {
    for row in xs.chunks_exact(sums.len()) {
        for (s, x) in sums.iter_mut().zip(row) {
            *s += x;
        }
    }
}

for_each_level! {
    /// `sums[c] += Σ_row xs[row, c] · ys[row, c]`
    pub(crate) fn dot_rows(xs: &[f32], ys: &[f32], sums: &mut [f32]) = dot_rows_body
}

#[inline(always)]
fn dot_rows_body<I: Isa>(isa: I, xs: &[f32], ys: &[f32], sums: &mut [f32]) {
    let c = sums.len();
    for (x_row, y_row) in xs.chunks_exact(c).zip(ys.chunks_exact(c)) {
        for ((s, x), y) in sums.iter_mut().zip(x_row).zip(y_row) {
            *s = isa.mul_add(*x, *y, *s);
        }
    }
}

for_each_level! {
    /// `ys[row, c] *= gates[c]`
    pub(crate) fn scale_rows(gates: &[f32], ys: &mut [f32]) = scale_rows_body
}

#[inline(always)]
fn scale_rows_body<I: Isa>(_: I, gates: &[f32], ys: &mut [f32]) {
    for row in ys.chunks_exact_mut(gates.len()) {
        for (y, g) in row.iter_mut().zip(gates) {
            *y *= g;
        }
    }
}

for_each_level! {
    /// `ys += xs`
    pub(crate) fn add_rows(xs: &[f32], ys: &mut [f32]) = add_rows_body
}

#[inline(always)]
fn add_rows_body<I: Isa>(_: I, xs: &[f32], ys: &mut [f32]) {
    for (y, x) in ys.iter_mut().zip(xs) {
        *y += x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition() {
        for (n, pixels, c) in [(1, 1, 1), (3, 16, 24), (2, 49, 7)] {
            let (xs, gys, gates) = (values(n * pixels * c, 1), values(n * pixels * c, 2), values(n * c, 3));
            let [mut means, mut ggates] = [0, 1].map(|_| vec![0.; n * c]);
            let [mut ys, mut gxs] = [0, 1].map(|_| vec![0.; xs.len()]);
            mean(&xs, pixels, c, &mut means);
            mean_backward(&gates, pixels, c, &mut gxs);
            scale(&xs, &gates, pixels, c, &mut ys);
            scale_backward_gates(&xs, &gys, pixels, c, &mut ggates);
            for i in 0..n {
                for ch in 0..c {
                    let at = |p: usize| (i * pixels + p) * c + ch;
                    let sum: f64 = (0..pixels).map(|p| f64::from(xs[at(p)])).sum();
                    let dot: f64 = (0..pixels).map(|p| f64::from(xs[at(p)]) * f64::from(gys[at(p)])).sum();
                    assert!((f64::from(means[i * c + ch]) - sum / pixels as f64).abs() < 1e-5);
                    assert!((f64::from(ggates[i * c + ch]) - dot).abs() < 1e-5);
                    for p in 0..pixels {
                        assert_eq!(ys[at(p)], xs[at(p)] * gates[i * c + ch]);
                        assert_eq!(gxs[at(p)], gates[i * c + ch] / pixels as f32);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_agree_with_the_definition_at_every_level() {
        for (rows, c) in [(0, 3), (1, 1), (5, 16), (7, 35)] {
            let (xs, ys, start) = (values(rows * c, 1), values(rows * c, 2), values(c, 3));
            for level in Level::available() {
                let [mut sums, mut dots] = [0, 1].map(|_| start.clone());
                let [mut scaled, mut added] = [0, 1].map(|_| ys.clone());
                sum_rows(level, &xs, &mut sums);
                dot_rows(level, &xs, &ys, &mut dots);
                scale_rows(level, &start, &mut scaled);
                add_rows(level, &xs, &mut added);
                for ch in 0..c {
                    let column = |values: &[f32]| values.iter().skip(ch).step_by(c).copied().collect::<Vec<_>>();
                    let (x, y) = (column(&xs), column(&ys));
                    let sum = x.iter().fold(start[ch], |sum, x| sum + x);
                    let dot = x.iter().zip(&y).fold(f64::from(start[ch]), |dot, (x, y)| dot + f64::from(*x * *y));
                    assert_eq!(sums[ch], sum, "{rows} × {c}, {level}");
                    assert!((f64::from(dots[ch]) - dot).abs() < 1e-5, "{rows} × {c}, {level}");
                    assert!(column(&scaled).iter().zip(&y).all(|(s, y)| *s == y * start[ch]), "{rows} × {c}, {level}");
                    assert!(column(&added).iter().zip(&x).zip(&y).all(|((s, x), y)| *s == x + y), "{level}");
                }
            }
        }
    }
}
