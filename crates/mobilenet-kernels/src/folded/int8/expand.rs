//! An expansion and the depthwise convolution that follows, in bytes, panel by panel of channels.

use super::super::aligned::Aligned;
use super::super::depthwise::WindowShape;
use super::super::expand::{FramedRows, Strips};
use super::super::shards::Shards;
use super::super::{Crew, Frames};
use super::multiply::{Product, To, multiply};
use super::output::{Affine, Output};
use super::panels::BytePanels;
use super::product::{Scratch, Words};
use super::windows::{ByteFrame, ByteWindowPanel, ByteWindows, columns_len, convolve};

/// What comes before the windows.
#[derive(Clone, Copy, Debug)]
pub enum ByteExpansion<'a> {
    /// Nothing: the windows move over the image itself.
    None,
    /// A product and what is done to it.
    Product(&'a BytePanels, &'a Output),
}

/// Into how many strips of rows [`depthwise`] divides an image: for so many it sums up each channel.
pub fn strips(shape: WindowShape, windows: &ByteWindows) -> usize {
    strips_of(shape, windows).count
}

fn strips_of(shape: WindowShape, windows: &ByteWindows) -> Strips {
    let value = if windows.has_quads() { size_of::<u8>() } else { size_of::<f32>() };
    Strips::new(shape, windows.widest() * value)
}

/// Scratch of [`depthwise`].
#[derive(Debug, Default)]
pub struct DepthwiseScratch {
    bytes: Frames<u8>,
    numbers: Frames<f32>,
    columns: Vec<Aligned<u32>>,
}

impl DepthwiseScratch {
    /// Makes it a scratch of so many values of a frame for each of so many threads.
    fn fit(&mut self, threads: usize, shape: WindowShape, windows: &ByteWindows, len: usize) {
        let has_quads = windows.has_quads();
        self.bytes.fit(threads, if has_quads { len } else { 0 });
        self.numbers.fit(threads, if has_quads { 0 } else { len });
        if self.columns.len() < threads {
            self.columns.resize_with(threads, Aligned::default);
        }
        self.columns.iter_mut().for_each(|columns| columns.grow(columns_len(shape, windows)));
    }
}

/// A depthwise convolution of `n` images `xs`, `[n, h, w, c_in]`, after an expansion if there is one; writes `[n, h', w', c]`.
/// `sums`, `[n, strips, c]` where it is not empty, gets each channel's sum of bytes over the pixels of each strip of rows.
///
/// # Panics
/// A slice has another length.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
pub fn depthwise(
    crew: Crew,
    shape: WindowShape,
    xs: &[u8],
    expansion: ByteExpansion,
    windows: &ByteWindows,
    output: &Output,
    scratch: &mut DepthwiseScratch,
    words: &mut Scratch,
    sums: &mut [u32],
    ys: &mut [u8],
) {
    let c = windows.channels();
    let (pixels_in, pixels_out) = (shape.h * shape.w, shape.h_out() * shape.w_out());
    let (c_in, panels) = match expansion {
        ByteExpansion::None => (c, None),
        ByteExpansion::Product(panels, _) => (panels.padded(), Some(panels)),
    };
    let n = ys.len() / (pixels_out * c);
    assert!(ys.len() == n * pixels_out * c && xs.len() == n * pixels_in * c_in, "images of {shape:?}");
    let strips = strips_of(shape, windows);
    assert!(sums.is_empty() || sums.len() == n * strips.count * c, "sums of {shape:?}");
    let rows_in = shape.rows_in(strips.rows);
    scratch.fit(crew.threads(), shape, windows, rows_in * shape.framed_width() * windows.widest());
    words.fit(crew.threads(), panels, rows_in * shape.w * c_in);

    let (bytes, numbers) = (Shards::new(&mut scratch.bytes.0), Shards::new(&mut scratch.numbers.0));
    let (columns, words) = (Shards::new(&mut scratch.columns), Shards::new(&mut words.0));
    let (to, all_sums) = (Shards::new(ys), Shards::new(sums));
    crew.run(n * strips.count * windows.len(), &|worker, task| {
        let (panel, rest) = (task / (n * strips.count), task % (n * strips.count));
        let (image, strip) = (rest / strips.count, rest % strips.count);
        // SAFETY: a worker does one task at a time, and the scratches of its number are its alone.
        let (columns, words) = unsafe { (&mut columns.values(worker, 1)[0], &mut words.values(worker, 1)[0]) };
        let windows_panel = windows.panel(panel);
        let first_out = strip * strips.rows;
        let rows_out = strips.rows.min(shape.h_out() - first_out);
        let xs = &xs[image * pixels_in * c_in..(image + 1) * pixels_in * c_in];
        let rows = FramedRows::new(shape, first_out, rows_out, windows_panel.width);
        let inner = &xs[rows.first * shape.w * c_in..rows.end * shape.w * c_in];
        let framing = Framing { rows, inner, number: rest, channels: c, panel, windows_panel, expansion };
        let first = (image * pixels_out + first_out * shape.w_out()) * c;
        let mut framed = ByteFrame { bytes: &[], numbers: &[], rows_out, first, pixel: c };
        if windows.has_quads() {
            // SAFETY: as above.
            let frame = unsafe { &mut bytes.values(worker, 1)[0] };
            framed.bytes = framing.fill(words, frame.bordered(rows, windows.zero_point));
        } else {
            // SAFETY: as above.
            let frame = unsafe { &mut numbers.values(worker, 1)[0] };
            framed.numbers = framing.fill(words, frame.bordered(rows, windows.zero_point.into()));
        }
        let mut none = [];
        let sums = if all_sums.is_empty() {
            &mut none[..]
        } else {
            let first = (image * strips.count + strip) * c + windows_panel.first;
            // SAFETY: these channels' sums over this strip are this task's alone.
            unsafe { all_sums.values(first, windows_panel.channels) }
        };
        convolve(windows.level, shape, framed, windows_panel, output, columns.values_mut(), sums, to);
    });
}

/// What a frame of some rows is filled with.
struct Framing<'a> {
    rows: FramedRows,
    /// The image's rows, and their number among all images' strips.
    inner: &'a [u8],
    number: usize,
    /// Channels of all panels.
    channels: usize,
    panel: usize,
    windows_panel: ByteWindowPanel<'a>,
    expansion: ByteExpansion<'a>,
}

/// A value of a frame: a byte, or its number.
trait FrameValue: Copy + Default + From<u8> {
    fn to(values: &mut [Self], affine: Affine) -> To<'_>;
}

impl FrameValue for u8 {
    fn to(values: &mut [Self], affine: Affine) -> To<'_> {
        To::Bytes(Shards::new(values), affine)
    }
}

impl FrameValue for f32 {
    fn to(values: &mut [Self], affine: Affine) -> To<'_> {
        To::Numbers(Shards::new(values), affine)
    }
}

impl Framing<'_> {
    fn fill<'v, T: FrameValue>(&self, words: &mut Words, values: &'v mut [T]) -> &'v [T] {
        match self.expansion {
            ByteExpansion::None => {
                let ByteWindowPanel { first, channels, .. } = self.windows_panel;
                self.rows.copy(self.inner, self.channels, first, channels, values);
            }
            ByteExpansion::Product(panels, output) => {
                let words = words.of(panels, self.number, self.inner);
                let panel = panels.panel(self.panel);
                let product = Product {
                    panel,
                    columns: panel.width,
                    epilogue: &output.epilogue,
                    shortcut: None,
                    to: T::to(values, output.affine),
                    places: self.rows.places(),
                };
                multiply(panels.level, words, product);
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Epilogue, Team};
    use super::super::output::{Affine, scale_and_bias};
    use super::super::product::product;
    use super::super::product::tests::{bytes, weights};
    use super::*;
    use crate::activation::Activation;
    use crate::parallel::tests::values;
    use crate::simd::Level;

    #[test]
    fn every_level_and_thread_count_gives_the_definition_s_bytes() {
        let team = Team::new(3).unwrap();
        let (input, middle) = (Affine { scale: 0.02, zero_point: 17 }, Affine { scale: 0.03, zero_point: 5 });
        let shapes = [
            (7, 6, 3, 1, 1),
            (8, 8, 3, 2, 1),
            (5, 9, 5, 1, 1),
            (4, 4, 5, 2, 1),
            (1, 1, 3, 1, 1),
            (9, 7, 3, 1, 2),
            (6, 6, 7, 1, 1),
            (90, 50, 3, 1, 1),
        ];
        for (h, w, kernel, stride, dilation) in shapes {
            let shape = WindowShape { h, w, kernel, stride, dilation };
            for (n, c_in, c) in [(1, 4, 40), (2, 8, 17)] {
                let xs = bytes(n * h * w * c_in, 1);
                let (expand, expand_bias) = (weights(c * c_in, 2), values(c, 3));
                let (weight, bias) = (weights(c * kernel * kernel, 4), values(c, 5));
                let scales: Vec<f32> = values(c, 6).iter().map(|value| 0.001 + value.abs() * 0.01).collect();
                let act = |act: Activation, affine| Output { epilogue: Epilogue::from(act), affine };
                let expanded = act(Activation::Relu6, middle);
                let last = if n == 1 { Activation::HSwish } else { Activation::Relu6 };
                let output = act(last, Affine { scale: 0.05, zero_point: 9 });
                let (pixels, k, p) = (shape.h_out() * shape.w_out(), kernel, shape.padding());
                for level in Level::available() {
                    let panels = BytePanels::new(level, &expand, c_in, &scales, &expand_bias, input);
                    let windows = ByteWindows::new(level, &weight, kernel, &scales, &bias, middle);
                    let mut e = vec![0; n * h * w * c];
                    product(Crew::Solo, &xs, &panels, &expanded, None, &mut Scratch::default(), &mut e);
                    let count = strips(shape, &windows);
                    let run = |crew: Crew, xs: &[u8], expansion| {
                        let (mut ys, mut sums) = (vec![77; n * pixels * c], vec![7; n * count * c]);
                        let (scratch, words) = (&mut DepthwiseScratch::default(), &mut Scratch::default());
                        depthwise(crew, shape, xs, expansion, &windows, &output, scratch, words, &mut sums, &mut ys);
                        (ys, sums)
                    };
                    let expansion = ByteExpansion::Product(&panels, &expanded);
                    let (ys, sums) = run(Crew::Solo, &xs, expansion);
                    assert_eq!(run(Crew::Team(&team), &xs, expansion), (ys.clone(), sums.clone()), "{shape:?} {level}");
                    assert_eq!(
                        run(Crew::Solo, &e, ByteExpansion::None),
                        (ys.clone(), sums.clone()),
                        "{shape:?} {level}"
                    );
                    for image in 0..n {
                        for ch in 0..c {
                            let window = &weight[ch * k * k..(ch + 1) * k * k];
                            let (scale, bias) = scale_and_bias(middle, scales[ch], window.iter().copied(), bias[ch]);
                            let mut total = 0;
                            for oy in 0..shape.h_out() {
                                for ox in 0..shape.w_out() {
                                    let mut sum = 0;
                                    for ky in 0..k {
                                        for kx in 0..k {
                                            let y = (oy * stride + ky * dilation).wrapping_sub(p);
                                            let x = (ox * stride + kx * dilation).wrapping_sub(p);
                                            let byte = match y < h && x < w {
                                                true => e[((image * h + y) * w + x) * c + ch],
                                                false => middle.zero_point,
                                            };
                                            sum += i32::from(byte) * i32::from(window[ky * k + kx]);
                                        }
                                    }
                                    let expected = output.byte(sum, scale, bias);
                                    let found = ys[(image * pixels + oy * shape.w_out() + ox) * c + ch];
                                    assert_eq!(found, expected, "{shape:?} {level}, channel {ch} at {oy}, {ox}");
                                    total += u32::from(expected);
                                }
                            }
                            let found: u32 = (0..count).map(|strip| sums[(image * count + strip) * c + ch]).sum();
                            assert_eq!(found, total);
                        }
                    }
                }
            }
        }
    }
}
