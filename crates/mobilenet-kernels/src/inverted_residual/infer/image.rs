//! A single image, shared by the threads: block by block of channels up to the depthwise convolution, and row by row
//! through the projection. No sum is divided, so that the division may be a matter of the number of threads.

use std::ops::Range;

use rayon::prelude::*;

use super::{Block, Gates};
use crate::blocks::{Blocks, pieces, scatter};
use crate::buffer::Buffer;
use crate::depthwise::Frame;
use crate::matmul::{FEW_ROWS, Matrix, matmul, matmul_weight, transpose, transposed};
use crate::parallel::for_parts;
use crate::pool::{scale_rows, sum_rows};
use crate::rows::{Target, normalize, normalize_to};

/// Channels of a block, at least: a register, or a cache line of each pixel.
const LEAST_CHANNELS: usize = 16;

/// Rows of the projection that one thread computes at once, at least: each reads the whole weight.
const LEAST_ROWS: usize = 24;

/// A block of channels of the depthwise convolution's output: activated and summed up if squeeze-and-excite is to gate
/// it.
struct Filtered {
    channels: Range<usize>,
    tile: Buffer,
    sums: Vec<f32>,
}

impl Block<'_> {
    pub(super) fn image(&self, y: &mut [f32]) {
        let (c, c_out, pixels) = (self.g.depthwise.c, self.g.c_out, self.g.pixels_out());
        let threads = rayon::current_num_threads();
        // A narrow block is soon done: one for each thread; of a wide one two, since threads are not equally fast.
        let blocks = Blocks::at_most(threads.max(2) * if c < 256 { 1 } else { 2 }, LEAST_CHANNELS, c);
        let few_rows = pixels <= FEW_ROWS;
        let mut weight = Buffer::new(if few_rows { 0 } else { c * c_out });
        let lens = blocks.iter().map(|channels| if few_rows { 0 } else { channels.len() * c_out });
        let tasks: Vec<_> = blocks.iter().zip(pieces(&mut weight, lens)).collect();
        let tiles = tasks.into_par_iter().map_init(Frame::default, |frame, (channels, weight)| {
            if !few_rows {
                transpose(self.level, self.p.project.weight, c, channels.clone(), weight);
            }
            self.filtered(channels, frame)
        });
        let mut tiles: Vec<Filtered> = tiles.collect();
        self.gate(&mut tiles);
        if few_rows {
            return self.project_few_rows(&tiles, y);
        }
        let parts = (pixels / LEAST_ROWS).clamp(1, 2 * threads);
        for_parts(y, c_out, pixels.div_ceil(parts), |first, y| {
            let rows = first..first + y.len() / c_out;
            let mut p = Buffer::new(y.len());
            let activated = self.activated_rows(&tiles, rows.clone());
            matmul(self.level, Matrix::new(&activated[..], rows.len(), c), &weight, c_out, false, &mut p);
            self.output(first, &p, y);
        });
    }

    /// A block of channels of `d`.
    fn filtered(&self, channels: Range<usize>, frame: &mut Frame) -> Filtered {
        let (g, level, width) = (self.g, self.level, channels.len());
        let mut expanded = Buffer::default();
        if let Some(unit) = &self.p.expand {
            expanded.resize(g.pixels_in() * width);
            let weight = &unit.weight[channels.start * g.c_in..channels.end * g.c_in];
            matmul_weight(level, self.x, weight, (width, g.c_in), 0..g.c_in, &mut expanded);
        }
        let expanded = self.p.expand.as_ref().map(|_| &expanded[..]);
        let windows = &self.p.depthwise.weight[channels.start * g.taps()..channels.end * g.taps()];
        let mut tile = Buffer::new(g.pixels_out() * width);
        self.filter(self.x, expanded, &channels, &transposed(windows, width, g.taps()), frame, &mut tile);
        let mut sums = Vec::new();
        if self.p.squeeze_excite.is_some() {
            let mut activated = Buffer::new(tile.len());
            normalize(level, &tile[..], self.depthwise.of(channels.clone()), g.activation, &mut activated);
            sums.resize(width, 0.);
            sum_rows(level, &activated, &mut sums);
            tile = activated;
        }
        Filtered { channels, tile, sums }
    }

    /// Squeeze-and-excite, if the block has it.
    fn gate(&self, tiles: &mut [Filtered]) {
        let Some(se) = &self.p.squeeze_excite else { return };
        let (c, pixels) = (self.g.depthwise.c, self.g.pixels_out());
        let sums = tiles.iter().flat_map(|tile| tile.sums.iter().copied()).collect();
        let gates = Gates::new(self.level, se, sums, pixels, c);
        tiles.par_iter_mut().for_each(|Filtered { channels, tile, .. }| {
            scale_rows(self.level, &gates.of(0, c)[channels.clone()], tile);
        });
    }

    /// Some rows of what the projection multiplies, `[rows, c]`.
    fn activated_rows(&self, tiles: &[Filtered], rows: Range<usize>) -> Buffer {
        let c = self.g.depthwise.c;
        let mut activated = Buffer::new(rows.len() * c);
        for Filtered { channels, tile, .. } in tiles {
            let tile = &tile[rows.start * channels.len()..rows.end * channels.len()];
            if self.p.squeeze_excite.is_some() {
                scatter(tile, &mut activated, c, channels.clone());
            } else {
                let to = Target::block(&mut activated, c, channels);
                normalize_to(self.level, tile, self.depthwise.of(channels.clone()), self.g.activation, to);
            }
        }
        activated
    }

    /// With so few rows the weight is what takes time to read: the threads share its rows, the output's channels.
    fn project_few_rows(&self, tiles: &[Filtered], y: &mut [f32]) {
        let (c, c_out, pixels) = (self.g.depthwise.c, self.g.c_out, self.g.pixels_out());
        let activated = self.activated_rows(tiles, 0..pixels);
        let blocks = Blocks::at_most(2 * rayon::current_num_threads(), LEAST_CHANNELS, c_out);
        let multiplied = |channels: Range<usize>| {
            let mut p = Buffer::new(pixels * channels.len());
            let weight = &self.p.project.weight[channels.start * c..channels.end * c];
            matmul_weight(self.level, &activated, weight, (channels.len(), c), 0..c, &mut p);
            (channels, p)
        };
        let shares: Vec<_> = blocks.iter().collect::<Vec<_>>().into_par_iter().map(multiplied).collect();
        let mut p = Buffer::new(y.len());
        shares.into_iter().for_each(|(channels, share)| scatter(&share, &mut p, c_out, channels));
        self.output(0, &p, y);
    }
}
