//! Arithmetic on bytes, as instruction sets have it.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
use std::mem::transmute_copy;

#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512Vnni, AvxVnni};
use super::{Baseline, Isa};

/// What products of bytes need beside what an [`Isa`] has.
///
/// A step of a sum takes a word of 32 bits from the left and one from the right. Where the instruction set multiplies quads,
/// the left one holds four bytes without a sign, the right one four with a sign; elsewhere both hold two numbers of 16 bits,
/// whose products need no more than 32. All sums are exact, so that every instruction set gives the same: where its products
/// have a sign on both sides, 128 is taken from each byte of the left, and 128 times the right side's sum put back beforehand.
pub(crate) trait ByteIsa: Isa {
    /// Bytes of the left that are multiplied in one step: 4 or 2.
    const STEP: usize;

    /// Whether [`dot`](Self::dot) takes 128 from each byte of the left.
    const IS_SIGNED: bool = false;

    /// `sums[l] += Σ left[l][i] · right[l][i]`
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]);

    /// The nearest float32 numbers.
    #[inline(always)]
    fn floats<const L: usize>(self, values: [i32; L]) -> [f32; L] {
        values.map(|value| value as f32)
    }

    /// Bytes as float32 numbers.
    #[inline(always)]
    fn floats_of_bytes<const L: usize>(self, bytes: [u8; L]) -> [f32; L] {
        bytes.map(f32::from)
    }

    /// The nearest whole numbers, of two as near the even one, of values that are first kept between two limits, themselves
    /// from 0 to 255. NaN gives the lower one.
    #[inline(always)]
    fn bytes_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [u8; L] {
        // The last bits of the sum are the whole number.
        kept(low, high, values).map(|value| (value + WHOLE).to_bits() as u8)
    }

    /// The same as float32 numbers.
    #[inline(always)]
    fn numbers_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [f32; L] {
        kept(low, high, values).map(|value| value + WHOLE - WHOLE)
    }

    /// Bytes of four rows, side by side in words.
    #[inline(always)]
    fn words<const L: usize>(self, [a, b, c, d]: [[u8; L]; 4]) -> [u32; L] {
        let mut words = [0; L];
        for l in 0..L {
            words[l] = u32::from_le_bytes([a[l], b[l], c[l], d[l]]);
        }
        words
    }
}

/// A float32 number from which on, and for 2^22 more, only whole ones follow: what is added to it is rounded to the nearest.
const WHOLE: f32 = 12_582_912.;

/// The lower limit where it is NaN.
#[inline(always)]
pub(super) fn kept<const L: usize>(low: f32, high: f32, values: [f32; L]) -> [f32; L] {
    values.map(|value| {
        let above = if value > low { value } else { low };
        if above < high { above } else { high }
    })
}

/// Two products of a word.
#[inline(always)]
pub(super) fn dot_pairs<const L: usize>(sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
    let halves = |word: u32| (i32::from(word as i16), word.cast_signed() >> 16);
    for l in 0..L {
        let ((a, b), (c, d)) = (halves(left[l]), halves(right[l]));
        sums[l] += a * c + b * d;
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
impl ByteIsa for Baseline {
    const STEP: usize = 2;

    #[inline(always)]
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
        dot_pairs(sums, left, right);
    }
}

#[cfg(target_arch = "x86_64")]
macro_rules! conversions {
    (8) => {
        #[inline(always)]
        fn floats<const L: usize>(self, values: [i32; L]) -> [f32; L] {
            if L != 8 {
                return values.map(|value| value as f32);
            }
            // SAFETY: `L` is 8: both are the 32 bytes of a register, any bits of which are valid. `self` proves AVX.
            unsafe { transmute_copy(&_mm256_cvtepi32_ps(transmute_copy(&values))) }
        }

        #[inline(always)]
        fn floats_of_bytes<const L: usize>(self, bytes: [u8; L]) -> [f32; L] {
            if L != 8 {
                return bytes.map(f32::from);
            }
            // SAFETY: `L` is 8: the bytes are 8, the numbers the 32 bytes of a register; any bits are valid. `self` proves AVX2.
            unsafe {
                let low = _mm_cvtsi64_si128(transmute_copy(&bytes));
                transmute_copy(&_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low)))
            }
        }

        #[inline(always)]
        fn bytes_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [u8; L] {
            if L != 8 {
                return Baseline.bytes_between(low, high, values);
            }
            // SAFETY: as above. The limits are a byte's, so that packing cuts nothing off; of a NaN the maximum is the limit.
            unsafe {
                let values = _mm256_max_ps(transmute_copy(&values), _mm256_set1_ps(low));
                let words = _mm256_cvtps_epi32(_mm256_min_ps(values, _mm256_set1_ps(high)));
                let halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                transmute_copy(&_mm_cvtsi128_si64(_mm_packus_epi16(halves, halves)))
            }
        }

        #[inline(always)]
        fn numbers_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [f32; L] {
            if L != 8 {
                return Baseline.numbers_between(low, high, values);
            }
            // SAFETY: as above.
            unsafe {
                let values = _mm256_max_ps(transmute_copy(&values), _mm256_set1_ps(low));
                let values = _mm256_min_ps(values, _mm256_set1_ps(high));
                transmute_copy(&_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(values))
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
impl ByteIsa for Avx2 {
    const STEP: usize = 2;

    #[inline(always)]
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
        if L != 8 {
            return Baseline.dot(sums, left, right);
        }
        // SAFETY: `L` is 8: all are the 32 bytes of a register, any bits of which are valid. `self` proves AVX2.
        unsafe {
            let products = _mm256_madd_epi16(transmute_copy(&left), transmute_copy(&right));
            *sums = transmute_copy(&_mm256_add_epi32(transmute_copy(sums), products));
        }
    }

    conversions!(8);
}

#[cfg(target_arch = "x86_64")]
impl Isa for AvxVnni {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        self.avx2().mul_add(a, b, c)
    }

    #[inline(always)]
    fn add<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        self.avx2().add(a, b)
    }

    #[inline(always)]
    fn mul<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        self.avx2().mul(a, b)
    }

    #[inline(always)]
    fn at_least<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
        self.avx2().at_least(limit, values)
    }

    #[inline(always)]
    fn at_most<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
        self.avx2().at_most(limit, values)
    }
}

/// Four products of a word, in order of the bytes; `number` is what a byte of the left stands for.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[inline(always)]
pub(super) fn dot_quads<const L: usize>(
    sums: &mut [i32; L],
    left: [u32; L],
    right: [u32; L],
    number: impl Fn(u8) -> i32,
) {
    for l in 0..L {
        let (left, right) = (left[l].to_le_bytes(), right[l].to_le_bytes());
        for i in 0..4 {
            sums[l] += number(left[i]) * i32::from(right[i].cast_signed());
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl ByteIsa for AvxVnni {
    const STEP: usize = 4;

    #[inline(always)]
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
        if L != 8 {
            return dot_quads(sums, left, right, i32::from);
        }
        // SAFETY: `L` is 8: all are the 32 bytes of a register, any bits of which are valid. `self` proves AVX-VNNI.
        unsafe {
            let (left, right) = (transmute_copy(&left), transmute_copy(&right));
            *sums = transmute_copy(&_mm256_dpbusd_avx_epi32(transmute_copy(sums), left, right));
        }
    }

    conversions!(8);
}

#[cfg(target_arch = "x86_64")]
impl Isa for Avx512Vnni {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        self.avx512().mul_add(a, b, c)
    }

    #[inline(always)]
    fn add<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        self.avx512().add(a, b)
    }

    #[inline(always)]
    fn mul<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
        self.avx512().mul(a, b)
    }

    #[inline(always)]
    fn at_least<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
        self.avx512().at_least(limit, values)
    }

    #[inline(always)]
    fn at_most<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
        self.avx512().at_most(limit, values)
    }
}

#[cfg(target_arch = "x86_64")]
impl ByteIsa for Avx512Vnni {
    const STEP: usize = 4;

    #[inline(always)]
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
        if L != 16 {
            return dot_quads(sums, left, right, i32::from);
        }
        // SAFETY: `L` is 16: all are the 64 bytes of a register, any bits of which are valid. `self` proves AVX-512 VNNI.
        unsafe {
            let (left, right) = (transmute_copy(&left), transmute_copy(&right));
            *sums = transmute_copy(&_mm512_dpbusd_epi32(transmute_copy(sums), left, right));
        }
    }

    #[inline(always)]
    fn floats<const L: usize>(self, values: [i32; L]) -> [f32; L] {
        if L != 16 {
            return values.map(|value| value as f32);
        }
        // SAFETY: `L` is 16: both are the 64 bytes of a register, any bits of which are valid. `self` proves AVX-512 F.
        unsafe { transmute_copy(&_mm512_cvtepi32_ps(transmute_copy(&values))) }
    }

    #[inline(always)]
    fn floats_of_bytes<const L: usize>(self, bytes: [u8; L]) -> [f32; L] {
        if L != 16 {
            return bytes.map(f32::from);
        }
        // SAFETY: `L` is 16: the bytes are 16, the numbers the 64 bytes of a register; any bits are valid. `self` proves
        // AVX-512 F.
        unsafe { transmute_copy(&_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(transmute_copy(&bytes)))) }
    }

    #[inline(always)]
    fn bytes_between<const L: usize>(self, low: f32, high: f32, values: [f32; L]) -> [u8; L] {
        if L != 16 {
            return Baseline.bytes_between(low, high, values);
        }
        // SAFETY: as above, of a NaN the maximum is the lower limit.
        unsafe {
            let values = _mm512_max_ps(transmute_copy(&values), _mm512_set1_ps(low));
            let words = _mm512_cvtps_epi32(_mm512_min_ps(values, _mm512_set1_ps(high)));
            transmute_copy(&_mm512_cvtepi32_epi8(words))
        }
    }

    #[inline(always)]
    fn words<const L: usize>(self, rows: [[u8; L]; 4]) -> [u32; L] {
        if L != 16 {
            return Baseline.words(rows);
        }
        // SAFETY: `L` is 16: the rows are 64 bytes, a register; any bits are valid. `self` proves SSE2 and AVX-512 F.
        unsafe {
            let [a, b, c, d]: [__m128i; 4] = rows.map(|row| transmute_copy(&row));
            let (low, high) = (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b));
            let (low2, high2) = (_mm_unpacklo_epi8(c, d), _mm_unpackhi_epi8(c, d));
            let quads = [
                _mm_unpacklo_epi16(low, low2),
                _mm_unpackhi_epi16(low, low2),
                _mm_unpacklo_epi16(high, high2),
                _mm_unpackhi_epi16(high, high2),
            ];
            transmute_copy(&quads)
        }
    }
}
