//! Means over pixels of bytes, channels scaled by gates, and the ways from and to float32.

use super::super::Crew;
use super::super::shards::Shards;
use super::output::Affine;
use crate::simd::{ByteIsa, Level, for_each_byte_level, load, store};

/// `means[i, c]`: what the mean of a channel's bytes stands for, of their sums over strips.
///
/// # Panics
/// A slice has another length.
pub fn means_of_sums(sums: &[u32], strips: usize, pixels: usize, c: usize, affine: Affine, means: &mut [f32]) {
    assert_eq!(sums.len(), means.len() * strips, "sums of {strips} strips");
    for (sums, means) in sums.chunks_exact(strips * c).zip(means.chunks_exact_mut(c)) {
        for (channel, mean) in means.iter_mut().enumerate() {
            let sum: u64 = sums.iter().skip(channel).step_by(c).map(|sum| u64::from(*sum)).sum();
            *mean = affine.scale * (sum as f32 / pixels as f32 - f32::from(affine.zero_point));
        }
    }
}

/// `means[i, c]`: what the mean of a channel's bytes over the pixels stands for.
///
/// # Panics
/// A slice has another length.
pub fn means(xs: &[u8], pixels: usize, c: usize, affine: Affine, means: &mut [f32]) {
    assert_eq!(xs.len(), means.len() * pixels, "images of {pixels} pixels");
    for (xs, means) in xs.chunks_exact(pixels * c).zip(means.chunks_exact_mut(c)) {
        means.fill(0.);
        // Sums of bytes are exact in float32 up to 2^24: 65,000 pixels.
        for pixel in xs.chunks_exact(c) {
            means.iter_mut().zip(pixel).for_each(|(sum, byte)| *sum += f32::from(*byte));
        }
        for mean in means {
            *mean = affine.scale * (*mean / pixels as f32 - f32::from(affine.zero_point));
        }
    }
}

/// The nearest bytes.
///
/// # Panics
/// The slices differ in length.
pub fn quantize(level: Level, values: &[f32], affine: Affine, bytes: &mut [u8]) {
    assert_eq!(values.len(), bytes.len(), "values and bytes");
    quantized(level, values, affine, bytes);
}

for_each_byte_level! {
    fn quantized(values: &[f32], affine: Affine, bytes: &mut [u8]) = quantized_body
}

#[inline(always)]
fn quantized_body<I: ByteIsa, const L: usize>(isa: I, values: &[f32], affine: Affine, bytes: &mut [u8]) {
    let ((values, rest), (blocks, last)) = (values.as_chunks::<L>(), bytes.as_chunks_mut::<L>());
    blocks.iter_mut().zip(values).for_each(|(block, values)| *block = affine.bytes(isa, *values));
    last.iter_mut().zip(rest).for_each(|(byte, value)| *byte = affine.byte(*value));
}

/// What bytes stand for.
///
/// # Panics
/// The slices differ in length.
pub fn dequantize(bytes: &[u8], affine: Affine, values: &mut [f32]) {
    assert_eq!(values.len(), bytes.len(), "values and bytes");
    values.iter_mut().zip(bytes).for_each(|(value, byte)| *value = affine.value(*byte));
}

/// `ys[i, p, c]`, which stands for what `from` says, times `gates[i, c]`, kept as `to` says.
///
/// # Panics
/// A slice has another length.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
pub fn scale_channels(
    crew: Crew,
    level: Level,
    gates: &[f32],
    pixels: usize,
    c: usize,
    from: Affine,
    to: Affine,
    ys: &mut [u8],
) {
    assert_eq!(ys.len(), gates.len() * pixels, "images of {pixels} pixels");
    let n = gates.len() / c;
    let blocks = if n >= crew.threads() { 1 } else { crew.threads().min(pixels) };
    let shards = Shards::new(ys);
    crew.run(n * blocks, &|_, task| {
        let (image, block) = (task / blocks, task % blocks);
        let (first, end) = (block * pixels / blocks, (block + 1) * pixels / blocks);
        // SAFETY: these pixels are this task's alone.
        let ys = unsafe { shards.values((image * pixels + first) * c, (end - first) * c) };
        scale(level, &gates[image * c..(image + 1) * c], from, to, ys);
    });
}

for_each_byte_level! {
    fn scale(gates: &[f32], from: Affine, to: Affine, ys: &mut [u8]) = scale_body
}

#[inline(always)]
fn scale_body<I: ByteIsa, const L: usize>(isa: I, gates: &[f32], from: Affine, to: Affine, ys: &mut [u8]) {
    for row in ys.chunks_exact_mut(gates.len()) {
        let mut at = 0;
        while at + L <= gates.len() {
            let values: [f32; L] = isa.mul(from.values(isa, load(row, at)), load(gates, at));
            store(row, at, to.bytes(isa, values));
            at += L;
        }
        for (byte, gate) in row[at..].iter_mut().zip(&gates[at..]) {
            *byte = to.byte(from.value_as_kernels(*byte) * gate);
        }
    }
}

impl Affine {
    /// [`value`](Self::value) in the order of operations of the kernels.
    fn value_as_kernels(&self, byte: u8) -> f32 {
        (f32::from(byte) - f32::from(self.zero_point)) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Team;
    use super::super::product::tests::bytes;
    use super::*;
    use crate::parallel::tests::values;

    #[test]
    fn agrees_with_the_definition_at_every_level() {
        let team = Team::new(2).unwrap();
        let (from, to) = (Affine { scale: 0.1, zero_point: 20 }, Affine { scale: 0.04, zero_point: 128 });
        for (n, pixels, c) in [(1, 9, 40), (3, 4, 17), (1, 1, 3)] {
            let (xs, gates) = (bytes(n * pixels * c, 1), values(n * c, 2));
            let mut expected = Vec::new();
            for i in 0..n * pixels {
                for ch in 0..c {
                    expected.push(to.byte((f32::from(xs[i * c + ch]) - 20.) * 0.1 * gates[i / pixels * c + ch]));
                }
            }
            for level in Level::available() {
                for crew in [Crew::Solo, Crew::Team(&team)] {
                    let mut ys = xs.clone();
                    scale_channels(crew, level, &gates, pixels, c, from, to, &mut ys);
                    assert_eq!(ys, expected, "{level}");
                }
            }
            let mut found = vec![f32::NAN; n * c];
            means(&xs, pixels, c, from, &mut found);
            for (i, found) in found.iter().enumerate() {
                let of = |p: usize| from.value(xs[(i / c * pixels + p) * c + i % c]);
                let expected = (0..pixels).map(of).sum::<f32>() / pixels as f32;
                assert!((found - expected).abs() < 1e-4, "{found} {expected}");
            }
            let mut back = vec![0.; xs.len()];
            dequantize(&xs, from, &mut back);
            for level in Level::available() {
                let mut again = vec![0; xs.len()];
                quantize(level, &back, from, &mut again);
                assert_eq!(again, xs, "{level}");
            }
        }
    }
}
