//! The first convolution: of images of few channels, whose windows are rows of a product.

use super::aligned::Aligned;
use super::multiply::multiply;
use super::panels::{Left, Places};
use super::shards::Shards;
use super::{Crew, Epilogue, Panels};

/// Values of the rows that are laid out at once, at most.
pub(super) const ROWS_VALUES: usize = 16 << 10;

/// Tasks for each thread, where there are rows for so many.
const TASKS_PER_THREAD: usize = 4;

/// A dense convolution of images `[h, w, c_in]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StemShape {
    /// Height of the image.
    pub h: usize,
    /// Width of the image.
    pub w: usize,
    /// Channels of the image.
    pub c_in: usize,
    /// Height and width of the window.
    pub kernel: usize,
    /// Step of the window.
    pub stride: usize,
}

impl StemShape {
    /// Height of the result, with zeros around the image as for a stride of 1 to keep its size.
    pub fn h_out(&self) -> usize {
        (self.h - 1) / self.stride + 1
    }

    /// Width of the result.
    pub fn w_out(&self) -> usize {
        (self.w - 1) / self.stride + 1
    }

    /// Values of a window.
    pub fn window(&self) -> usize {
        self.kernel * self.kernel * self.c_in
    }

    /// Values of a row of the image with what is around it.
    fn framed_row(&self) -> usize {
        (self.w + self.kernel - 1).max((self.w_out() - 1) * self.stride + self.kernel) * self.c_in
    }

    /// A weight `[c_out, c_in, k, k]` in the order of the rows here, `[c_out, k, k, c_in]`.
    pub fn reordered<T: Copy + Default>(&self, weight: &[T]) -> Vec<T> {
        let taps = self.kernel * self.kernel;
        let mut reordered = vec![T::default(); weight.len()];
        for (from, to) in weight.chunks_exact(self.window()).zip(reordered.chunks_exact_mut(self.window())) {
            for (i, to) in to.iter_mut().enumerate() {
                *to = from[i % self.c_in * taps + i / self.c_in];
            }
        }
        reordered
    }

    /// Lays out the windows of some rows of the result.
    /// What is around the image is `border`, and each row is `len` values long.
    pub(super) fn unfold<T: Copy>(&self, xs: &[T], border: T, first: usize, end: usize, len: usize, rows: &mut [T]) {
        let &Self { h, w, c_in, kernel, stride, .. } = self;
        let (padding, row) = ((kernel - 1) / 2, kernel * c_in);
        let mut windows = rows.chunks_exact_mut(len).map(|window| &mut window[..self.window()]);
        for oy in first..end {
            for (ox, window) in (0..self.w_out()).zip(&mut windows) {
                let left = ox * stride; // with the border
                let inside = left >= padding && left + kernel <= w + padding;
                for (ky, to) in window.chunks_exact_mut(row).enumerate() {
                    let y = (oy * stride + ky).wrapping_sub(padding);
                    if y >= h {
                        to.fill(border);
                    } else if inside {
                        let from = &xs[(y * w + left - padding) * c_in..][..row];
                        // What the networks have, three pixels of three channels, is copied in place of a call.
                        match (from.first_chunk::<9>(), to.first_chunk_mut::<9>()) {
                            (Some(from), Some(to)) if row == 9 => *to = *from,
                            _ => to.copy_from_slice(from),
                        }
                    } else {
                        for (kx, to) in to.chunks_exact_mut(c_in).enumerate() {
                            let x = (left + kx).wrapping_sub(padding);
                            if x >= w {
                                to.fill(border);
                            } else {
                                to.copy_from_slice(&xs[(y * w + x) * c_in..][..c_in]);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Scratch of [`stem`].
#[derive(Debug, Default)]
pub struct Unfolded<T = f32>(pub(super) Vec<Aligned<T>>);

impl<T: Copy + Default> Unfolded<T> {
    /// Makes it a scratch of so many values for each of so many threads.
    pub(super) fn fit(&mut self, threads: usize, len: usize) {
        if self.0.len() < threads {
            self.0.resize_with(threads, Aligned::default);
        }
        self.0.iter_mut().for_each(|unfolded| unfolded.grow(len));
    }
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, activated. `panels` holds the [`reordered`](StemShape::reordered) weight.
///
/// Rows of the image are copied into a frame of zeros. A window is a part of some of its rows, so that a product takes its
/// left side from there.
///
/// # Panics
/// A slice has another length.
pub fn stem(
    crew: Crew,
    shape: StemShape,
    xs: &[f32],
    panels: &Panels,
    epilogue: &Epilogue,
    scratch: &mut Unfolded,
    ys: &mut [f32],
) {
    let StemShape { h, w, c_in, kernel, stride } = shape;
    let (c_out, w_out, pixels) = (panels.columns(), shape.w_out(), shape.h_out() * shape.w_out());
    let (image, padding, framed) = (h * w * c_in, (kernel - 1) / 2, shape.framed_row());
    let n = ys.len() / (pixels * c_out);
    assert!(ys.len() == n * pixels * c_out && xs.len() == n * image, "images of {shape:?}");
    assert_eq!(panels.inner(), shape.window(), "a weight of {shape:?}");
    let wanted = match crew.threads() {
        1 => 1,
        threads => (threads * TASKS_PER_THREAD).div_ceil(n.max(1)),
    };
    let rows = (ROWS_VALUES / (framed * stride)).min(shape.h_out().div_ceil(wanted)).max(1);
    let strips = shape.h_out().div_ceil(rows);
    let rows_in = |rows: usize| (rows - 1) * stride + kernel;
    scratch.fit(crew.threads(), rows_in(rows) * framed);

    let (scratch, to) = (Shards::new(&mut scratch.0), Shards::new(ys));
    crew.run(n * strips, &|worker, task| {
        let (i, strip) = (task / strips, task % strips);
        let (first, end) = (strip * rows, ((strip + 1) * rows).min(shape.h_out()));
        // SAFETY: a worker does one task at a time, and the scratch of its number is its alone.
        let frame = unsafe { &mut scratch.values(worker, 1)[0] };
        let frame = &mut frame.values_mut()[..rows_in(end - first) * framed];
        let xs = &xs[i * image..(i + 1) * image];
        for (y, row) in frame.chunks_exact_mut(framed).enumerate() {
            let (left, right) = (padding * c_in, (padding + w) * c_in);
            match (first * stride + y).checked_sub(padding) {
                Some(y) if y < h => {
                    row[..left].fill(0.);
                    row[left..right].copy_from_slice(&xs[y * w * c_in..][..w * c_in]);
                    row[right..].fill(0.);
                }
                _ => row.fill(0.),
            }
        }
        for (y, line) in (first..end).enumerate() {
            let values = &frame[y * stride * framed..];
            let left =
                Left { values, rows: w_out, stride: stride * c_in, parts: kernel, len: kernel * c_in, jump: framed };
            for panel in (0..panels.len()).map(|i| panels.panel(i)) {
                let places = Places::plain((i * pixels + line * w_out) * c_out + panel.first, c_out);
                multiply(panels.level, left, panel, panel.columns, epilogue, None, to, places);
            }
        }
    });
}

#[cfg(test)]
#[cfg(feature = "training")]
mod tests {
    use super::super::Team;
    use super::*;
    use crate::activation::Activation;
    use crate::conv::{self, ConvShape};
    use crate::parallel::tests::values;
    use crate::simd::Level;

    #[test]
    fn agrees_with_the_convolution() {
        let team = Team::new(2).unwrap();
        for (h, w, kernel, stride) in
            [(9, 7, 3, 1), (8, 8, 3, 2), (1, 1, 3, 2), (64, 40, 3, 2), (6, 5, 5, 1), (2, 2, 1, 1)]
        {
            let shape = StemShape { h, w, c_in: 3, kernel, stride };
            let (n, c_out, padding) = (2, 19, (kernel - 1) / 2);
            let (xs, weight) = (values(n * h * w * 3, 1), values(c_out * shape.window(), 2));
            let bias = values(c_out, 3);
            let mut expected = vec![0.; n * shape.h_out() * shape.w_out() * c_out];
            conv::forward(&ConvShape { h, w, c_in: 3, c_out, kernel, stride, padding }, &xs, &weight, &mut expected);
            for level in Level::available() {
                let panels = Panels::new(level, &shape.reordered(&weight), shape.window(), &bias);
                for crew in [Crew::Solo, Crew::Team(&team)] {
                    let mut ys = vec![f32::NAN; expected.len()];
                    let relu = Epilogue::from(Activation::Relu);
                    stem(crew, shape, &xs, &panels, &relu, &mut Unfolded::default(), &mut ys);
                    for (i, (y, expected)) in ys.iter().zip(&expected).enumerate() {
                        let expected = (expected + bias[i % c_out]).max(0.);
                        assert!((y - expected).abs() < 1e-5, "{shape:?}, {level}: {y} {expected}");
                    }
                }
            }
        }
    }
}
