//! Products of images' pixels with packed weights, in bytes.

use super::super::Crew;
use super::super::aligned::Aligned;
use super::super::panels::Places;
use super::super::shards::Shards;
use super::output::{Affine, Output};
use super::panels::{BytePanels, To, multiply};

/// Rows of a task, at least.
const LEAST_ROWS: usize = 8;

/// Tasks for each thread, where there is work for so many.
const TASKS_PER_THREAD: usize = 4;

/// Rows that are laid out as words at once, where a step of a sum is not four bytes.
const ROWS_AT_ONCE: usize = 48;

/// Scratch of products: rows of the left as words, for each thread.
#[derive(Debug, Default)]
pub struct Scratch(pub(super) Vec<Aligned<[u8; 4]>>);

impl Scratch {
    pub(super) fn fit(&mut self, threads: usize, len: usize) {
        if self.0.len() < threads {
            self.0.resize_with(threads, Aligned::default);
        }
        self.0.iter_mut().for_each(|words| words.grow(len));
    }
}

/// Rows of bytes as the words that a product's steps take: the bytes themselves, or two numbers of 16 bits in each.
pub(super) fn words<'a>(step: usize, bytes: &'a [u8], scratch: &'a mut [[u8; 4]]) -> &'a [[u8; 4]] {
    if step == 4 {
        return bytes.as_chunks().0;
    }
    let words = &mut scratch[..bytes.len() / 2];
    words.iter_mut().zip(bytes.as_chunks().0).for_each(|(word, &[first, second])| *word = [first, 0, second, 0]);
    words
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
    scratch.fit(crew.threads(), if panels.step == 4 { 0 } else { ROWS_AT_ONCE * inner / panels.step });
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
            let words = words(panels.step, &xs[first * inner..next * inner], scratch.values_mut());
            let shortcut = shortcut.map(|(bytes, affine)| (&bytes[first * columns..next * columns], columns, affine));
            for i in panel_block * panels.len() / panel_blocks..(panel_block + 1) * panels.len() / panel_blocks {
                let panel = panels.panel(i);
                let places = Places::plain(first * columns + panel.first, columns);
                multiply(panels.level, words, panel, panel.columns, &output.epilogue, shortcut, to, places);
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
            xs[0] = 255;
            let mut weight = weights(columns * inner, 2);
            weight[..inner].fill(-127);
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
                    let mut value = output.epilogue.value(terms.sum::<i32>() as f32 * scale + bias);
                    floats.push(value);
                    if let Some((bytes, affine)) = shortcut {
                        value +=
                            (f32::from(bytes[row * columns + column]) - f32::from(affine.zero_point)) * affine.scale;
                    }
                    expected.push(output.affine.byte(value));
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
