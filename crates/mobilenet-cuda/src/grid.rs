//! How work is divided among blocks and threads. It follows from the sizes alone, never from the device: sums are taken in
//! the same parts everywhere.

/// Threads of a block of a pass over rows, at most.
const ROW_THREADS: usize = 256;
/// Of a pass of strips.
const STRIP_THREADS: usize = 128;
/// Lanes along channels, at most.
const LANES: usize = 32;
/// Rows that a thread has at least where there are enough parts.
const ROWS_PER_THREAD: usize = 4;
/// Blocks of a pass that has sums, about.
const BLOCKS: usize = 1024;
const STRIP_BLOCKS: usize = 528;
const SEGMENT_BLOCKS: usize = 1056;
/// Rows of a segment of a strip, and threads from which on it is one of these and not the shortest.
const SEGMENTS: [usize; 2] = [32, 16];
const SHORTEST: usize = 8;
const SEGMENT_THREADS: usize = 1 << 17;
/// Blocks of a pass that goes in steps of the grid, at most.
const STEP_BLOCKS: usize = 4096;

/// A grid of blocks of channels by parts of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Channels of a thread.
    pub width: usize,
    /// Lanes along channels, and rows of threads.
    pub block: [usize; 2],
    /// Blocks of channels.
    pub across: usize,
    /// Parts of the rows.
    pub parts: usize,
}

impl Grid {
    /// Of a pass over `rows` of `c` channels.
    pub fn rows(rows: usize, c: usize) -> Self {
        let width = if c.is_multiple_of(4) { 4 } else { 1 };
        Self::new(rows, c / width, width, ROW_THREADS, BLOCKS)
    }

    /// Of such a pass, one channel a thread.
    pub fn single(rows: usize, c: usize) -> Self {
        Self::new(rows, c, 1, ROW_THREADS, BLOCKS)
    }

    /// Of a pass down so many strips of `rows` rows of pairs of channels, and the rows of a segment: what a thread goes
    /// down, as many as leave enough threads.
    pub fn segments(strips: usize, rows: usize, c: usize) -> (Self, usize) {
        let enough = |segment: &usize| strips * rows.div_ceil(*segment) * (c / 2) >= SEGMENT_THREADS;
        let segment = SEGMENTS.into_iter().find(enough).unwrap_or(SHORTEST);
        (Self::divided(strips * rows.div_ceil(segment), c / 2, 2, STRIP_THREADS, SEGMENT_BLOCKS, 1), segment)
    }

    /// Of a pass over so many strips, each of one row, of pairs of channels.
    pub fn strips(strips: usize, c: usize) -> Self {
        Self::new(strips, c / 2, 2, STRIP_THREADS, STRIP_BLOCKS)
    }

    /// Of a pass over images, whose pixels the rows of threads share; a part is an image.
    pub fn images(n: usize, pixels: usize, c: usize) -> Self {
        let Self { width, block: [lanes, rows], across, .. } = Self::rows(pixels, c);
        Self { width, block: [lanes, rows.min(pixels)], across, parts: n }
    }

    /// Of a dense convolution's pixels, at most 64 channels a block.
    pub fn stem(rows: usize, c: usize) -> Self {
        let grid = Self::rows(rows, c);
        let lanes = grid.block[0].min(64 / grid.width);
        Self { block: [lanes, ROW_THREADS / lanes], across: (c / grid.width).div_ceil(lanes), ..grid }
    }

    fn new(rows: usize, groups: usize, width: usize, threads: usize, blocks: usize) -> Self {
        Self::divided(rows, groups, width, threads, blocks, ROWS_PER_THREAD)
    }

    fn divided(rows: usize, groups: usize, width: usize, threads: usize, blocks: usize, of_thread: usize) -> Self {
        // The most lanes of those that leave the fewest idle.
        let idle = |lanes: &usize| (groups.div_ceil(*lanes) * lanes, LANES - lanes);
        let lanes =
            (1.min(groups)..=LANES.min(groups)).skip(groups.min(LANES) / 2).min_by_key(idle).unwrap_or(1).max(1);
        let (rows_of_threads, across) = (threads / lanes, groups.div_ceil(lanes).max(1));
        let parts = rows.div_ceil(rows_of_threads * of_thread).clamp(1, blocks.div_ceil(across));
        Self { width, block: [lanes, rows_of_threads], across, parts }
    }

    pub fn grid(&self) -> [usize; 2] {
        [self.across, self.parts]
    }
}

/// Blocks of 256 threads for so many values, one each.
pub(crate) fn blocks(values: usize) -> [usize; 2] {
    [values.div_ceil(256).max(1), 1]
}

/// Blocks of 256 threads for so many values, in steps of the grid.
pub(crate) fn steps(values: usize) -> [usize; 2] {
    [values.div_ceil(256).clamp(1, STEP_BLOCKS), 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_and_channel_has_a_thread() {
        for c in (1..=64).chain([72, 96, 144, 240, 320, 672, 960, 1280]) {
            for rows in [1, 3, 49, 1000, 131_072] {
                for grid in [Grid::rows(rows, c), Grid::single(rows, c), Grid::images(3, rows, c), Grid::stem(rows, c)]
                {
                    let Grid { width, block: [lanes, rows_of_threads], across, parts } = grid;
                    assert!(c.is_multiple_of(width) && lanes * across * width >= c, "{grid:?}");
                    assert!(
                        lanes > 0 && rows_of_threads > 0 && lanes * rows_of_threads <= 256 && parts > 0,
                        "{grid:?}"
                    );
                    assert!(lanes * across * width < 2 * c.max(2 * width), "many idle threads: {grid:?} for {c}");
                }
                if c % 2 == 0 {
                    for grid in [Grid::strips(rows, c), Grid::segments(rows, 32, c).0] {
                        let Grid { block: [lanes, rows_of_threads], across, .. } = grid;
                        assert!(lanes * across * 2 >= c && lanes * rows_of_threads <= 128 && lanes <= 32, "{c}");
                    }
                }
            }
        }
    }

    #[test]
    fn segments_are_long_where_threads_are_many() {
        assert_eq!(Grid::segments(128 * 8, 32, 96).1, 8);
        assert_eq!(Grid::segments(1024 * 8, 32, 96).1, 32);
        assert_eq!(Grid::segments(128 * 4, 32, 384).1, 16);
    }

    #[test]
    fn channels_of_the_tables_leave_few_threads_idle() {
        for c in [16, 24, 32, 64, 72, 96, 120, 144, 184, 192, 200, 240, 384, 480, 576, 672, 960, 1280] {
            let Grid { block: [lanes, _], across, .. } = Grid::strips(1000, c);
            assert!((lanes * across * 2) as f64 <= 1.1 * c as f64, "{c}: {lanes} lanes, {across} blocks");
        }
    }
}
