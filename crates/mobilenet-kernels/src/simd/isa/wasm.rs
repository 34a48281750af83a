//! Arithmetic on bytes with WebAssembly's 128-bit SIMD, where the compiler does not find the instructions by itself. A
//! module that was built with them is not loaded where they are missing, so that they need no proof.

use std::arch::wasm32::*;
use std::mem::transmute_copy;

use super::bytes::{dot_pairs, kept};
use super::{Baseline, ByteIsa};

impl ByteIsa for Baseline {
    const STEP: usize = 2;

    #[inline(always)]
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
        if L != 4 {
            return dot_pairs(sums, left, right);
        }
        // SAFETY: `L` is 4: all are the 16 bytes of a register, any bits of which are valid.
        unsafe {
            let products = i32x4_dot_i16x8(transmute_copy(&left), transmute_copy(&right));
            *sums = transmute_copy(&i32x4_add(transmute_copy(sums), products));
        }
    }

    #[inline(always)]
    fn floats_of_bytes<const L: usize>(self, bytes: [u8; L]) -> [f32; L] {
        if L != 4 {
            return bytes.map(f32::from);
        }
        // SAFETY: `L` is 4: the bytes are a word, the numbers the 16 bytes of a register; any bits are valid.
        unsafe {
            let words = u16x8_extend_low_u8x16(u32x4_splat(transmute_copy(&bytes)));
            transmute_copy(&f32x4_convert_u32x4(u32x4_extend_low_u16x8(words)))
        }
    }

    #[inline(always)]
    fn bytes_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [u8; L] {
        let numbers = self.numbers_between(low, high, values);
        if L != 4 {
            return numbers.map(|value| value as u8);
        }
        // SAFETY: as above. The limits are a byte's, so that no narrowing cuts anything off.
        unsafe {
            let words = i32x4_trunc_sat_f32x4(transmute_copy(&numbers));
            let halves = i16x8_narrow_i32x4(words, words);
            transmute_copy(&u32x4_extract_lane::<0>(u8x16_narrow_i16x8(halves, halves)))
        }
    }

    #[inline(always)]
    fn numbers_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [f32; L] {
        if L != 4 {
            return kept(low, high, values).map(f32::round_ties_even);
        }
        // SAFETY: `L` is 4: all are the 16 bytes of a register, any bits of which are valid. Of a NaN the maximum is the limit.
        unsafe {
            let values = f32x4_pmin(f32x4_splat(high), f32x4_pmax(f32x4_splat(low), transmute_copy(&values)));
            transmute_copy(&f32x4_nearest(values))
        }
    }
}
