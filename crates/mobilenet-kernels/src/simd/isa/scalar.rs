//! What the target guarantees, left to the compiler.

use super::Isa;

/// The target's own instruction set: SSE2 on x86-64, NEON on aarch64. Every processor of the target has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Baseline;

impl Isa for Baseline {
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        if cfg!(target_arch = "aarch64") { a.mul_add(b, c) } else { a * b + c }
    }
}
