//! Instruction sets as values.
//!
//! A value of [`Isa`] is the proof that the processor has the instruction set: its field is private, and only a
//! constructor that asks the processor makes one. Every operation that executes special instructions is a method on
//! such a value, so that code without `unsafe` cannot execute what the processor lacks.

#[cfg(target_arch = "aarch64")]
mod arm;
mod bytes;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::memory::{Streamed, store_streamed};
use crate::bf16::{Pair, rounded_bits};

#[cfg(target_arch = "aarch64")]
pub(crate) use arm::NeonDot;
pub(crate) use bytes::ByteIsa;
pub(crate) use scalar::Baseline;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, AvxVnni};

/// What code that is compiled once for every instruction set leaves to each.
///
/// The default methods are the definitions. An implementation differs from them where the compiler does not find an
/// instruction by itself.
pub trait Isa: Copy + Send + Sync + 'static {
    /// `a * b + c`: fused where the instruction set has it (without it, `f32::mul_add` is a slow call).
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32;

    /// `sums[l] += a[l] · b[l]`. Said by an instruction where lanes must stay lanes: left to itself, the compiler may
    /// make a register of values that lie apart.
    #[inline(always)]
    fn add_products<const L: usize>(self, sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
        add_products(self, sums, a, b);
    }

    /// `a[l] + b[l]`
    #[inline(always)]
    fn add<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        map(a, b, |a, b| a + b)
    }

    /// `a[l] · b[l]`
    #[inline(always)]
    fn mul<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        map(a, b, |a, b| a * b)
    }

    /// The greater of `limit` and `values[l]`, which is kept where it is NaN.
    #[inline(always)]
    fn at_least<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
        values.map(|value| if value < limit { limit } else { value })
    }

    /// The lesser of `limit` and `values[l]`, which is kept where it is NaN.
    #[inline(always)]
    fn at_most<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
        values.map(|value| if value > limit { limit } else { value })
    }

    /// `sums[l] += a.first · b[l].first + a.second · b[l].second`
    #[inline(always)]
    fn add_pair_products<const L: usize>(self, sums: &mut [f32; L], a: Pair, b: &[Pair; L]) {
        add_pair_products(self, sums, a, b);
    }

    /// Writes `block` from `at` on: past the caches where that is possible.
    #[inline(always)]
    fn stream<T: Copy, const L: usize>(self, to: &mut Streamed<T>, at: usize, block: [T; L]) {
        store_streamed(to, at, block);
    }

    /// `values` as bf16.
    #[inline(always)]
    fn to_bf16<const L: usize>(self, values: [f32; L]) -> [u16; L] {
        to_bf16(self, values)
    }

    /// The upper half of each word.
    #[inline(always)]
    fn upper_halves<const L: usize>(self, words: [u32; L]) -> [u16; L] {
        upper_halves(words)
    }

    /// `first` and `second` as pairs.
    #[inline(always)]
    fn to_pairs<const L: usize>(self, first: [f32; L], second: [f32; L]) -> [Pair; L] {
        to_pairs(first, second)
    }
}

#[inline(always)]
fn map<const L: usize>(a: [f32; L], b: [f32; L], f: impl Fn(f32, f32) -> f32) -> [f32; L] {
    let mut values = [0.; L];
    for l in 0..L {
        values[l] = f(a[l], b[l]);
    }
    values
}

#[inline(always)]
fn add_products<I: Isa, const L: usize>(isa: I, sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
    for l in 0..L {
        sums[l] = isa.mul_add(a[l], b[l], sums[l]);
    }
}

#[inline(always)]
fn add_pair_products<I: Isa, const L: usize>(isa: I, sums: &mut [f32; L], a: Pair, b: &[Pair; L]) {
    let [first, second] = a.values();
    for l in 0..L {
        let b = b[l].values();
        sums[l] = isa.mul_add(first, b[0], isa.mul_add(second, b[1], sums[l]));
    }
}

#[inline(always)]
fn to_bf16<I: Isa, const L: usize>(isa: I, values: [f32; L]) -> [u16; L] {
    let mut rounded = [0; L];
    for l in 0..L {
        rounded[l] = rounded_bits(values[l]);
    }
    isa.upper_halves(rounded)
}

#[inline(always)]
fn upper_halves<const L: usize>(words: [u32; L]) -> [u16; L] {
    let mut halves = [0; L];
    for l in 0..L {
        halves[l] = (words[l] >> 16) as u16;
    }
    halves
}

#[inline(always)]
fn to_pairs<const L: usize>(first: [f32; L], second: [f32; L]) -> [Pair; L] {
    let mut pairs = [Pair::default(); L];
    for l in 0..L {
        pairs[l] = Pair::new(first[l], second[l]);
    }
    pairs
}
