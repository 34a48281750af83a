//! An expansion and the depthwise convolution that follows, panel by panel of channels through a frame in the cache.

use super::aligned::Aligned;
use super::convolve::{Rows, convolve};
use super::depthwise::{WindowShape, Windows};
use super::multiply::multiply;
use super::panels::{Left, Places};
use super::shards::Shards;
use super::{Crew, Epilogue, Panels};

/// Bytes of a frame, at most, where rows can be divided: most of a small L2.
const FRAME_BYTES: usize = 192 << 10;

/// What comes before the windows.
#[derive(Clone, Copy, Debug)]
pub enum Expansion<'a> {
    /// Nothing: the windows move over the image itself.
    None,
    /// A product with its activation.
    Product(&'a Panels, &'a Epilogue),
}

/// A depthwise convolution of `n` images `xs`, `[n, h, w, c_in]`, after an expansion if there is one; writes
/// `[n, h', w', c]`. `sums`, `[n, strips, c]` where it is not empty, gets each channel's sum over the pixels of each strip of
/// rows; [`strips`] says how many there are. `frames` is scratch, one for each thread, and grows to what is needed.
///
/// # Panics
/// A slice has another length.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
pub fn depthwise(
    crew: Crew,
    shape: WindowShape,
    xs: &[f32],
    expansion: Expansion,
    windows: &Windows,
    epilogue: &Epilogue,
    frames: &mut Frames,
    sums: &mut [f32],
    ys: &mut [f32],
) {
    let c = windows.channels();
    let (pixels_in, pixels_out) = (shape.h * shape.w, shape.h_out() * shape.w_out());
    let c_in = match expansion {
        Expansion::None => c,
        Expansion::Product(panels, _) => panels.inner(),
    };
    let n = ys.len() / (pixels_out * c);
    assert!(ys.len() == n * pixels_out * c && xs.len() == n * pixels_in * c_in, "images of {shape:?}");
    let strips = Strips::new(shape, windows.widest() * size_of::<f32>());
    assert!(sums.is_empty() || sums.len() == n * strips.count * c, "sums of {shape:?}");
    // Whole registers of an image's channels need no frame.
    let is_direct = matches!(expansion, Expansion::None) && c.is_multiple_of(windows.lanes);
    let frame_len = shape.rows_in(strips.rows) * shape.framed_width() * windows.widest();
    frames.fit(crew.threads(), if is_direct { 0 } else { frame_len });

    let (frames, to, all_sums) = (Shards::new(&mut frames.0), Shards::new(ys), Shards::new(sums));
    // Panels first: neighboring tasks read the same weights.
    let tasks = n * strips.count * windows.len();
    crew.run(tasks, &|worker, task| {
        let (panel, rest) = (task / (n * strips.count), task % (n * strips.count));
        let (image, strip) = (rest / strips.count, rest % strips.count);
        // SAFETY: a worker does one task at a time, and the frame of its number is its alone.
        let frame = unsafe { &mut frames.values(worker, 1)[0] };
        let windows_panel = windows.panel(panel);
        let first_out = strip * strips.rows;
        let rows_out = strips.rows.min(shape.h_out() - first_out);
        let xs = &xs[image * pixels_in * c_in..(image + 1) * pixels_in * c_in];
        let first = (image * pixels_out + first_out * shape.w_out()) * c;
        let rows = if is_direct {
            let (h, w, padding, top) = (shape.h, shape.w, shape.padding(), first_out * shape.stride);
            Rows { values: xs, h, w, step: c, channel: windows_panel.first, padding, top, rows_out, first, pixel: c }
        } else {
            let rows = FramedRows::new(shape, first_out, rows_out, windows_panel.width);
            let values = frame.bordered(rows, 0.);
            let inner = &xs[rows.first * shape.w * c_in..rows.end * shape.w * c_in];
            match expansion {
                Expansion::None => rows.copy(inner, c, windows_panel.first, windows_panel.channels, values),
                Expansion::Product(panels, epilogue) => {
                    let (panel, left) = (panels.panel(panel), Left::plain(inner, c_in));
                    let to = Shards::new(&mut *values);
                    multiply(panels.level, left, panel, panel.width, epilogue, None, to, rows.places());
                }
            }
            let (h, w, step) = (rows.rows, shape.framed_width(), windows_panel.width);
            Rows { values, h, w, step, channel: 0, padding: 0, top: 0, rows_out, first, pixel: c }
        };
        let mut none = [];
        let sums = if all_sums.is_empty() {
            &mut none[..]
        } else {
            let first = (image * strips.count + strip) * c + windows_panel.first;
            // SAFETY: these channels' sums over this strip are this task's alone.
            unsafe { all_sums.values(first, windows_panel.channels) }
        };
        convolve(windows.level, shape, rows, windows_panel, epilogue, sums, to);
    });
}

/// How rows of the result are divided, so that a frame stays in the cache. It is a matter of the shape alone.
#[derive(Clone, Copy)]
pub(super) struct Strips {
    /// Rows of each but the last.
    pub(super) rows: usize,
    pub(super) count: usize,
}

impl Strips {
    /// For a frame of so many bytes a pixel.
    pub(super) fn new(shape: WindowShape, pixel: usize) -> Self {
        let (h_out, row) = (shape.h_out(), shape.framed_width() * pixel);
        let fitting = (1..=h_out).rev().find(|&rows| shape.rows_in(rows) * row <= FRAME_BYTES).unwrap_or(1);
        let rows = h_out.div_ceil(h_out.div_ceil(fitting));
        Self { rows, count: h_out.div_ceil(rows) }
    }
}

/// Into how many strips of rows [`depthwise`] divides an image: for so many it sums up each channel.
pub fn strips(shape: WindowShape, windows: &Windows) -> usize {
    Strips::new(shape, windows.widest() * size_of::<f32>()).count
}

/// Scratch of a depthwise convolution.
#[derive(Debug, Default)]
pub struct Frames<T = f32>(pub(super) Vec<Frame<T>>);

/// A thread's frame, and what lies around which rows of it.
#[derive(Debug)]
pub(super) struct Frame<T> {
    values: Aligned<T>,
    border: Option<(FramedRows, T)>,
}

impl<T: Copy + Default> Default for Frame<T> {
    fn default() -> Self {
        Self { values: Aligned::default(), border: None }
    }
}

impl<T: Copy + Default + PartialEq> Frame<T> {
    /// The frame of such rows, with `value` around them. Only what is within may be written.
    pub(super) fn bordered(&mut self, rows: FramedRows, value: T) -> &mut [T] {
        let values = &mut self.values.values_mut()[..rows.len()];
        // The panel before this one mostly left just that.
        let same = |rows: &FramedRows| FramedRows { first: 0, end: rows.end - rows.first, ..*rows };
        let border = Some((same(&rows), value));
        if self.border != border {
            rows.fill_border(value, values);
            self.border = border;
        }
        values
    }
}

impl<T: Copy + Default> Frames<T> {
    /// Makes it a scratch of so many values for each of so many threads.
    pub(super) fn fit(&mut self, threads: usize, len: usize) {
        if self.0.len() < threads {
            self.0.resize_with(threads, Frame::default);
        }
        for frame in &mut self.0 {
            if frame.values.len() < len {
                *frame = Frame { values: Aligned::zeroed(len), border: None };
            }
        }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|frame| frame.values.len() * size_of::<T>()).sum()
    }
}

/// Rows of an image within a frame of zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FramedRows {
    /// Rows of the image: the first, and the one after the last.
    pub(super) first: usize,
    pub(super) end: usize,
    /// Rows of zeros above.
    above: usize,
    /// Rows of the frame.
    rows: usize,
    /// Pixels of a row, and of a framed row.
    w: usize,
    framed: usize,
    padding: usize,
    width: usize,
}

impl FramedRows {
    /// The rows that `rows_out` rows of the result are made of.
    pub(super) fn new(shape: WindowShape, first_out: usize, rows_out: usize, width: usize) -> Self {
        let padding = shape.padding();
        let rows = shape.rows_in(rows_out);
        let top = first_out * shape.stride; // in the framed image
        let (first, end) =
            (top.saturating_sub(padding).min(shape.h), (top + rows).saturating_sub(padding).min(shape.h));
        let above = padding.saturating_sub(top).min(rows);
        Self { first, end, above, rows, w: shape.w, framed: shape.framed_width(), padding, width }
    }

    pub(super) fn len(&self) -> usize {
        self.rows * self.framed * self.width
    }

    /// Where the image's pixels lie in the frame.
    pub(super) fn places(&self) -> Places {
        let jump = self.framed * self.width;
        Places { first: self.above * jump + self.padding * self.width, together: self.w, stride: self.width, jump }
    }

    /// Sets what is around the image.
    fn fill_border<T: Copy>(&self, value: T, frame: &mut [T]) {
        let row = self.framed * self.width;
        let (left, right) = (self.padding * self.width, (self.padding + self.w) * self.width);
        let below = self.above + (self.end - self.first);
        frame[..self.above * row].fill(value);
        for row in frame[self.above * row..below * row].chunks_exact_mut(row) {
            row[..left].fill(value);
            row[right..].fill(value);
        }
        frame[below * row..].fill(value);
    }

    /// Copies some channels of the image's rows, `[rows, w, c]`; the rest of the frame's are zeros.
    pub(super) fn copy<F: Copy, T: Copy + Default + From<F>>(
        &self,
        rows: &[F],
        c: usize,
        first: usize,
        channels: usize,
        frame: &mut [T],
    ) {
        let row = self.framed * self.width;
        let framed = frame[self.above * row..].chunks_exact_mut(row);
        for (from, to) in rows.chunks_exact(self.w * c).zip(framed) {
            let pixels = to[self.padding * self.width..].chunks_exact_mut(self.width);
            for (from, to) in from.chunks_exact(c).zip(pixels) {
                let (to, rest) = to.split_at_mut(channels);
                to.iter_mut().zip(&from[first..]).for_each(|(to, from)| *to = (*from).into());
                rest.fill(T::default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Team;
    use super::*;
    use crate::activation::Activation;
    use crate::parallel::tests::values;
    use crate::simd::Level;

    /// `[h', w', c]` and the sums of channels, by the definition.
    fn expected(shape: WindowShape, e: &[f32], c: usize, weight: &[f32], bias: &[f32], act: &Epilogue) -> Vec<f32> {
        let (k, p) = (shape.kernel, shape.padding());
        let mut ys = Vec::new();
        for oy in 0..shape.h_out() {
            for ox in 0..shape.w_out() {
                for ch in 0..c {
                    let mut sum = f64::from(bias[ch]);
                    for ky in 0..k {
                        for kx in 0..k {
                            let y = (oy * shape.stride + ky * shape.dilation).wrapping_sub(p);
                            let x = (ox * shape.stride + kx * shape.dilation).wrapping_sub(p);
                            if y < shape.h && x < shape.w {
                                let value = e[(y * shape.w + x) * c + ch];
                                sum += f64::from(value) * f64::from(weight[(ch * k + ky) * k + kx]);
                            }
                        }
                    }
                    ys.push(act.value(sum as f32));
                }
            }
        }
        ys
    }

    #[test]
    fn agrees_with_the_definition_at_every_level_and_thread_count() {
        let team = Team::new(3).unwrap();
        let shapes = [
            (7, 6, 3, 1, 1),
            (8, 8, 3, 2, 1),
            (5, 9, 5, 1, 1),
            (4, 4, 5, 2, 1),
            (1, 1, 3, 1, 1),
            (2, 3, 3, 2, 1),
            (9, 7, 3, 1, 2),
            (6, 6, 7, 1, 1),
            (1, 2, 5, 2, 1),
            (90, 50, 3, 1, 1),
            (61, 80, 5, 2, 1),
        ];
        for (h, w, kernel, stride, dilation) in shapes {
            let shape = WindowShape { h, w, kernel, stride, dilation };
            for (n, c_in, c) in [(1, 3, 40), (2, 5, 17), (1, 4, 67)] {
                let xs = values(n * h * w * c_in, 1);
                let (expand, expand_bias) = (values(c * c_in, 2), values(c, 3));
                let (weight, bias) = (values(c * kernel * kernel, 4), values(c, 5));
                let (act, act_expand) = (Epilogue::from(Activation::HSwish), Epilogue::from(Activation::Relu6));
                let pixels = shape.h_out() * shape.w_out();
                for level in Level::available() {
                    let panels = Panels::new(level, &expand, c_in, &expand_bias);
                    let windows = Windows::new(level, &weight, kernel, &bias);
                    let mut e = vec![0.; n * h * w * c];
                    super::super::product(Crew::Solo, &xs, &panels, &act_expand, None, &mut e);
                    let count = strips(shape, &windows);
                    let run = |crew: Crew, xs: &[f32], expansion| {
                        let mut ys = vec![f32::NAN; n * pixels * c];
                        let mut sums = vec![f32::NAN; n * count * c];
                        let frames = &mut Frames::default();
                        depthwise(crew, shape, xs, expansion, &windows, &act, frames, &mut sums, &mut ys);
                        (ys, sums)
                    };
                    let expansion = Expansion::Product(&panels, &act_expand);
                    let (ys, sums) = run(Crew::Solo, &xs, expansion);
                    assert_eq!(run(Crew::Team(&team), &xs, expansion), (ys.clone(), sums.clone()), "{shape:?} {level}");
                    assert_eq!(run(Crew::Solo, &e, Expansion::None), (ys.clone(), sums.clone()), "{shape:?} {level}");
                    for image in 0..n {
                        let e = &e[image * h * w * c..(image + 1) * h * w * c];
                        let expected = expected(shape, e, c, &weight, &bias, &act);
                        let found = &ys[image * pixels * c..(image + 1) * pixels * c];
                        for (found, expected) in found.iter().zip(&expected) {
                            assert!((found - expected).abs() < 1e-5, "{shape:?} {level}: {found} {expected}");
                        }
                        for ch in 0..c {
                            let sum: f32 = (0..count).map(|strip| sums[(image * count + strip) * c + ch]).sum();
                            let expected: f64 = expected.iter().skip(ch).step_by(c).map(|v| f64::from(*v)).sum();
                            assert!(
                                (f64::from(sum) - expected).abs() < 1e-4 * expected.abs().max(100.),
                                "{shape:?} {level}: {sum} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }
}
