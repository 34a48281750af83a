//! Instruction sets: which there are, which the processor has, and how one body of code is compiled for each.

mod dispatch;
mod isa;
mod level;
mod memory;

pub(crate) use dispatch::{for_each_byte_level, for_each_level, for_lanes};
#[cfg(target_arch = "aarch64")]
pub(crate) use isa::NeonDot;
#[cfg(target_arch = "x86_64")]
pub(crate) use isa::{Avx2, Avx512, Avx512Bf16, Avx512Vnni, AvxVnni};
pub(crate) use isa::{Baseline, ByteIsa, Isa};
pub(crate) use level::Set;
pub use level::{Level, LevelError};
pub(crate) use memory::{Streamed, load, load_unchecked, prefetch, store, streamed};
