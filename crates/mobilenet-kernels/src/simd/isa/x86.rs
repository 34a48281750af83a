//! x86-64's vector extensions: what the compiler does not find by itself.

use std::arch::x86_64::*;
use std::mem::{transmute, transmute_copy};

use super::super::memory::{Streamed, store_streamed};
use super::scalar::Baseline;
use super::{Isa, add_pair_products, add_products, to_bf16, to_pairs, upper_halves};
use crate::bf16::Pair;

/// Whether the processor has all of the features. Miri knows few of the instructions: for it, there are none.
macro_rules! detected {
    ($($feature:tt),*) => { cfg!(not(miri)) $(&& is_x86_feature_detected!($feature))* };
}

/// AVX2 and FMA, detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

/// AVX-512 F, BW, DQ and VL, detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(Avx2);

/// AVX2 with products of quads of bytes, detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AvxVnni(Avx2);

/// AVX-512 with products of quads of bytes, detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512Vnni(Avx512);

/// AVX-512 with products of bf16 pairs and of quads of bytes, detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512Bf16(Avx512Vnni);

impl Avx2 {
    /// `None` where the processor lacks it.
    pub(crate) fn new() -> Option<Self> {
        detected!("avx2", "fma").then_some(Self(()))
    }

    /// What every processor has.
    fn baseline(self) -> Baseline {
        Baseline
    }
}

impl Avx512 {
    /// `None` where the processor lacks it.
    pub(crate) fn new() -> Option<Self> {
        let avx2 = Avx2::new()?;
        detected!("avx512f", "avx512bw", "avx512dq", "avx512vl").then_some(Self(avx2))
    }

    /// Registers half as long.
    pub(crate) fn avx2(self) -> Avx2 {
        self.0
    }
}

impl AvxVnni {
    /// `None` where the processor lacks it.
    pub(crate) fn new() -> Option<Self> {
        let avx2 = Avx2::new()?;
        detected!("avxvnni").then_some(Self(avx2))
    }

    /// Without the products of quads.
    pub(crate) fn avx2(self) -> Avx2 {
        self.0
    }
}

impl Avx512Vnni {
    /// `None` where the processor lacks it.
    pub(crate) fn new() -> Option<Self> {
        let avx512 = Avx512::new()?;
        detected!("avx512vnni").then_some(Self(avx512))
    }

    /// Without the products of quads.
    pub(crate) fn avx512(self) -> Avx512 {
        self.0
    }
}

impl Avx512Bf16 {
    /// `None` where the processor lacks it.
    pub(crate) fn new() -> Option<Self> {
        let vnni = Avx512Vnni::new()?;
        detected!("avx512bf16").then_some(Self(vnni))
    }

    /// Without the products of bf16 pairs.
    pub(crate) fn vnni(self) -> Avx512Vnni {
        self.0
    }

    /// Without products of pairs and quads.
    pub(crate) fn avx512(self) -> Avx512 {
        self.0.avx512()
    }
}

/// Arithmetic on whole registers, said by instructions: a compiler that sees so many values one by one may give up keeping
/// them in registers.
macro_rules! arithmetic {
    ($L:literal, $set:ident, $add:ident, $mul:ident, $max:ident, $min:ident, $else:expr) => {
        #[inline(always)]
        fn add<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
            if L != $L {
                return $else(self).add(a, b);
            }
            // SAFETY: all are as long as a register, any bits of which are valid; `self` proves the instruction.
            unsafe { transmute_copy(&$add(transmute_copy(&a), transmute_copy(&b))) }
        }

        #[inline(always)]
        fn mul<const L: usize>(self, a: [f32; L], b: [f32; L]) -> [f32; L] {
            if L != $L {
                return $else(self).mul(a, b);
            }
            // SAFETY: as above.
            unsafe { transmute_copy(&$mul(transmute_copy(&a), transmute_copy(&b))) }
        }

        #[inline(always)]
        fn at_least<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
            if L != $L {
                return $else(self).at_least(limit, values);
            }
            // SAFETY: as above. Where one is NaN, the second is taken.
            unsafe { transmute_copy(&$max($set(limit), transmute_copy(&values))) }
        }

        #[inline(always)]
        fn at_most<const L: usize>(self, limit: f32, values: [f32; L]) -> [f32; L] {
            if L != $L {
                return $else(self).at_most(limit, values);
            }
            // SAFETY: as above.
            unsafe { transmute_copy(&$min($set(limit), transmute_copy(&values))) }
        }
    };
}

impl Isa for Avx2 {
    arithmetic!(8, _mm256_set1_ps, _mm256_add_ps, _mm256_mul_ps, _mm256_max_ps, _mm256_min_ps, Avx2::baseline);

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn add_products<const L: usize>(self, sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
        if L != 8 {
            return add_products(self, sums, a, b);
        }
        // SAFETY: `L` is 8: all are the 32 bytes of a register, any bits of which are valid. `self` proves FMA.
        unsafe {
            *sums = transmute_copy(&_mm256_fmadd_ps(transmute_copy(&a), transmute_copy(&b), transmute_copy(sums)));
        }
    }

    #[inline(always)]
    fn upper_halves<const L: usize>(self, words: [u32; L]) -> [u16; L] {
        if L != 8 {
            return upper_halves(words);
        }
        // SAFETY: `L` is 8: the words are the 32 bytes of a register, the halves 16 bytes; any bits are valid. `self`
        // proves AVX2.
        unsafe {
            let words = _mm256_srli_epi32::<16>(transmute_copy(&words));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(words, words));
            transmute_copy(&_mm256_castsi256_si128(packed))
        }
    }
}

impl Isa for Avx512 {
    arithmetic!(16, _mm512_set1_ps, _mm512_add_ps, _mm512_mul_ps, _mm512_max_ps, _mm512_min_ps, Avx512::avx2);

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn add_products<const L: usize>(self, sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
        if L != 16 {
            return self.0.add_products(sums, a, b);
        }
        // SAFETY: `L` is 16: all are the 64 bytes of a register, any bits of which are valid. `self` proves AVX-512 F.
        unsafe {
            *sums = transmute_copy(&_mm512_fmadd_ps(transmute_copy(&a), transmute_copy(&b), transmute_copy(sums)));
        }
    }

    #[inline(always)]
    fn stream<T: Copy, const L: usize>(self, to: &mut Streamed<T>, at: usize, block: [T; L]) {
        let Some(line) = to.line::<L>(at) else { return store_streamed(to, at, block) };
        // SAFETY: a line is 64 bytes at an address that 64 divides, as the instruction asks for, and as long as
        // `block`. Nobody reads it before a fence: it lies in a `Streamed`. `self` proves AVX-512 F.
        unsafe { _mm512_stream_si512(line.as_mut_ptr().cast(), transmute_copy(&block)) }
    }

    #[inline(always)]
    fn upper_halves<const L: usize>(self, words: [u32; L]) -> [u16; L] {
        if L != 16 {
            return self.0.upper_halves(words);
        }
        // SAFETY: `L` is 16: the words are the 64 bytes of a register, the halves 32 bytes; any bits are valid. `self`
        // proves AVX-512 F.
        unsafe { transmute_copy(&_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(transmute_copy(&words)))) }
    }
}

/// The first of 32, the 17th, the second, the 18th, …
const INTERLEAVED: [u16; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 32 {
        order[i] = (i / 2 + i % 2 * 16) as u16;
        i += 1;
    }
    order
};

impl Isa for Avx512Bf16 {
    arithmetic!(16, _mm512_set1_ps, _mm512_add_ps, _mm512_mul_ps, _mm512_max_ps, _mm512_min_ps, Avx512Bf16::avx512);

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn add_products<const L: usize>(self, sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
        self.avx512().add_products(sums, a, b);
    }

    #[inline(always)]
    fn add_pair_products<const L: usize>(self, sums: &mut [f32; L], a: Pair, b: &[Pair; L]) {
        let word = a.0.cast_signed();
        match L {
            // SAFETY: `L` is 16: sums and pairs are the 64 bytes of a register; any bits are valid. `self` proves
            // AVX-512 BF16.
            16 => unsafe {
                let (a, b) = (transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word)), transmute_copy(b));
                *sums = transmute_copy(&_mm512_dpbf16_ps(transmute_copy(sums), a, b));
            },
            // SAFETY: as above, with 8 and 32 bytes; `self` proves AVX-512 VL too.
            8 => unsafe {
                let (a, b) = (transmute::<__m256i, __m256bh>(_mm256_set1_epi32(word)), transmute_copy(b));
                *sums = transmute_copy(&_mm256_dpbf16_ps(transmute_copy(sums), a, b));
            },
            _ => add_pair_products(self, sums, a, b),
        }
    }

    #[inline(always)]
    fn stream<T: Copy, const L: usize>(self, to: &mut Streamed<T>, at: usize, block: [T; L]) {
        self.avx512().stream(to, at, block);
    }

    /// Takes values closer to 0 than a normal float32 for 0, unlike the other levels.
    #[inline(always)]
    fn to_bf16<const L: usize>(self, values: [f32; L]) -> [u16; L] {
        if L != 16 {
            return to_bf16(self, values);
        }
        // SAFETY: `L` is 16: the values are the 64 bytes of a register, the halves 32 bytes; any bits are valid. `self`
        // proves AVX-512 BF16.
        unsafe { transmute_copy(&_mm512_cvtneps_pbh(transmute_copy(&values))) }
    }

    #[inline(always)]
    fn upper_halves<const L: usize>(self, words: [u32; L]) -> [u16; L] {
        self.avx512().upper_halves(words)
    }

    #[inline(always)]
    fn to_pairs<const L: usize>(self, first: [f32; L], second: [f32; L]) -> [Pair; L] {
        if L != 16 {
            return to_pairs(first, second);
        }
        // SAFETY: `L` is 16: values and pairs are the 64 bytes of a register; any bits are valid. `self` proves AVX-512
        // BF16 and BW.
        unsafe {
            // All of the first, then all of the second; the permutation lays the two side by side.
            let both =
                transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(transmute_copy(&second), transmute_copy(&first)));
            transmute_copy(&_mm512_permutexvar_epi16(transmute::<[u16; 32], __m512i>(INTERLEAVED), both))
        }
    }
}
