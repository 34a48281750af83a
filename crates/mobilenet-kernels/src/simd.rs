//! Instruction sets: which there are, which the processor has, and how one body of code is compiled for each.

use std::sync::OnceLock;

use crate::element::Pair;

/// An instruction set that this processor has: there is no way to make one that it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    /// What the target guarantees: SSE2 on x86-64, NEON on aarch64.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with products of bf16 pairs.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

impl Level {
    /// The best one, detected once.
    pub fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| *Self::available().last().unwrap_or(&Level(Set::Baseline)))
    }

    /// All that this processor has, the best last.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "on targets with one level nothing is added")]
        let mut levels = vec![Level(Set::Baseline)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Level(Set::Avx2));
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if avx512 {
                levels.push(Level(Set::Avx512));
                if is_x86_feature_detected!("avx512bf16") {
                    levels.push(Level(Set::Avx512Bf16));
                }
            }
        }
        levels
    }

    pub(crate) fn set(self) -> Set {
        self.0
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self.0 {
            Set::Baseline if cfg!(target_arch = "aarch64") => "NEON",
            Set::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2+FMA",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Bf16 => "AVX-512 BF16",
        })
    }
}

/// What code that is compiled once for every instruction set leaves to each.
pub trait Arithmetic {
    /// `a * b + c`: fused where the instruction set has it (without it, `f32::mul_add` is a slow call).
    fn mul_add(a: f32, b: f32, c: f32) -> f32;

    /// `sums[l] += a[l] · b[l]`. Said by an instruction where lanes must stay lanes: left to itself, the compiler may make a
    /// register of values that lie apart.
    #[inline(always)]
    fn add_products<const L: usize>(sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
        for l in 0..L {
            sums[l] = Self::mul_add(a[l], b[l], sums[l]);
        }
    }

    /// `sums[l] += a.first · b[l].first + a.second · b[l].second`
    #[inline(always)]
    fn add_pair_products<const L: usize>(sums: &mut [f32; L], a: Pair, b: &[Pair; L]) {
        let [first, second] = a.values();
        for l in 0..L {
            let b = b[l].values();
            sums[l] = Self::mul_add(first, b[0], Self::mul_add(second, b[1], sums[l]));
        }
    }

    /// [`store`] of what is not needed again soon: past the caches where that is possible. [`Self::fence`] must follow.
    #[inline(always)]
    fn stream<T: Copy, const L: usize>(values: &mut [T], at: usize, block: [T; L]) {
        store(values, at, block);
    }

    /// Makes streamed values visible to other threads.
    #[inline(always)]
    fn fence() {}

    /// `values` as bf16.
    #[inline(always)]
    fn to_bf16<const L: usize>(values: [f32; L]) -> [u16; L] {
        let mut rounded = [0; L];
        for l in 0..L {
            rounded[l] = bf16_bits(values[l]);
        }
        Self::upper_halves(rounded)
    }

    /// The upper half of each word.
    #[inline(always)]
    fn upper_halves<const L: usize>(words: [u32; L]) -> [u16; L] {
        let mut halves = [0; L];
        for l in 0..L {
            halves[l] = (words[l] >> 16) as u16;
        }
        halves
    }

    /// `first` and `second` as pairs.
    #[inline(always)]
    fn to_pairs<const L: usize>(first: [f32; L], second: [f32; L]) -> [Pair; L] {
        let mut pairs = [Pair(0); L];
        for l in 0..L {
            pairs[l] = Pair(bf16_bits(first[l]) >> 16 | bf16_bits(second[l]) & 0xffff_0000);
        }
        pairs
    }
}

/// The bits of `x`, whose upper half are those of the nearest bf16: of two as near, the even one.
#[inline(always)]
fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    // A NaN must not be rounded to an infinity. As numbers, its bits are above those of the infinities.
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if nan { bits | 0x0040_0000 } else { up }
}

/// Two roundings.
pub(crate) struct Separate;
/// One rounding.
#[allow(dead_code, reason = "used only where the target's baseline has fused multiply-add")]
pub(crate) struct Fused;

impl Arithmetic for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16};

/// What the compiler does not find by itself. A type is used only in functions compiled for its instruction set, which run
/// only at a [`Level`] that has it.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::mem::{transmute, transmute_copy};

    use super::{Arithmetic, Fused, Pair};

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

    pub(crate) struct Avx2;
    pub(crate) struct Avx512;
    pub(crate) struct Avx512Bf16;

    impl Arithmetic for Avx2 {
        #[inline(always)]
        fn mul_add(a: f32, b: f32, c: f32) -> f32 {
            a.mul_add(b, c)
        }

        #[inline(always)]
        fn add_products<const L: usize>(sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
            if L != 8 {
                return Fused::add_products(sums, a, b);
            }
            // SAFETY: `L` is 8: all are the 32 bytes of a register, any bits of which are valid. The instruction set is there,
            // since this type is used.
            unsafe {
                *sums = transmute_copy(&_mm256_fmadd_ps(transmute_copy(&a), transmute_copy(&b), transmute_copy(sums)));
            }
        }

        #[inline(always)]
        fn upper_halves<const L: usize>(words: [u32; L]) -> [u16; L] {
            if L != 8 {
                return Fused::upper_halves(words);
            }
            // SAFETY: `L` is 8: the words are the 32 bytes of a register, the halves 16 bytes; any bits are valid. The
            // instruction set is there, since this type is used.
            unsafe {
                let words = _mm256_srli_epi32::<16>(transmute_copy(&words));
                let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(words, words));
                transmute_copy(&_mm256_castsi256_si128(packed))
            }
        }
    }

    impl Arithmetic for Avx512 {
        #[inline(always)]
        fn stream<T: Copy, const L: usize>(values: &mut [T], at: usize, block: [T; L]) {
            let to: &mut [T] = &mut values[at..at + L];
            if size_of::<[T; L]>() != 64 || !to.as_ptr().cast::<u8>().addr().is_multiple_of(64) {
                to.copy_from_slice(&block);
                return;
            }
            // SAFETY: `to` has 64 bytes at an address that 64 divides, as the instruction asks for. The instruction set is
            // there, since this type is used.
            unsafe { _mm512_stream_si512(to.as_mut_ptr().cast(), transmute_copy(&block)) }
        }

        #[inline(always)]
        fn fence() {
            // SAFETY: every x86-64 processor has this instruction.
            unsafe { _mm_sfence() }
        }

        #[inline(always)]
        fn mul_add(a: f32, b: f32, c: f32) -> f32 {
            a.mul_add(b, c)
        }

        #[inline(always)]
        fn add_products<const L: usize>(sums: &mut [f32; L], a: [f32; L], b: [f32; L]) {
            if L != 16 {
                return Avx2::add_products(sums, a, b);
            }
            // SAFETY: `L` is 16: all are the 64 bytes of a register, any bits of which are valid. The instruction set is there,
            // since this type is used.
            unsafe {
                *sums = transmute_copy(&_mm512_fmadd_ps(transmute_copy(&a), transmute_copy(&b), transmute_copy(sums)));
            }
        }

        #[inline(always)]
        fn upper_halves<const L: usize>(words: [u32; L]) -> [u16; L] {
            if L != 16 {
                return Avx2::upper_halves(words);
            }
            // SAFETY: `L` is 16: the words are the 64 bytes of a register, the halves 32 bytes; any bits are valid. The
            // instruction set is there, since this type is used.
            unsafe { transmute_copy(&_mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(transmute_copy(&words)))) }
        }
    }

    impl Arithmetic for Avx512Bf16 {
        #[inline(always)]
        fn mul_add(a: f32, b: f32, c: f32) -> f32 {
            a.mul_add(b, c)
        }

        #[inline(always)]
        fn add_pair_products<const L: usize>(sums: &mut [f32; L], a: Pair, b: &[Pair; L]) {
            let word = a.0.cast_signed();
            match L {
                // SAFETY: `L` is 16: sums and pairs are the 64 bytes of a register; any bits are valid. The instruction set is
                // there, since this type is used.
                16 => unsafe {
                    let (a, b) = (transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word)), transmute_copy(b));
                    *sums = transmute_copy(&_mm512_dpbf16_ps(transmute_copy(sums), a, b));
                },
                // SAFETY: as above, with 8 and 32 bytes.
                8 => unsafe {
                    let (a, b) = (transmute::<__m256i, __m256bh>(_mm256_set1_epi32(word)), transmute_copy(b));
                    *sums = transmute_copy(&_mm256_dpbf16_ps(transmute_copy(sums), a, b));
                },
                _ => Fused::add_pair_products(sums, a, b),
            }
        }

        #[inline(always)]
        fn stream<T: Copy, const L: usize>(values: &mut [T], at: usize, block: [T; L]) {
            Avx512::stream(values, at, block);
        }

        #[inline(always)]
        fn fence() {
            Avx512::fence();
        }

        /// Takes values closer to 0 than a normal float32 for 0, unlike the other levels.
        #[inline(always)]
        fn to_bf16<const L: usize>(values: [f32; L]) -> [u16; L] {
            if L != 16 {
                return Avx512::to_bf16(values);
            }
            // SAFETY: `L` is 16: the values are the 64 bytes of a register, the halves 32 bytes; any bits are valid. The
            // instruction set is there, since this type is used.
            unsafe { transmute_copy(&_mm512_cvtneps_pbh(transmute_copy(&values))) }
        }

        #[inline(always)]
        fn to_pairs<const L: usize>(first: [f32; L], second: [f32; L]) -> [Pair; L] {
            if L != 16 {
                return Avx512::to_pairs(first, second);
            }
            // SAFETY: `L` is 16: values and pairs are the 64 bytes of a register; any bits are valid. The instruction set is
            // there, since this type is used.
            unsafe {
                // All of the first, then all of the second; the permutation lays the two side by side.
                let both = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(
                    transmute_copy(&second),
                    transmute_copy(&first),
                ));
                transmute_copy(&_mm512_permutexvar_epi16(transmute::<[u16; 32], __m512i>(INTERLEAVED), both))
            }
        }
    }
}

/// Defines a function that runs `$body`, an `#[inline(always)]` function generic over [`Arithmetic`] (and possibly more),
/// compiled for the instruction set `level`. With `[LANES]` the body is generic also over how many float32 values a
/// register holds.
macro_rules! for_each_level {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident: $bound:path),*>)? ($($arg:ident: $ty:ty),* $(,)?) = $body:ident $([$lanes:ident])?) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
        $vis fn $name $(<$($g: $bound,)*>)? (level: $crate::simd::Level, $($arg: $ty),*) {
            use $crate::simd::{Fused, Separate, Set};
            #[cfg(target_arch = "x86_64")]
            use $crate::simd::{Avx2, Avx512};
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx2 $(<$($g: $bound,)*>)? ($($arg: $ty),*) {
                $(const $lanes: usize = 8;)?
                $body::<Avx2 $(, $lanes)? $($(, $g)*)?>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx512 $(<$($g: $bound,)*>)? ($($arg: $ty),*) {
                $(const $lanes: usize = 16;)?
                $body::<Avx512 $(, $lanes)? $($(, $g)*)?>($($arg),*)
            }
            $(const $lanes: usize = 4;)?
            match level.set() {
                // SAFETY: a `Level` is made only after the processor was asked for its features.
                // SAFETY: a `Level` is made only after the processor was asked for its features.
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => unsafe { avx2 $(::<$($g,)*>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 | Set::Avx512Bf16 => unsafe { avx512 $(::<$($g,)*>)? ($($arg),*) },
                Set::Baseline if cfg!(target_arch = "aarch64") => $body::<Fused $(, $lanes)? $($(, $g)*)?>($($arg),*),
                Set::Baseline => $body::<Separate $(, $lanes)? $($(, $g)*)?>($($arg),*),
            }
        }
    };
}
pub(crate) use for_each_level;

/// `L` values from `at` on.
#[inline(always)]
pub(crate) fn load<T: Copy + Default, const L: usize>(values: &[T], at: usize) -> [T; L] {
    let mut block = [T::default(); L];
    block.copy_from_slice(&values[at..at + L]);
    block
}

/// [`load`] without asking whether the values are there.
///
/// # Safety
/// `at + L` is at most the number of `values`.
#[inline(always)]
pub(crate) unsafe fn load_unchecked<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    debug_assert!(at + L <= values.len(), "{at} + {L} of {}", values.len());
    let mut block = [0.; L];
    // SAFETY: the caller's promise.
    block.copy_from_slice(unsafe { values.get_unchecked(at..at + L) });
    block
}

/// Writes `block` from `at` on.
#[inline(always)]
pub(crate) fn store<T: Copy, const L: usize>(values: &mut [T], at: usize, block: [T; L]) {
    values[at..at + L].copy_from_slice(&block);
}

/// Asks for the cache line of `values[at]`, which may lie outside: what follows in memory is as often needed next.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch of any address is allowed; it reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// Calls `$f::<…, L>($args…, first channel)` for every block of `L` of `$c` channels: the level's lanes, then 8, then 1.
/// Walking down a block of channels keeps what belongs to a channel in registers.
macro_rules! for_lanes {
    ($c:expr, $f:ident::<$($g:ident),*; $L:ident>($($arg:expr),* $(,)?)) => {{
        let (c, mut at) = ($c, 0);
        while at + $L <= c {
            $f::<$($g,)* $L>($($arg,)* at);
            at += $L;
        }
        while $L > 8 && at + 8 <= c {
            $f::<$($g,)* 8>($($arg,)* at);
            at += 8;
        }
        while at < c {
            $f::<$($g,)* 1>($($arg,)* at);
            at += 1;
        }
    }};
}
pub(crate) use for_lanes;
