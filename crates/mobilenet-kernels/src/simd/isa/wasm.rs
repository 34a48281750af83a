//! Arithmetic on bytes with WebAssembly's 128-bit SIMD, where the compiler does not find the instructions by itself. A
//! module that was built with them is not loaded where they are missing, so that they need no proof.

use std::arch::wasm32::*;
use std::mem::transmute_copy;

use super::bytes::dot_pairs;
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
    fn bytes<const L: usize>(self, values: [f32; L]) -> [u8; L] {
        if L != 4 {
            return values.map(|value| value.round_ties_even() as u8);
        }
        // SAFETY: as above. Each narrowing cuts off what is beyond the narrower type; NaN becomes 0 as the first does.
        unsafe {
            let words = i32x4_trunc_sat_f32x4(f32x4_nearest(transmute_copy(&values)));
            let halves = i16x8_narrow_i32x4(words, words);
            transmute_copy(&u32x4_extract_lane::<0>(u8x16_narrow_i16x8(halves, halves)))
        }
    }

    #[inline(always)]
    fn words<const L: usize>(self, rows: [[u8; L]; 4]) -> [u32; L] {
        let [first, second, ..] = rows;
        if L != 4 {
            let mut words = [0; L];
            for l in 0..L {
                words[l] = u32::from(first[l]) | u32::from(second[l]) << 16;
            }
            return words;
        }
        // SAFETY: `L` is 4: each row is a word, the result the 16 bytes of a register; any bits are valid.
        unsafe {
            let (first, second) = (u32x4_splat(transmute_copy(&first)), u32x4_splat(transmute_copy(&second)));
            let pairs = u8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 0, 16, 1, 17, 2, 18, 3, 19>(first, second);
            transmute_copy(&u16x8_extend_low_u8x16(pairs))
        }
    }
}
