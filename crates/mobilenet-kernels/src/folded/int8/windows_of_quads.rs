//! Windows that move over words of four rows: a step of a sum takes several taps, and a word serves every window that its
//! column is part of.

use super::super::convolve::MOST_PIXELS;
use super::super::depthwise::WindowShape;
use super::super::multiply::unrolled;
use super::super::shards::Shards;
use super::finish::{Line, finish};
use super::output::Output;
use super::windows::{ByteFrame, ByteWindowPanel};
use crate::simd::{ByteIsa, load, load_unchecked, store};

/// `K` is the window's size, or 0 where it is not known beforehand.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
pub(super) fn rows<I: ByteIsa, const L: usize, const K: usize>(
    isa: I,
    shape: WindowShape,
    frame: ByteFrame,
    panel: ByteWindowPanel,
    output: &Output,
    columns: &mut [u32],
    sums: &mut [u32],
    to: Shards<u8>,
) {
    let kernel = if K == 0 { shape.kernel } else { K };
    let groups = kernel.div_ceil(4);
    let (w_out, framed) = (shape.w_out(), shape.framed_width());
    let framed_row = framed * panel.width;
    assert!(panel.words.len() == kernel * groups * panel.width);
    assert!(frame.bytes.len() >= shape.rows_in(frame.rows_out) * framed_row);
    let columns = &mut columns[..framed * groups * L];
    let sums_wanted = !sums.is_empty();
    for lane in (0..panel.width).step_by(L) {
        let channels = panel.channels.saturating_sub(lane).min(L);
        if channels == 0 {
            break;
        }
        let mut total = [0u32; L];
        for y in 0..frame.rows_out {
            let top = &frame.bytes[y * shape.stride * framed_row..];
            for group in 0..groups {
                // Rows below the window have weights of 0: any row will do for them.
                let row = |i: usize| (group * 4 + i).min(kernel - 1) * shape.dilation * framed_row;
                let starts = [row(0), row(1), row(2), row(3)];
                let last = starts[3] + (framed - 1) * panel.width + lane + L;
                assert!(last <= top.len());
                for x in 0..framed {
                    let at = x * panel.width + lane;
                    // SAFETY: the last row's last pixel was asserted to be within.
                    let bytes: [[u8; L]; 4] = starts.map(|start| unsafe { load_unchecked(top, start + at) });
                    store(columns, (x * groups + group) * L, isa.words(bytes));
                }
            }
            let first = frame.first + y * w_out * frame.pixel + panel.first + lane;
            let line = Line { lane, channels, first, pixel: frame.pixel };
            let mut x = 0;
            let mut found = [[0f32; L]; MOST_PIXELS];
            while x < w_out {
                let pixels = (w_out - x).div_ceil((w_out - x).div_ceil(MOST_PIXELS));
                macro_rules! tile {
                    ($($T:literal)*) => {
                        match pixels {
                            $($T => tile::<I, L, K, $T>(isa, shape, columns, lane, panel, x, &mut found),)*
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

/// The sums of `T` neighboring pixels of the result.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn tile<I: ByteIsa, const L: usize, const K: usize, const T: usize>(
    isa: I,
    shape: WindowShape,
    columns: &[u32],
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
    assert!((kernel * groups - 1) * panel.width + lane + L <= panel.words.len());
    for kx in 0..kernel {
        for group in 0..groups {
            // SAFETY: the last word's end was asserted to be within.
            let weight: [u32; L] = unsafe { load_unchecked(panel.words, (kx * groups + group) * panel.width + lane) };
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
