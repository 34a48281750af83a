//! Inference: the statistics are given, so that a group of images passes through the whole block in the cache.

mod image;

use std::ops::Range;

use super::tiling::Group;
use super::{BlockParameters, BottleneckShape, Gates, Tiling, transposed_blocks};
use crate::activation::Activation;
use crate::batch_norm::{Affine, scale};
use crate::blocks::pieces;
use crate::buffer::Buffer;
use crate::depthwise::{Frame, image_forward};
use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{for_each_with, for_parts};
use crate::pool::{add_rows, scale_rows, sum_rows};
use crate::rows::{normalize, normalize_to};
use crate::simd::Level;

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics (mean and variance), in the order of
/// [`Saved::statistics`](super::Saved::statistics).
pub fn infer(g: &BottleneckShape, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    infer_at(Level::best(), g, x, theta, running, y);
}

pub(super) fn infer_at(
    level: Level,
    g: &BottleneckShape,
    x: &[f32],
    theta: &[&[f32]],
    running: &[(&[f32], &[f32])],
    y: &mut [f32],
) {
    g.assert_fits(x, theta, y);
    assert_eq!(running.len(), 2 + usize::from(g.has_expand), "statistics of {g:?}");
    let p = g.split(theta);
    let units = p.expand.iter().chain([&p.depthwise, &p.project]);
    let scales: Vec<_> = units.clone().zip(running).map(|(unit, (_, var))| scale(unit.gamma, var, g.eps)).collect();
    let mut affines =
        units.zip(running).zip(&scales).map(|((unit, (mean, _)), scale)| Affine { mean, scale, bias: unit.beta });
    let mut next = || affines.next().unwrap_or(Affine { mean: &[], scale: &[], bias: &[] });
    let expand = p.expand.as_ref().map(|_| next());
    let (depthwise, project) = (next(), next());

    let block = Block { level, g, x, p: &p, expand, depthwise, project, tiling: Tiling::new(g) };
    if g.n == 1 {
        return block.image(y);
    }
    let weights = Weights {
        expand: p.expand.as_ref().map(|unit| transposed_blocks(unit.weight, g.c_in, &block.tiling)),
        windows: transposed_blocks(p.depthwise.weight, g.taps(), &block.tiling),
        project: transposed(p.project.weight, g.c_out, g.depthwise.c),
    };
    let image = g.pixels_out() * g.c_out;
    for_parts(y, image, block.tiling.images_per_part, |first, y| {
        for group in block.tiling.groups(first, y.len() / image) {
            block.group(&weights, group, &mut y[group.rows(g.pixels_out(), g.c_out, first)]);
        }
    });
}

/// The weights as the right sides of products, which pays where they serve many rows.
struct Weights {
    expand: Option<Vec<f32>>,
    windows: Vec<f32>,
    project: Vec<f32>,
}

struct Block<'a> {
    level: Level,
    g: &'a BottleneckShape,
    x: &'a [f32],
    p: &'a BlockParameters<'a>,
    expand: Option<Affine<'a>>,
    depthwise: Affine<'a>,
    project: Affine<'a>,
    tiling: Tiling,
}

impl Block<'_> {
    /// A group of images: block after block of channels where nothing keeps a block from being multiplied at once.
    fn group(&self, weights: &Weights, group: Group, y: &mut [f32]) {
        let (pixels, is_shared) = (self.g.pixels_out(), self.tiling.is_shared);
        let mut p = Buffer::new(y.len());
        if self.p.squeeze_excite.is_none() && !is_shared {
            let (mut frame, mut tile) = (Frame::default(), Buffer::new(self.tiling.tile_len(pixels)));
            for channels in self.tiling.blocks() {
                let tile = &mut tile[..group.images * pixels * channels.len()];
                self.activated(weights, group, &channels, &mut frame, tile);
                self.multiply(weights, tile, &channels, &mut p);
            }
        } else {
            self.tile_by_tile(weights, group, &mut p);
        }
        self.output(group.first * pixels, &p, y);
    }

    /// The projection of a group whose tiles are all made first: squeeze-and-excite needs them, or the threads share
    /// them.
    fn tile_by_tile(&self, weights: &Weights, group: Group, p: &mut [f32]) {
        let (c, c_out, pixels, is_shared) =
            (self.g.depthwise.c, self.g.c_out, self.g.pixels_out(), self.tiling.is_shared);
        let lens = || self.tiling.tile_lens::<f32>(group, pixels);
        let mut tiles = Buffer::new(group.images * pixels * c);
        let blocks = self.tiling.blocks().zip(pieces(&mut tiles, lens()));
        for_each_with(is_shared, &mut Frame::default(), blocks, |frame, (channels, tile)| {
            self.activated(weights, group, &channels, frame, tile);
        });
        if let Some(se) = &self.p.squeeze_excite {
            let mut sums = vec![0.; group.images * c];
            for (i, sums) in sums.chunks_exact_mut(c).enumerate() {
                for channels in self.tiling.blocks() {
                    let len = pixels * channels.len();
                    let tile = &tiles[self.tiling.tile::<f32>(group, &channels, pixels, group.first)];
                    sum_rows(self.level, &tile[i * len..(i + 1) * len], &mut sums[channels]);
                }
            }
            let gates = Gates::new(self.level, se, sums, pixels, c);
            let blocks = self.tiling.blocks().zip(pieces(&mut tiles, lens()));
            for_each_with(is_shared, &mut (), blocks, |(), (channels, tile)| {
                for (i, tile) in tile.chunks_exact_mut(pixels * channels.len()).enumerate() {
                    scale_rows(self.level, &gates.of(i, c)[channels.clone()], tile);
                }
            });
        }
        // The rows of a product do not know of each other.
        let together = if is_shared { 1 } else { group.images };
        let images = p.chunks_mut(together * pixels * c_out).enumerate();
        for_each_with(is_shared, &mut (), images, |(), (i, p)| {
            let first = i * together * pixels;
            for channels in self.tiling.blocks() {
                let tile = &tiles[self.tiling.tile::<f32>(group, &channels, pixels, group.first)];
                let rows = first * channels.len()..(first + p.len() / c_out) * channels.len();
                self.multiply(weights, &tile[rows], &channels, p);
            }
        });
    }

    /// `act(bn(d))`, a tile of it.
    fn activated(&self, weights: &Weights, group: Group, channels: &Range<usize>, frame: &mut Frame, tile: &mut [f32]) {
        let (g, level, width) = (self.g, self.level, channels.len());
        let x = &self.x[group.rows(g.pixels_in(), g.c_in, 0)];
        let mut expanded = Buffer::default();
        if let Some(weight) = &weights.expand {
            let rows = group.images * g.pixels_in();
            expanded.resize(rows * width);
            let weight = &weight[channels.start * g.c_in..channels.end * g.c_in];
            matmul(level, Matrix::new(x, rows, g.c_in), weight, width, false, &mut expanded);
        }
        let windows = &weights.windows[channels.start * g.taps()..channels.end * g.taps()];
        let shape = g.depthwise.with_channels(width);
        let mut filtered = Buffer::new(shape.image_out());
        for (i, tile) in tile.chunks_exact_mut(shape.image_out()).enumerate() {
            let x = &x[i * g.pixels_in() * g.c_in..(i + 1) * g.pixels_in() * g.c_in];
            let expanded = expanded.get(i * shape.image_in()..(i + 1) * shape.image_in());
            self.filter(x, expanded, channels, windows, frame, &mut filtered);
            normalize(level, &filtered[..], self.depthwise.of(channels.clone()), g.activation, tile);
        }
    }

    /// `d`, a block of channels of one image: of `act(bn(e))`, or of `x` where nothing is expanded.
    fn filter(
        &self,
        x: &[f32],
        expanded: Option<&[f32]>,
        channels: &Range<usize>,
        windows: &[f32],
        frame: &mut Frame,
        filtered: &mut [f32],
    ) {
        let (g, level) = (self.g, self.level);
        let shape = g.depthwise.with_channels(channels.len());
        frame.fit_input(&shape);
        match self.expand.zip(expanded) {
            Some((affine, e)) => {
                normalize_to(level, e, affine.of(channels.clone()), g.activation, frame.target());
            }
            None => frame.copy_channels(x, g.c_in, channels.clone()),
        }
        image_forward(level, &shape, frame, windows, filtered);
    }

    /// Adds a tile's share of the projection to `p`, which the first block of channels begins.
    fn multiply(&self, weights: &Weights, tile: &[f32], channels: &Range<usize>, p: &mut [f32]) {
        let (c_out, width) = (self.g.c_out, channels.len());
        let weight = &weights.project[channels.start * c_out..channels.end * c_out];
        let rows = Matrix::new(tile, tile.len() / width, width);
        matmul(self.level, rows, weight, c_out, channels.start > 0, p);
    }

    /// `bn(p) + x`, of the rows from `first` on.
    fn output(&self, first: usize, p: &[f32], y: &mut [f32]) {
        normalize(self.level, p, self.project, Activation::Identity, y);
        if self.g.has_residual {
            add_rows(self.level, &self.x[first * self.g.c_out..][..y.len()], y);
        }
    }
}
