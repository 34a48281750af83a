//! Products of images' pixels with packed weights, in bytes.

use super::super::Crew;
use super::super::aligned::Aligned;
use super::super::panels::Places;
use super::super::shards::Shards;
use super::multiply::{Product, To, multiply};
use super::output::{Affine, Output};
use super::panels::BytePanels;
use crate::simd::{ByteIsa, for_each_byte_level};

/// Rows of a task, at least.
const LEAST_ROWS: usize = 8;

/// Tasks for each thread, where there is work for so many.
const TASKS_PER_THREAD: usize = 4;

/// Rows that are laid out as words at once, where a step of a sum is not four bytes.
const ROWS_AT_ONCE: usize = 48;

/// Scratch of products.
#[derive(Debug, Default)]
pub struct Scratch(pub(super) Vec<Words>);

/// A thread's rows of the left, as the words that a product's steps take where that is not four bytes.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: Aligned<[u8; 4]>,
    /// Which rows they are.
    rows: Option<usize>,
}

impl Scratch {
    /// Makes it a scratch of so many bytes at once for each of so many threads, for a product with these panels.
    pub(super) fn fit(&mut self, threads: usize, panels: Option<&BytePanels>, bytes: usize) {
        if self.0.len() < threads {
            self.0.resize_with(threads, Words::default);
        }
        let len = panels.filter(|panels| panels.step != 4).map_or(0, |panels| bytes / panels.step);
        for words in &mut self.0 {
            words.words.grow(len);
            words.rows = None;
        }
    }
}

impl Words {
    /// Of bytes, which since the last [`fit`](Scratch::fit) no others had the same number as.
    pub(super) fn of<'a>(&'a mut self, panels: &BytePanels, number: usize, bytes: &'a [u8]) -> &'a [[u8; 4]] {
        if panels.step == 4 {
            return bytes.as_chunks().0;
        }
        let words = &mut self.words.values_mut()[..bytes.len() / panels.step];
        if self.rows != Some(number) {
            widen(panels.level, bytes, words);
            self.rows = Some(number);
        }
        words
    }
}

for_each_byte_level! {
    /// Bytes as numbers of 16 bits.
    fn widen(bytes: &[u8], words: &mut [[u8; 4]]) = widen_body
}

#[inline(always)]
fn widen_body<I: ByteIsa, const L: usize>(_: I, bytes: &[u8], words: &mut [[u8; 4]]) {
    let numbers = words.as_flattened_mut().as_chunks_mut().0;
    numbers.iter_mut().zip(bytes).for_each(|(number, byte)| *number = u16::from(*byte).to_le_bytes());
}

/// `ys[row, column] = output(scale · Σ_k xs[row, k] · weight[column, k] + bias) + shortcut[row, column]`
///
/// # Panics
/// A slice has another length.
pub fn product(
    crew: Crew,
    xs: &[u8],
    panels: &BytePanels,
    output: &Output,
    shortcut: Option<(&[u8], Affine)>,
    scratch: &mut Scratch,
    ys: &mut [u8],
) {
    assert!(shortcut.is_none_or(|(bytes, _)| bytes.len() == ys.len()), "a shortcut of another size");
    let rows = ys.len() / panels.columns();
    run(crew, xs, panels, output, shortcut, scratch, rows, output.to(Shards::new(ys)));
}

/// The same to float32 numbers: for what is not kept in bytes. `output` says nothing but the activation.
///
/// # Panics
/// A slice has another length.
pub fn product_to_floats(
    crew: Crew,
    xs: &[u8],
    panels: &BytePanels,
    output: &Output,
    scratch: &mut Scratch,
    ys: &mut [f32],
) {
    let rows = ys.len() / panels.columns();
    run(crew, xs, panels, output, None, scratch, rows, To::Floats(Shards::new(ys)));
}

#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
fn run(
    crew: Crew,
    xs: &[u8],
    panels: &BytePanels,
    output: &Output,
    shortcut: Option<(&[u8], Affine)>,
    scratch: &mut Scratch,
    rows: usize,
    to: To,
) {
    let (inner, columns) = (panels.padded(), panels.columns());
    assert_eq!(xs.len(), rows * inner, "the left of a product of {rows} rows");
    if rows == 0 {
        return;
    }
    let wanted = match crew.threads() {
        1 => 1,
        threads => threads * TASKS_PER_THREAD,
    };
    let row_blocks = wanted.div_ceil(panels.len()).min(rows.div_ceil(LEAST_ROWS)).max(1);
    let panel_blocks = wanted.div_ceil(row_blocks).min(panels.len());
    scratch.fit(crew.threads(), Some(panels), ROWS_AT_ONCE * inner);
    let scratch = Shards::new(&mut scratch.0);
    crew.run(row_blocks * panel_blocks, &|worker, task| {
        let (row_block, panel_block) = (task / panel_blocks, task % panel_blocks);
        // SAFETY: a worker does one task at a time, and the scratch of its number is its alone.
        let scratch = unsafe { &mut scratch.values(worker, 1)[0] };
        let end = (row_block + 1) * rows / row_blocks;
        let mut first = row_block * rows / row_blocks;
        let at_once = if panels.step == 4 { rows } else { ROWS_AT_ONCE };
        while first < end {
            let next = (first + at_once).min(end);
            let words = scratch.of(panels, first, &xs[first * inner..next * inner]);
            let shortcut = shortcut.map(|(bytes, affine)| (&bytes[first * columns..next * columns], columns, affine));
            for i in panel_block * panels.len() / panel_blocks..(panel_block + 1) * panels.len() / panel_blocks {
                let panel = panels.panel(i);
                let places = Places::plain(first * columns + panel.first, columns);
                let (columns, epilogue) = (panel.columns, &output.epilogue);
                multiply(panels.level, words, Product { panel, columns, epilogue, shortcut, to, places });
            }
            first = next;
        }
    });
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::{Epilogue, Pieces, Team};
    use super::*;
    use crate::activation::Activation;
    use crate::parallel::tests::values;
    use crate::simd::Level;

    pub(in super::super) fn bytes(len: usize, seed: u64) -> Vec<u8> {
        values(len, seed).iter().map(|value| (value * 127.5 + 127.5).round() as u8).collect()
    }

    pub(in super::super) fn weights(len: usize, seed: u64) -> Vec<i8> {
        values(len, seed).iter().map(|value| (value * 127.).round() as i8).collect()
    }

    #[test]
    fn every_level_and_thread_count_gives_the_definition_s_bytes() {
        let team = Team::new(3).unwrap();
        let input = Affine { scale: 0.02, zero_point: 117 };
        let added = Affine { scale: 0.01, zero_point: 3 };
        let mut sizes =
            vec![(64, 24, 16), (130, 17, 100), (2, 40, 4), (13, 95, 8), (1, 1000, 32), (50, 7, 28), (9, 33, 27)];
        sizes.extend((1..=26).map(|rows| (rows, 40, 8)));
        sizes.extend((1..=67).map(|columns| (13, columns, 12)));
        for (i, (rows, columns, inner)) in sizes.into_iter().enumerate() {
            let padded = usize::next_multiple_of(inner, 4);
            let mut xs = bytes(rows * padded, 1);
            // Sums as large as they can be, of both signs.
            xs[..padded].fill(255);
            let mut weight = weights(columns * inner, 2);
            weight[..inner].fill(-128);
            weight[(columns - 1) * inner..].fill(127);
            let scales: Vec<f32> = values(columns, 3).iter().map(|value| 0.01 + value.abs() * 0.01).collect();
            let bias = values(columns, 4);
            let pieces = Pieces::new(&[-3., -1., 1.5], &[-0.1, 0.6, 0.5]).unwrap();
            let act = [Activation::Relu6, Activation::HSwish, Activation::Identity].map(Epilogue::from);
            let epilogue = act.into_iter().chain([Epilogue::Pieces(pieces)]).nth(i % 4).unwrap();
            let output = Output { epilogue, affine: Affine { scale: 0.07, zero_point: 40 } };
            let shortcut = bytes(rows * columns, 5);
            let shortcut = (i % 2 == 1).then_some((&shortcut[..], added));
            let (mut expected, mut floats) = (Vec::new(), Vec::new());
            for row in 0..rows {
                for column in 0..columns {
                    let terms =
                        (0..inner).map(|k| i32::from(xs[row * padded + k]) * i32::from(weight[column * inner + k]));
                    let weights = weight[column * inner..(column + 1) * inner].iter().copied();
                    let (scale, bias) =
                        super::super::output::scale_and_bias(input, scales[column], weights, bias[column]);
                    let sum = terms.sum::<i32>();
                    let value = output.epilogue.value(sum as f32 * scale + bias);
                    floats.push(value);
                    expected.push(match shortcut {
                        Some((bytes, affine)) => {
                            let byte = f32::from(bytes[row * columns + column]);
                            output.affine.byte(value + (byte - f32::from(affine.zero_point)) * affine.scale)
                        }
                        None => output.byte(sum, scale, bias),
                    });
                }
            }
            for level in Level::available() {
                let panels = BytePanels::new(level, &weight, inner, &scales, &bias, input);
                assert_eq!(panels.padded(), padded);
                for crew in [Crew::Solo, Crew::Team(&team)] {
                    let mut ys = vec![77; rows * columns];
                    product(crew, &xs, &panels, &output, shortcut, &mut Scratch::default(), &mut ys);
                    assert_eq!(ys, expected, "{rows} × {inner} × {columns}, {level}");
                    let mut ys = vec![f32::NAN; rows * columns];
                    product_to_floats(crew, &xs, &panels, &output, &mut Scratch::default(), &mut ys);
                    assert_eq!(ys, floats, "{rows} × {inner} × {columns}, {level}");
                }
            }
        }
    }
}
