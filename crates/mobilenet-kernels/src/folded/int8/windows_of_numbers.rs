//! Windows that move over bytes as float32 numbers, where no instruction multiplies quads of bytes.

use super::super::convolve::MOST_PIXELS;
use super::super::depthwise::WindowShape;
use super::super::multiply::unrolled;
use super::super::shards::Shards;
use super::finish::{Line, finish};
use super::output::Output;
use super::windows::{ByteFrame, ByteWindowPanel};
use crate::simd::{ByteIsa, load_unchecked};

/// `K` is the window's size, or 0 where it is not known beforehand.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
pub(super) fn rows<I: ByteIsa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    frame: ByteFrame,
    panel: ByteWindowPanel,
    output: &Output,
    sums: &mut [u32],
    to: Shards<u8>,
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let (w_out, framed_row) = (shape.w_out(), shape.framed_width() * panel.width);
    assert!(panel.numbers.len() == kernel * kernel * panel.width);
    assert!(frame.numbers.len() >= shape.rows_in(frame.rows_out) * framed_row);
    let sums_wanted = !sums.is_empty();
    for lane in (0..panel.width).step_by(L) {
        let channels = panel.channels.saturating_sub(lane).min(L);
        if channels == 0 {
            break;
        }
        let mut total = [0u32; L];
        for y in 0..frame.rows_out {
            let top = &frame.numbers[y * shape.stride * framed_row..];
            let first = frame.first + y * w_out * frame.pixel + panel.first + lane;
            let line = Line { lane, channels, first, pixel: frame.pixel };
            let mut x = 0;
            let mut found = [[0f32; L]; MOST_PIXELS];
            while x < w_out {
                let pixels = (w_out - x).div_ceil((w_out - x).div_ceil(MOST_PIXELS));
                macro_rules! tile {
                    ($($T:literal)*) => {
                        match pixels {
                            $($T => tile::<I, L, K, $T>(isa, shape, top, lane, panel, x, &mut found),)*
                            _ => {}
                        }
                    };
                }
                tile!(1 2 3 4 5 6 7 8);
                finish(isa, &found[..pixels], panel, output, sums_wanted.then_some(&mut total), line, x, to);
                x += pixels;
            }
        }
        if sums_wanted {
            sums[lane..][..channels].copy_from_slice(&total[..channels]);
        }
    }
}

/// The sums of `T` neighboring pixels of the result; `top` are the rows of their windows and those below.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn tile<I: ByteIsa, const L: usize, const K: usize, const T: usize>(
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
