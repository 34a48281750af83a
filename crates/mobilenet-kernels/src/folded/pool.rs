//! Means over pixels, and channels scaled by gates.

use super::Crew;
use super::shards::Shards;
use crate::pool::{scale_rows, sum_rows};
use crate::simd::Level;

/// `means[i, c] = Σ_strip sums[i, strip, c] / pixels`
///
/// # Panics
/// A slice has another length.
pub fn means_of_sums(sums: &[f32], strips: usize, pixels: usize, c: usize, means: &mut [f32]) {
    assert_eq!(sums.len(), means.len() * strips, "sums of {strips} strips");
    for (sums, means) in sums.chunks_exact(strips * c).zip(means.chunks_exact_mut(c)) {
        means.fill(0.);
        for strip in sums.chunks_exact(c) {
            means.iter_mut().zip(strip).for_each(|(mean, sum)| *mean += sum);
        }
        means.iter_mut().for_each(|mean| *mean /= pixels as f32);
    }
}

/// `means[i, c] = Σ_p xs[i, p, c] / pixels`
///
/// # Panics
/// A slice has another length.
pub fn means(level: Level, xs: &[f32], pixels: usize, c: usize, means: &mut [f32]) {
    assert_eq!(xs.len(), means.len() * pixels, "images of {pixels} pixels");
    for (xs, means) in xs.chunks_exact(pixels * c).zip(means.chunks_exact_mut(c)) {
        means.fill(0.);
        sum_rows(level, xs, means);
        means.iter_mut().for_each(|mean| *mean /= pixels as f32);
    }
}

/// `ys[i, p, c] *= gates[i, c]`
///
/// # Panics
/// A slice has another length.
pub fn scale_channels(crew: Crew, level: Level, gates: &[f32], pixels: usize, c: usize, ys: &mut [f32]) {
    assert_eq!(ys.len(), gates.len() * pixels, "images of {pixels} pixels");
    let n = gates.len() / c;
    let blocks = if n >= crew.threads() { 1 } else { crew.threads().min(pixels) };
    let to = Shards::new(ys);
    crew.run(n * blocks, &|_, task| {
        let (image, block) = (task / blocks, task % blocks);
        let (first, end) = (block * pixels / blocks, (block + 1) * pixels / blocks);
        // SAFETY: these pixels are this task's alone.
        let ys = unsafe { to.values((image * pixels + first) * c, (end - first) * c) };
        scale_rows(level, &gates[image * c..(image + 1) * c], ys);
    });
}
