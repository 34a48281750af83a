//! Blocks of neighboring channels, and their way in and out of rows that have all channels.

use std::ops::Range;

/// Channels cut into blocks of one width; the last may be narrower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blocks {
    channels: usize,
    width: usize,
}

impl Blocks {
    /// Blocks of about `target` channels, and of the same width if there is such a width, best one of whole registers.
    pub(crate) fn about(target: usize, channels: usize) -> Self {
        Self { channels, width: width(channels, target) }
    }

    /// So many blocks, or fewer if they would be narrower than `least` channels. Widths are multiples of 8.
    pub(crate) fn at_most(blocks: usize, least: usize, channels: usize) -> Self {
        let width = channels.div_ceil(blocks.max(1)).max(least).next_multiple_of(8);
        Self { channels, width: width.min(channels) }
    }

    /// The channels of each block, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
        let Self { channels, width } = *self;
        (0..channels).step_by(width.max(1)).map(move |start| start..(start + width).min(channels))
    }

    /// Channels of all blocks together.
    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    /// Channels of the widest block.
    pub(crate) fn width(&self) -> usize {
        self.width
    }
}

/// `values` cut into neighboring pieces of these lengths.
pub(crate) fn pieces<T>(mut values: &mut [T], lens: impl Iterator<Item = usize>) -> impl Iterator<Item = &mut [T]> {
    lens.map(move |len| {
        let (piece, rest) = std::mem::take(&mut values).split_at_mut(len);
        values = rest;
        piece
    })
}

/// Writes a block's `[rows, block]` values where they belong in rows of `c` channels.
pub(crate) fn scatter(block: &[f32], rows: &mut [f32], c: usize, channels: Range<usize>) {
    for (from, to) in block.chunks_exact(channels.len()).zip(rows.chunks_exact_mut(c)) {
        to[channels.clone()].copy_from_slice(from);
    }
}

/// The opposite of [`scatter`].
pub(crate) fn gather(rows: &[f32], block: &mut [f32], c: usize, channels: Range<usize>) {
    for (from, to) in rows.chunks_exact(c).zip(block.chunks_exact_mut(channels.len())) {
        to.copy_from_slice(&from[channels.clone()]);
    }
}

fn width(channels: usize, target: usize) -> usize {
    let limit = (target + target / 2).max(16);
    let fewest = channels.div_ceil(limit);
    let even = |unit: usize| {
        let widths = (fewest..=channels.div_ceil(16)).filter(|n| channels.is_multiple_of(*n)).map(|n| channels / n);
        widths.filter(|width| width.is_multiple_of(unit)).max()
    };
    if fewest == 1 {
        return channels;
    }
    even(16)
        .filter(|width| *width >= target / 2)
        .or_else(|| even(8))
        .unwrap_or_else(|| channels.div_ceil(channels.div_ceil(target.max(16))).next_multiple_of(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_the_networks_channels_are_even() {
        for (c, target, expected) in [(96, 48, 48), (144, 48, 48), (240, 48, 48), (120, 48, 40), (960, 384, 480)] {
            assert_eq!(width(c, target), expected, "{c}");
        }
        assert_eq!(width(184, 96), 96);
        assert_eq!(width(72, 48), 72);
        assert_eq!(width(7, 48), 7);
    }

    #[test]
    fn blocks_cover_every_channel_once() {
        for c in [1, 7, 16, 40, 960] {
            for blocks in [Blocks::about(48, c), Blocks::at_most(4, 16, c), Blocks::at_most(64, 16, c)] {
                let seen: Vec<usize> = blocks.iter().flatten().collect();
                assert_eq!(seen, (0..c).collect::<Vec<_>>(), "{blocks:?}");
                assert!(blocks.iter().all(|block| block.len() <= blocks.width()), "{blocks:?}");
            }
        }
        assert_eq!(Blocks::at_most(64, 16, 960).iter().count(), 60);
        assert_eq!(Blocks::at_most(4, 16, 24).iter().count(), 2);
    }

    #[test]
    fn pieces_are_neighbors() {
        let mut values = [1, 2, 3, 4, 5];
        let found: Vec<Vec<i32>> = pieces(&mut values, [2, 0, 3].into_iter()).map(|piece| piece.to_vec()).collect();
        assert_eq!(found, [vec![1, 2], vec![], vec![3, 4, 5]]);
    }

    #[test]
    fn what_is_scattered_is_gathered() {
        let (c, rows) = (5, 3);
        let block: Vec<f32> = (0..rows * 2).map(|i| i as f32).collect();
        let mut all = vec![-1.; rows * c];
        scatter(&block, &mut all, c, 1..3);
        assert_eq!(all, [-1., 0., 1., -1., -1., -1., 2., 3., -1., -1., -1., 4., 5., -1., -1.]);
        let mut again = vec![0.; rows * 2];
        gather(&all, &mut again, c, 1..3);
        assert_eq!(again, block);
    }
}
