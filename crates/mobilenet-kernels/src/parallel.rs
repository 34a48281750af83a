//! Work split into parts whose size depends on the work alone, so that sums come out the same on any number of threads.
//!
//! What is done to a part is called through a pointer: else rayon's code would be built once more for every
//! closure of every kernel, and be a fifth of this crate's machine code.

use std::ops::Range;

use rayon::prelude::*;

use crate::profile::{self, Items, Part};
use crate::simd::{Isa, Level, for_each_level};

/// How many float32 values a part holds at least: 256 KiB, a share of a core's L2.
const PART: usize = 1 << 16;

/// How many rows of `len` values make one part.
pub(crate) fn rows_per_part(len: usize) -> usize {
    PART.div_ceil(len.max(1))
}

/// How many parts images are divided into, at most: enough for 32 threads to end at about the same time.
const PARTS: usize = 64;

/// How many of `n` images make one part, whatever the number of threads.
pub(crate) fn images_per_part(n: usize) -> usize {
    n.div_ceil(PARTS).max(1)
}

/// Whether so many parts are too few for the threads to end at about the same time, so that they should share the work
/// inside a part too, where that changes no sum.
pub(crate) fn leaves_threads_idle(parts: usize) -> bool {
    let threads = rayon::current_num_threads();
    threads > 1 && parts < 4 * threads
}

/// Calls `f(scratch, item)` for every item: in order, or in parallel, each thread with a scratch of its own.
pub(crate) fn for_each_with<S: Default + Send, T: Send>(
    in_parallel: bool,
    scratch: &mut S,
    items: impl Iterator<Item = T>,
    f: impl Fn(&mut S, T) + Send + Sync,
) {
    if in_parallel {
        for_each_in_parallel(items.collect(), &f);
    } else {
        let mut timer = Items::default();
        items.for_each(|item| timer.run(|| f(scratch, item)));
    }
}

fn for_each_in_parallel<S: Default + Send, T: Send>(items: Vec<T>, f: &(dyn Fn(&mut S, T) + Send + Sync)) {
    items.into_par_iter().for_each_init(S::default, f);
}

/// Calls `f` on every part of `rows` rows, in parallel, and returns the results in order.
pub(crate) fn map_parts<R: Send>(rows: usize, rows_per_part: usize, f: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    map_ranges(rows, rows_per_part, &f)
}

fn map_ranges<R: Send>(rows: usize, rows_per_part: usize, f: &(dyn Fn(Range<usize>) -> R + Sync)) -> Vec<R> {
    let parts = rows.div_ceil(rows_per_part);
    let range = |i: usize| i * rows_per_part..((i + 1) * rows_per_part).min(rows);
    timed((0..parts).into_par_iter().map(|i| profile::part(|| f(range(i)))).collect())
}

/// Calls `f(first row, part of ys)` on every part of `ys`, which has rows of `len` values, in parallel.
pub(crate) fn for_parts(ys: &mut [f32], len: usize, rows_per_part: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    map_parts_mut(ys, len, rows_per_part, f);
}

/// Calls `f(first row, part of ys)` on every part of `ys`, which has rows of `len` values, in parallel, and returns the
/// results in order.
pub(crate) fn map_parts_mut<T: Send, R: Send>(
    ys: &mut [T],
    len: usize,
    rows_per_part: usize,
    f: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    map_chunks(ys, len, rows_per_part, &f)
}

fn map_chunks<T: Send, R: Send>(
    ys: &mut [T],
    len: usize,
    rows_per_part: usize,
    f: &(dyn Fn(usize, &mut [T]) -> R + Sync),
) -> Vec<R> {
    let size = (rows_per_part * len).max(1);
    let parts = ys.par_chunks_mut(size).enumerate();
    timed(parts.map(|(i, part)| profile::part(|| f(i * rows_per_part, part))).collect())
}

/// The results of parts, whose times belong to the phase.
fn timed<R>(parts: Vec<(R, Option<Part>)>) -> Vec<R> {
    profile::stretch(parts.iter().map(|(_, part)| *part));
    parts.into_iter().map(|(result, _)| result).collect()
}

/// Adds up vectors of partial sums, in order and in float64, rounded once at the end.
pub(crate) fn add_up_into(parts: &[impl AsRef<[f32]> + Sync], out: &mut [f32]) {
    const BLOCK: usize = 1 << 12;
    out.par_chunks_mut(BLOCK).enumerate().for_each(|(i, out)| {
        let mut total = [0f64; BLOCK];
        for part in parts {
            add(Level::best(), &part.as_ref()[i * BLOCK..][..out.len()], &mut total);
        }
        out.iter_mut().zip(total).for_each(|(o, t)| *o = t as f32);
    });
}

for_each_level! {
    /// `total[i] += part[i]`
    fn add(part: &[f32], total: &mut [f64]) = add_body
}

#[inline(always)]
fn add_body<I: Isa>(_: I, part: &[f32], total: &mut [f64]) {
    for (total, value) in total.iter_mut().zip(part) {
        *total += f64::from(*value);
    }
}

/// The sum of vectors of partial sums, as [`add_up_into`] takes it.
pub(crate) fn added_up(parts: &[impl AsRef<[f32]> + Sync]) -> Vec<f32> {
    let mut sum = vec![0.; parts.first().map_or(0, |part| part.as_ref().len())];
    add_up_into(parts, &mut sum);
    sum
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `n` values in [-1, 1), a function of `seed`.
    pub(crate) fn values(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.
            })
            .collect()
    }

    #[test]
    fn parts_cover_every_row_once() {
        for (rows, per_part) in [(0, 4), (1, 4), (4, 4), (9, 4)] {
            let seen: Vec<usize> = map_parts(rows, per_part, |range| range.collect::<Vec<_>>()).concat();
            assert_eq!(seen, (0..rows).collect::<Vec<_>>());
        }
    }
}
