//! aarch64's extensions: what the compiler does not find by itself.

use std::arch::aarch64::{int8x16_t, int32x4_t};
use std::arch::{asm, is_aarch64_feature_detected};
use std::mem::transmute_copy;

use super::bytes::dot_quads;
use super::scalar::Baseline;
use super::{ByteIsa, Isa};

/// NEON with products of quads of bytes, detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeonDot(());

impl NeonDot {
    /// `None` where the processor lacks it. Miri does not know the instruction: for it, there is none.
    pub(crate) fn new() -> Option<Self> {
        (cfg!(not(miri)) && is_aarch64_feature_detected!("dotprod")).then_some(Self(()))
    }

    /// What every processor has.
    pub(crate) fn baseline(self) -> Baseline {
        Baseline
    }
}

impl Isa for NeonDot {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        self.baseline().mul_add(a, b, c)
    }
}

/// The instruction has a sign on both sides, so that the bytes of the left lose 128, and sums start with what that takes away.
impl ByteIsa for NeonDot {
    const STEP: usize = 4;
    const IS_SIGNED: bool = true;

    #[inline(always)]
    fn dot<const L: usize>(self, sums: &mut [i32; L], left: [u32; L], right: [u32; L]) {
        let left = left.map(|word| word ^ 0x8080_8080);
        if L != 4 {
            return dot_quads(sums, left, right, |byte| i32::from(byte.cast_signed()));
        }
        // SAFETY: `L` is 4: all are the 16 bytes of a register, any bits of which are valid. `self` proves the instruction.
        unsafe {
            let mut found: int32x4_t = transmute_copy(sums);
            let (left, right): (int8x16_t, int8x16_t) = (transmute_copy(&left), transmute_copy(&right));
            asm!(
                "sdot {sums:v}.4s, {left:v}.16b, {right:v}.16b",
                sums = inout(vreg) found,
                left = in(vreg) left,
                right = in(vreg) right,
                options(pure, nomem, nostack, preserves_flags),
            );
            *sums = transmute_copy(&found);
        }
    }
}
