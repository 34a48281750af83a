//! From sums of products to bytes.

use super::super::Epilogue;
#[cfg(target_arch = "aarch64")]
use crate::simd::Set;
use crate::simd::{ByteIsa, Level};

/// What bytes stand for: `scale · (byte - zero_point)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// What a step stands for.
    pub scale: f32,
    /// The byte that stands for 0.
    pub zero_point: u8,
}

/// What is done to a sum: an activation, and how the result is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The activation.
    pub epilogue: Epilogue,
    /// How the result is kept.
    pub affine: Affine,
}

impl Affine {
    /// The nearest byte.
    #[must_use]
    pub fn byte(&self, value: f32) -> u8 {
        (value * (1. / self.scale) + f32::from(self.zero_point)).round_ties_even() as u8
    }

    /// What a byte stands for.
    #[must_use]
    pub fn value(&self, byte: u8) -> f32 {
        self.scale * (f32::from(byte) - f32::from(self.zero_point))
    }

    /// A register of bytes as what they stand for.
    #[inline(always)]
    pub(super) fn values<I: ByteIsa, const L: usize>(&self, isa: I, bytes: [u8; L]) -> [f32; L] {
        let centered = isa.add(isa.floats_of_bytes(bytes), [-f32::from(self.zero_point); L]);
        isa.mul(centered, [self.scale; L])
    }

    /// The nearest bytes.
    #[inline(always)]
    pub(super) fn bytes<I: ByteIsa, const L: usize>(&self, isa: I, values: [f32; L]) -> [u8; L] {
        isa.bytes(isa.add(isa.mul(values, [1. / self.scale; L]), [f32::from(self.zero_point); L]))
    }
}

/// What sums of some channels stand for: `scale · sum + bias`.
#[derive(Clone, Copy)]
pub(super) struct Scales<'a> {
    pub(super) scale: &'a [f32],
    pub(super) bias: &'a [f32],
    /// What a sum starts from where 128 is taken from each byte of the left; else there is none.
    pub(super) starts: &'a [i32],
}

/// Whether products take 128 from each byte of the left.
#[cfg(target_arch = "aarch64")]
pub(super) fn is_signed(level: Level) -> bool {
    matches!(level.set(), Set::NeonDot(_))
}
#[cfg(not(target_arch = "aarch64"))]
pub(super) fn is_signed(_: Level) -> bool {
    false
}

/// What 128 less in each byte of the left takes from a sum.
pub(super) fn start(weights: impl Iterator<Item = i8>) -> i32 {
    128 * weights.map(i32::from).sum::<i32>()
}

/// The scale and the bias of a sum of products: what a product of two steps stands for, and the bias less what the zero point
/// adds to every sum.
pub(super) fn scale_and_bias(input: Affine, scale: f32, weights: impl Iterator<Item = i8>, bias: f32) -> (f32, f32) {
    let sum: i64 = weights.map(i64::from).sum();
    let scale = input.scale * scale;
    (scale, (f64::from(bias) - f64::from(scale) * f64::from(input.zero_point) * sum as f64) as f32)
}
