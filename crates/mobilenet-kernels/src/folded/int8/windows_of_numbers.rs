//! Windows that move over bytes as float32 numbers, where no instruction multiplies quads of bytes.

use super::super::convolve::MOST_PIXELS;
use super::super::depthwise::WindowShape;
use super::super::multiply::unrolled;
use super::windows::ByteWindowPanel;
use crate::simd::{ByteIsa, load_unchecked};

/// The sums of `T` neighboring pixels of the result; `top` are the rows of their windows and those below. `K` is the window's
/// size, or 0 where it is not known beforehand.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
pub(super) fn tile<I: ByteIsa, const L: usize, const K: usize, const T: usize>(
    isa: I,
    shape: WindowShape,
    top: &[f32],
    lane: usize,
    panel: ByteWindowPanel,
    x: usize,
    kept: &mut [[f32; L]; MOST_PIXELS],
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let (width, row) = (panel.width, shape.framed_width() * panel.width);
    let place = |ky: usize, pixel: usize| ky * shape.dilation * row + pixel * width + lane;
    let last = place(kernel - 1, (x + T - 1) * shape.stride + (kernel - 1) * shape.dilation);
    assert!(last + L <= top.len());
    assert!((kernel * kernel - 1) * width + lane + L <= panel.numbers.len());
    let mut sums = [[0f32; L]; T];
    for ky in 0..kernel {
        for kx in 0..kernel {
            // SAFETY: the last tap's end was asserted to be within.
            let weight: [f32; L] = unsafe { load_unchecked(panel.numbers, (ky * kernel + kx) * width + lane) };
            unrolled!(T, t => {
                let at = place(ky, (x + t) * shape.stride + kx * shape.dilation);
                // SAFETY: not behind the last pixel's last tap, whose end was asserted to be within.
                let value: [f32; L] = unsafe { load_unchecked(top, at) };
                isa.add_products(&mut sums[t], value, weight)
            });
        }
    }
    kept[..T].copy_from_slice(&sums);
}
