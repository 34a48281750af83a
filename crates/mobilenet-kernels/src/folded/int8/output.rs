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
        isa.bytes_between(0., 255., self.steps(isa, values))
    }

    /// The nearest bytes, as numbers.
    #[inline(always)]
    pub(super) fn numbers<I: ByteIsa, const L: usize>(&self, isa: I, values: [f32; L]) -> [f32; L] {
        isa.numbers_between(0., 255., self.steps(isa, values))
    }

    #[inline(always)]
    fn steps<I: ByteIsa, const L: usize>(&self, isa: I, values: [f32; L]) -> [f32; L] {
        isa.add(isa.mul(values, [1. / self.scale; L]), [f32::from(self.zero_point); L])
    }
}

/// A clamp and the way to bytes in one: sums go from the products to bytes without being numbers of the network in between.
#[derive(Clone, Copy)]
pub(super) struct ByteClamp {
    inverse: f32,
    zero_point: f32,
    low: f32,
    high: f32,
}

impl Output {
    /// What becomes of a sum that stands for `scale · sum + bias`, as kernels do it where nothing is added to it afterwards.
    #[cfg(test)]
    pub(super) fn byte(&self, sum: i32, scale: f32, bias: f32) -> u8 {
        match self.clamp() {
            Some(clamp) => {
                let value = sum as f32 * (scale * clamp.inverse) + (bias * clamp.inverse + clamp.zero_point);
                value.clamp(clamp.low, clamp.high).round_ties_even() as u8
            }
            None => self.affine.byte(self.epilogue.value(sum as f32 * scale + bias)),
        }
    }

    /// If the activation is a clamp.
    pub(super) fn clamp(&self) -> Option<ByteClamp> {
        ByteClamp::new(&self.epilogue, self.affine)
    }
}

impl ByteClamp {
    pub(super) fn new(epilogue: &Epilogue, to: Affine) -> Option<Self> {
        let Epilogue::Clamp { low, high } = epilogue else { return None };
        let (inverse, zero_point) = (1. / to.scale, f32::from(to.zero_point));
        let [low, high] = [low, high].map(|limit| (limit * inverse + zero_point).clamp(0., 255.));
        Some(Self { inverse, zero_point, low, high })
    }

    /// Scale and bias of sums, so that they give bytes.
    #[inline(always)]
    pub(super) fn scale_and_bias<I: ByteIsa, const L: usize>(
        self,
        isa: I,
        scale: [f32; L],
        bias: [f32; L],
    ) -> ([f32; L], [f32; L]) {
        let bias = isa.add(isa.mul(bias, [self.inverse; L]), [self.zero_point; L]);
        (isa.mul(scale, [self.inverse; L]), bias)
    }

    /// The bytes of sums to which scale and bias were applied.
    #[inline(always)]
    pub(super) fn bytes<I: ByteIsa, const L: usize>(self, isa: I, values: [f32; L]) -> [u8; L] {
        isa.bytes_between(self.low, self.high, values)
    }

    /// The same as numbers.
    #[inline(always)]
    pub(super) fn numbers<I: ByteIsa, const L: usize>(self, isa: I, values: [f32; L]) -> [f32; L] {
        isa.numbers_between(self.low, self.high, values)
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
