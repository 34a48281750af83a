//! From a depthwise convolution's sums to bytes.

use super::super::Epilogue;
use super::super::shards::Shards;
use super::output::{ByteClamp, Output};
use super::windows::ByteWindowPanel;
use crate::simd::{ByteIsa, load, store};

/// A register of channels of a row of the result.
#[derive(Clone, Copy)]
pub(super) struct Line {
    /// The first of these channels in the panel.
    pub(super) lane: usize,
    /// How many of them there are.
    pub(super) channels: usize,
    /// Where the first pixel goes, and values to the next.
    pub(super) first: usize,
    pub(super) pixel: usize,
}

/// Makes sums of neighboring pixels what they stand for, activates and writes them.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
pub(super) fn finish<I: ByteIsa, const L: usize>(
    isa: I,
    sums: &[[f32; L]],
    panel: ByteWindowPanel,
    output: &Output,
    total: Option<&mut [u32; L]>,
    line: Line,
    x: usize,
    to: Shards<u8>,
) {
    let (scale, bias) = (load(panel.scales.scale, line.lane), load(panel.scales.bias, line.lane));
    // One loop for each kind, so that a loop does not ask which it is.
    if let Some(clamp) = output.clamp() {
        let (scale, bias) = clamp.scale_and_bias(isa, scale, bias);
        return write(isa, sums, Clamped { clamp, scale, bias }, total, line, x, to);
    }
    match &output.epilogue {
        Epilogue::HSwish => write(isa, sums, Activated::<L, true> { output, scale, bias }, total, line, x, to),
        _ => write(isa, sums, Activated::<L, false> { output, scale, bias }, total, line, x, to),
    }
}

/// What makes bytes of sums. A trait, since a closure might be compiled by itself, without the instruction set.
trait ToBytes<const L: usize>: Copy {
    fn bytes<I: ByteIsa>(self, isa: I, sums: [f32; L]) -> [u8; L];
}

#[derive(Clone, Copy)]
struct Clamped<const L: usize> {
    clamp: ByteClamp,
    scale: [f32; L],
    bias: [f32; L],
}

impl<const L: usize> ToBytes<L> for Clamped<L> {
    #[inline(always)]
    fn bytes<I: ByteIsa>(self, isa: I, sums: [f32; L]) -> [u8; L] {
        self.clamp.bytes(isa, isa.add(isa.mul(sums, self.scale), self.bias))
    }
}

#[derive(Clone, Copy)]
struct Activated<'a, const L: usize, const IS_H_SWISH: bool> {
    output: &'a Output,
    scale: [f32; L],
    bias: [f32; L],
}

impl<const L: usize, const IS_H_SWISH: bool> ToBytes<L> for Activated<'_, L, IS_H_SWISH> {
    #[inline(always)]
    fn bytes<I: ByteIsa>(self, isa: I, sums: [f32; L]) -> [u8; L] {
        let value = isa.add(isa.mul(sums, self.scale), self.bias);
        let value = match const { IS_H_SWISH } {
            true => Epilogue::HSwish.apply(isa, value),
            false => self.output.epilogue.apply(isa, value),
        };
        self.output.affine.bytes(isa, value)
    }
}

/// [`finish`], by what makes bytes of sums.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn write<I: ByteIsa, const L: usize>(
    isa: I,
    sums: &[[f32; L]],
    to_bytes: impl ToBytes<L>,
    mut total: Option<&mut [u32; L]>,
    line: Line,
    x: usize,
    to: Shards<u8>,
) {
    let place = |t| line.first + (x + t) * line.pixel;
    let sums = sums.iter().enumerate();
    if line.channels == L {
        for (t, sums) in sums {
            let bytes = to_bytes.bytes(isa, *sums);
            // SAFETY: these channels of these pixels are this task's alone.
            store(unsafe { to.values(place(t), L) }, 0, bytes);
            if let Some(total) = &mut total {
                add(total, bytes);
            }
        }
        return;
    }
    for (t, sums) in sums {
        let bytes = to_bytes.bytes(isa, *sums);
        // SAFETY: as above.
        unsafe { to.values(place(t), line.channels) }.copy_from_slice(&bytes[..line.channels]);
        if let Some(total) = &mut total {
            add(total, bytes);
        }
    }
}

#[inline(always)]
fn add<const L: usize>(total: &mut [u32; L], bytes: [u8; L]) {
    for l in 0..L {
        total[l] += u32::from(bytes[l]);
    }
}
