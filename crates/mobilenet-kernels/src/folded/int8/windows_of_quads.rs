//! Windows that move over words of four rows: a step of a sum takes several taps, and a word serves every window that its
//! column is part of.

use super::super::convolve::MOST_PIXELS;
use super::super::depthwise::WindowShape;
use super::super::multiply::unrolled;
use super::windows::ByteWindowPanel;
use crate::simd::{ByteIsa, load, load_unchecked, store};

/// Lays the words of some rows out in `columns`, for channels from `lane` on; `top` are these `rows` and those below, `width`
/// channels a pixel. `K` is the window's size, or 0 where it is not known beforehand.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
pub(super) fn lay_out<I: ByteIsa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    top: &[u8],
    rows: usize,
    width: usize,
    lane: usize,
    columns: &mut [u32],
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let groups = kernel.div_ceil(4);
    let framed = shape.framed_width();
    for group in 0..groups {
        // Rows below the last window have weights of 0: any row will do for them.
        let row = |i: usize| (group * 4 + i).min(rows - 1) * shape.dilation * framed * width;
        let starts = [row(0), row(1), row(2), row(3)];
        let last = starts[3] + (framed - 1) * width + lane + L;
        assert!(last <= top.len());
        for x in 0..framed {
            let at = x * width + lane;
            // SAFETY: the last row's last pixel was asserted to be within.
            let bytes: [[u8; L]; 4] = starts.map(|start| unsafe { load_unchecked(top, start + at) });
            store(columns, (x * groups + group) * L, isa.words(bytes));
        }
    }
}

/// The sums of `T` neighboring pixels of the result, whose windows begin at row `begin` of the words.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
pub(super) fn tile<I: ByteIsa, const L: usize, const K: usize, const T: usize>(
    isa: I,
    shape: WindowShape,
    columns: &[u32],
    begin: usize,
    lane: usize,
    panel: ByteWindowPanel,
    x: usize,
    kept: &mut [[f32; L]; MOST_PIXELS],
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let groups = kernel.div_ceil(4);
    let mut sums = match const { I::IS_SIGNED } {
        true => [load(panel.scales.starts, lane); T],
        false => [[0i32; L]; T],
    };
    let last = ((x + T - 1) * shape.stride + (kernel - 1) * shape.dilation) * groups + groups - 1;
    assert!((last + 1) * L <= columns.len());
    let words = &panel.words[begin * kernel * groups * panel.width..];
    assert!((kernel * groups - 1) * panel.width + lane + L <= words.len());
    for kx in 0..kernel {
        for group in 0..groups {
            // SAFETY: the last word's end was asserted to be within.
            let weight: [u32; L] = unsafe { load_unchecked(words, (kx * groups + group) * panel.width + lane) };
            unrolled!(T, t => {
                let at = ((x + t) * shape.stride + kx * shape.dilation) * groups + group;
                // SAFETY: the last pixel's last word was asserted to be within.
                let value: [u32; L] = unsafe { load_unchecked(columns, at * L) };
                isa.dot(&mut sums[t], value, weight)
            });
        }
    }
    kept.iter_mut().zip(sums).for_each(|(to, sums)| *to = isa.floats(sums));
}
