//! Instruction sets: which there are, which the processor has, and how one body of code is compiled for each.

use std::sync::OnceLock;

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
        })
    }
}

/// `a * b + c`: fused where the instruction set has it (without it, `f32::mul_add` is a slow call).
pub(crate) trait Arithmetic {
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// Two roundings.
pub(crate) struct Separate;
/// One rounding.
#[allow(dead_code, reason = "used only where the target has a level with fused multiply-add")]
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
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx2 $(<$($g: $bound,)*>)? ($($arg: $ty),*) {
                $(const $lanes: usize = 8;)?
                $body::<Fused $(, $lanes)? $($(, $g)*)?>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx512 $(<$($g: $bound,)*>)? ($($arg: $ty),*) {
                $(const $lanes: usize = 16;)?
                $body::<Fused $(, $lanes)? $($(, $g)*)?>($($arg),*)
            }
            $(const $lanes: usize = 4;)?
            match level.set() {
                // SAFETY: a `Level` is made only after the processor was asked for its features.
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => unsafe { avx2 $(::<$($g,)*>)? ($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => unsafe { avx512 $(::<$($g,)*>)? ($($arg),*) },
                Set::Baseline if cfg!(target_arch = "aarch64") => $body::<Fused $(, $lanes)? $($(, $g)*)?>($($arg),*),
                Set::Baseline => $body::<Separate $(, $lanes)? $($(, $g)*)?>($($arg),*),
            }
        }
    };
}
pub(crate) use for_each_level;

/// `L` values from `at` on.
#[inline(always)]
pub(crate) fn load<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    let mut block = [0.; L];
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
pub(crate) fn store<const L: usize>(values: &mut [f32], at: usize, block: [f32; L]) {
    values[at..at + L].copy_from_slice(&block);
}

/// Asks for the cache line of `values[at]`, which may lie outside: what follows in memory is as often needed next.
#[inline(always)]
pub(crate) fn prefetch(values: &[f32], at: usize) {
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
        while at + 8 <= c {
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
