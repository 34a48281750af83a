//! One body of code, compiled for each instruction set.
//!
//! Bodies get what they work on as arguments, since a function's arguments are known not to overlap: of the fields of a
//! structure the compiler does not know that, and asks at run time or does without registers.

/// Defines a function that runs `$body` at a [`Level`](crate::Level): an `#[inline(always)]` function, generic over
/// [`Isa`](crate::simd::Isa) (and possibly more), whose first argument is the instruction set. With `[LANES]` it is
/// generic also over how many float32 values a register holds. Where `bf16 if` holds, it is compiled once more, for
/// processors that convert and multiply pairs of bf16 by themselves.
macro_rules! for_each_level {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident: $bound:path),*>)? ($($arg:ident: $ty:ty),* $(,)?)
        = $body:ident $([$lanes:ident])?
    ) => {
        $crate::simd::for_each_level! {
            $(#[$meta])* $vis fn $name $(<$($g: $bound),*>)? ($($arg: $ty),*) = $body $([$lanes])?, bf16 if false
        }
    };
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident: $bound:path),*>)? ($($arg:ident: $ty:ty),* $(,)?)
        = $body:ident $([$lanes:ident])?, bf16 if $is_bf16:expr
    ) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
        $vis fn $name $(<$($g: $bound,)*>)? (level: $crate::simd::Level, $($arg: $ty),*) {
            use $crate::simd::{Baseline, Set};
            #[cfg(target_arch = "x86_64")]
            use $crate::simd::{Avx2, Avx512, Avx512Bf16};

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx2 $(<$($g: $bound,)*>)? (isa: Avx2, $($arg: $ty),*) {
                $(const $lanes: usize = 8;)?
                $body::<Avx2 $(, $lanes)? $($(, $g)*)?>(isa, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx512 $(<$($g: $bound,)*>)? (isa: Avx512, $($arg: $ty),*) {
                $(const $lanes: usize = 16;)?
                $body::<Avx512 $(, $lanes)? $($(, $g)*)?>(isa, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx512_bf16 $(<$($g: $bound,)*>)? (isa: Avx512Bf16, $($arg: $ty),*) {
                $(const $lanes: usize = 16;)?
                $body::<Avx512Bf16 $(, $lanes)? $($(, $g)*)?>(isa, $($arg),*)
            }

            $(const $lanes: usize = 4;)?
            match level.set() {
                Set::Baseline(isa) => $body::<Baseline $(, $lanes)? $($(, $g)*)?>(isa, $($arg),*),
                #[cfg(target_arch = "aarch64")]
                Set::NeonDot(isa) => $body::<Baseline $(, $lanes)? $($(, $g)*)?>(isa.baseline(), $($arg),*),
                // SAFETY: `isa` proves that the processor has the features.
                #[cfg(target_arch = "x86_64")]
                Set::Avx2(isa) => unsafe { avx2 $(::<$($g,)*>)? (isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::AvxVnni(isa) => unsafe { avx2 $(::<$($g,)*>)? (isa.avx2(), $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512(isa) => unsafe { avx512 $(::<$($g,)*>)? (isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512Vnni(isa) => unsafe { avx512 $(::<$($g,)*>)? (isa.avx512(), $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512Bf16(isa) if $is_bf16 => unsafe { avx512_bf16 $(::<$($g,)*>)? (isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512Bf16(isa) => unsafe { avx512 $(::<$($g,)*>)? (isa.avx512(), $($arg),*) },
            }
        }
    };
}
pub(crate) use for_each_level;

/// [`for_each_level`] for bodies that are generic over [`ByteIsa`](crate::simd::ByteIsa).
macro_rules! for_each_byte_level {
    ($(#[$meta:meta])* $vis:vis fn $name:ident ($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
        $vis fn $name(level: $crate::simd::Level, $($arg: $ty),*) {
            use $crate::simd::{Baseline, Set};
            #[cfg(target_arch = "aarch64")]
            use $crate::simd::NeonDot;
            #[cfg(target_arch = "x86_64")]
            use $crate::simd::{Avx2, Avx512Vnni, AvxVnni};

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon,dotprod")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn neon_dot(isa: NeonDot, $($arg: $ty),*) {
                $body::<NeonDot, 4>(isa, $($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx2(isa: Avx2, $($arg: $ty),*) {
                $body::<Avx2, 8>(isa, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avxvnni,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx_vnni(isa: AvxVnni, $($arg: $ty),*) {
                $body::<AvxVnni, 8>(isa, $($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
            fn avx512_vnni(isa: Avx512Vnni, $($arg: $ty),*) {
                $body::<Avx512Vnni, 16>(isa, $($arg),*)
            }

            match level.set() {
                Set::Baseline(isa) => $body::<Baseline, 4>(isa, $($arg),*),
                // SAFETY: `isa` proves that the processor has the features.
                #[cfg(target_arch = "aarch64")]
                Set::NeonDot(isa) => unsafe { neon_dot(isa, $($arg),*) },
                // SAFETY: `isa` proves that the processor has the features.
                #[cfg(target_arch = "x86_64")]
                Set::Avx2(isa) => unsafe { avx2(isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::AvxVnni(isa) => unsafe { avx_vnni(isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512(isa) => unsafe { avx2(isa.avx2(), $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512Vnni(isa) => unsafe { avx512_vnni(isa, $($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Set::Avx512Bf16(isa) => unsafe { avx512_vnni(isa.vnni(), $($arg),*) },
            }
        }
    };
}
pub(crate) use for_each_byte_level;

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
