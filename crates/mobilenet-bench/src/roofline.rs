//! The machine's roofline: how fast it can compute, and how fast it can move what it computes with.
//!
//! A computation of `I` floating point operations per byte moved cannot run faster than `min(peak, I · bandwidth)`: the
//! roofline model of Williams, Waterman and Patterson, *Roofline: an insightful visual performance model for multicore
//! architectures*, Communications of the ACM 52(4), 2009. Both numbers are measured here, none is taken from a data
//! sheet:
//!
//! - **Peak**: this project's own float32 product ([`pointwise::forward`]) of blocks that fit a core's L2, on all
//!   threads. It is what a convolution could reach at best; the processor may be capable of a few percent more.
//! - **Bandwidth**: every thread reads each value of a buffer of its own and writes it back changed, over and over.
//!   Both ways count, and nothing is moved that is not counted: a line is in the cache when it is written. The buffer's
//!   size decides what is measured: half of a thread's share of the L2, half of its share of the L3, or, for the
//!   memory, four times the L3 of all.
//!
//! Each is the best of the rounds of about a millisecond that its share of the time has room for: whatever disturbs a
//! round makes it slower. On a machine that is busy all the time none is undisturbed, and the figures are too low.

use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mobilenet_kernels::stream::complement;
use mobilenet_kernels::{Level, pointwise};
use mobilenet_schema::{Bandwidth, MemoryLevel, Roofline};

use crate::caches::{available_memory, l2_and_l3};
use crate::{Error, Result};

/// Long enough that starting a round does not matter, short enough that some are not disturbed on a machine that does
/// other things too.
const ROUND: Duration = Duration::from_millis(1);
/// How often each figure is taken, in turns: where the system puts the threads may be wrong for a while.
const TURNS: u32 = 4;
/// `(c_in, c_out)` of the products: which is fastest depends on the caches.
const PRODUCTS: [(usize, usize); 3] = [(128, 128), (256, 128), (256, 256)];
const FLOAT_BYTES: usize = size_of::<f32>();
/// Values in a line of the cache.
const LINE: usize = 16;

/// Measures on all threads of rayon's pool, for about `time` in all; a little longer where buffers are large.
///
/// # Errors
/// [`Error::Memory`] where a buffer cannot be had.
pub fn roofline(time: Duration) -> Result<Roofline> {
    let threads = rayon::current_num_threads();
    let streams = buffers(threads)
        .into_iter()
        .map(|(level, bytes)| Stream::new(level, bytes / FLOAT_BYTES))
        .collect::<Result<Vec<_>>>()?;
    let share = time / TURNS / (PRODUCTS.len() + streams.len()) as u32;
    let (mut peak, mut rates) = (0f64, vec![0f64; streams.len()]);
    for _ in 0..TURNS {
        peak = PRODUCTS.iter().map(|&shape| product(threads, shape, share)).fold(peak, f64::max);
        for (rate, stream) in rates.iter_mut().zip(&streams) {
            *rate = rate.max(stream.bytes_per_second(share));
        }
    }
    let bandwidth = |(stream, rate): (&Stream, f64)| Bandwidth {
        level: stream.level,
        buffer_bytes: stream.bytes() as u64,
        gb_per_second: rate / 1e9,
    };
    Ok(Roofline {
        threads,
        instruction_set: Level::best().to_string(),
        peak_gflop_per_second: peak / 1e9,
        bandwidths: streams.iter().zip(rates).map(bandwidth).collect(),
    })
}

/// Bytes per thread for each level. Where the system does not tell the caches' sizes, common ones are taken.
fn buffers(threads: usize) -> Vec<(MemoryLevel, usize)> {
    const COMMON_L2: usize = 1 << 20;
    const COMMON_L3: usize = 32 << 20;
    let (l2, l3) = l2_and_l3();
    let near = l2.map_or(COMMON_L2, |cache| cache.per_thread(threads));
    let mut buffers = vec![(MemoryLevel::L2, near / 2)];
    // A share of the L3 that would fit the L2 as well shows nothing new.
    let far = l3.map_or(0, |cache| cache.per_thread(threads)) / 2;
    if far >= 2 * near {
        buffers.push((MemoryLevel::L3, far));
    }
    let all = l3.map_or(COMMON_L3, |cache| cache.total(threads)).max(COMMON_L3 / 4).max(threads * near);
    // Not more than the machine can spare.
    let most = available_memory().map_or(1 << 30, |bytes| usize::try_from(bytes / 4).unwrap_or(usize::MAX));
    buffers.push((MemoryLevel::Memory, (4 * all).min(most).min(2 << 30) / threads));
    buffers
}

/// Operations per second of products of `c_in` by `c_out` matrices.
fn product(threads: usize, (c_in, c_out): (usize, usize), time: Duration) -> f64 {
    // Pixels that `pointwise` splits into some parts per thread, each half a megabyte.
    let rows = threads * 4 * ((1 << 16) / c_in.max(c_out));
    let (xs, weight) = (vec![0.5; rows * c_in], vec![0.25; c_in * c_out]);
    let mut ys = vec![0.; rows * c_out];
    let pass = shortest_pass(time, |passes| {
        // From one of the pool's threads, work is shared without waking anybody.
        rayon::scope(|_| {
            for _ in 0..passes {
                pointwise::forward(black_box(&xs), &weight, c_in, c_out, &mut ys);
                black_box(&mut ys);
            }
        });
    });
    (2 * rows * c_in * c_out) as f64 / pass
}

/// A buffer of `len` values for each thread, to be read and written over and over.
struct Stream {
    level: MemoryLevel,
    len: usize,
    buffers: Vec<Mutex<Vec<f32>>>,
}

impl Stream {
    fn new(level: MemoryLevel, len: usize) -> Result<Self> {
        // Made by the thread that uses it, so that it lies in the memory nearest to that.
        let buffers = rayon::broadcast(|_| {
            let mut values = Vec::new();
            let room = len + LINE;
            values.try_reserve_exact(room).map_err(|_| Error::Memory { bytes: room * FLOAT_BYTES })?;
            values.resize(room, 0.25);
            Ok(Mutex::new(values))
        });
        Ok(Self { level, len, buffers: buffers.into_iter().collect::<Result<_>>()? })
    }

    /// Bytes of all threads' buffers.
    fn bytes(&self) -> usize {
        self.buffers.len() * self.len * FLOAT_BYTES
    }

    /// Bytes that all threads together read and write in a second.
    fn bytes_per_second(&self, time: Duration) -> f64 {
        let pass = shortest_pass(time, |passes| {
            rayon::broadcast(|thread| {
                let Some(buffer) = self.buffers.get(thread.index()) else { return };
                let mut values = buffer.lock().unwrap_or_else(PoisonError::into_inner);
                // Registers that straddle two lines of the cache would take longer.
                let start = values.as_ptr().align_offset(LINE * FLOAT_BYTES).min(LINE);
                let values = &mut values[start..start + self.len];
                for _ in 0..passes {
                    complement(values);
                    black_box(&mut *values);
                }
            });
        });
        (2 * self.bytes()) as f64 / pass
    }
}

/// Seconds per pass of the fastest round that fits in `time`; there are at least three.
fn shortest_pass(time: Duration, mut round: impl FnMut(u32)) -> f64 {
    let begun = Instant::now();
    let mut timed = |passes: u32| {
        let start = Instant::now();
        round(passes);
        start.elapsed()
    };
    let mut passes = 1;
    // The faster of two: one that was disturbed would make the rounds too short.
    while timed(passes).min(timed(passes)) < ROUND && passes < 1 << 20 {
        passes *= 2;
    }
    let mut shortest = Duration::MAX;
    let mut rounds = 0;
    while rounds < 3 || begun.elapsed() < time {
        shortest = shortest.min(timed(passes));
        rounds += 1;
    }
    shortest.max(Duration::from_nanos(1)).as_secs_f64() / f64::from(passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_positive_and_serialize() {
        let roofline = roofline(Duration::from_millis(60)).unwrap();
        assert!(roofline.peak_gflop_per_second > 0. && roofline.threads > 0, "{roofline:?}");
        let levels: Vec<MemoryLevel> = roofline.bandwidths.iter().map(|b| b.level).collect();
        assert_eq!((levels.first(), levels.last()), (Some(&MemoryLevel::L2), Some(&MemoryLevel::Memory)));
        for found in &roofline.bandwidths {
            assert!(found.gb_per_second > 0. && found.gb_per_second.is_finite(), "{found:?}");
            assert!(found.ridge(roofline.peak_gflop_per_second) > 0.);
        }
        let sizes: Vec<u64> = roofline.bandwidths.iter().map(|b| b.buffer_bytes).collect();
        assert!(sizes.is_sorted(), "{sizes:?}");
        let json = serde_json::to_value(&roofline).unwrap();
        assert_eq!(json["bandwidths"][0]["level"], "l2");
        assert_eq!(serde_json::from_value::<Roofline>(json).unwrap().bandwidths.len(), sizes.len());
    }

    #[test]
    fn every_level_has_a_buffer_larger_than_the_one_before() {
        for threads in [1, 2, 7, 128] {
            let buffers = buffers(threads);
            assert!(buffers.is_sorted_by(|a, b| a.1 < b.1) || threads > 100, "{threads}: {buffers:?}");
            assert!(buffers.iter().all(|&(_, bytes)| bytes >= FLOAT_BYTES), "{threads}: {buffers:?}");
        }
    }

    #[test]
    fn a_pass_is_timed_by_its_fastest_round() {
        let mut calls = 0;
        let pass = shortest_pass(Duration::ZERO, |passes| {
            calls += 1;
            std::thread::sleep(Duration::from_millis(if calls == 3 { 6 } else { 100 }));
            assert_eq!(passes, 1);
        });
        // Twice to find the number of passes, then three rounds.
        assert_eq!(calls, 5);
        assert!((0.006..0.1).contains(&pass), "{pass}");
    }
}
