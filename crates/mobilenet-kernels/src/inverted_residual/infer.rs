//! Inference: the statistics are given, so that a group of images passes through the whole block in the cache.

use std::ops::Range;

use rayon::prelude::*;

use super::tiling::Group;
use super::{Gates, Geometry, Parameters, Tiling, transposed_blocks};
use crate::activation::Activation;
use crate::batch_norm::{Affine, scale};
use crate::buffer::Buffer;
use crate::depthwise::{Frame, image_forward};
use crate::matmul::{Matrix, matmul, matmul_weight, transposed};
use crate::parallel::for_parts;
use crate::pool::{add_rows, scale_rows, sum_rows};
use crate::rows::{normalize, normalize_to};
use crate::simd::Level;

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics (mean and variance), in the order of
/// [`Saved::statistics`](super::Saved::statistics).
pub fn infer(g: &Geometry, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
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

    let tiling = if g.n == 1 { Tiling::of_one_image(g) } else { Tiling::new(g) };
    let block = Block { level: Level::best(), g, x, p: &p, expand, depthwise, project, tiling };
    if g.n == 1 {
        return block.one_image(y);
    }
    let weights = Weights {
        expand: p.expand.as_ref().map(|unit| transposed_blocks(unit.weight, g.c_in, &block.tiling)),
        windows: transposed_blocks(p.depthwise.weight, g.depthwise.kernel * g.depthwise.kernel, &block.tiling),
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
    g: &'a Geometry,
    x: &'a [f32],
    p: &'a Parameters<'a>,
    expand: Option<Affine<'a>>,
    depthwise: Affine<'a>,
    project: Affine<'a>,
    tiling: Tiling,
}

impl Block<'_> {
    /// A group of images, block after block of channels.
    fn group(&self, weights: &Weights, group: Group, y: &mut [f32]) {
        let (c, pixels) = (self.g.depthwise.c, self.g.pixels_out());
        let mut frame = Frame::default();
        let mut p = Buffer::new(y.len());
        match &self.p.squeeze_excite {
            None => {
                let mut tile = Buffer::new(self.tiling.tile_len(pixels));
                for channels in self.tiling.blocks() {
                    let tile = &mut tile[..group.images * pixels * channels.len()];
                    self.activated(Some(weights), group, &channels, &mut frame, tile);
                    self.multiply(weights, tile, &channels, &mut p);
                }
            }
            Some(se) => {
                let mut tiles = Buffer::new(group.images * pixels * c);
                let mut sums = vec![0.; group.images * c];
                for channels in self.tiling.blocks() {
                    let tile = &mut tiles[self.tiling.tile::<f32>(group, &channels, pixels, group.first)];
                    self.activated(Some(weights), group, &channels, &mut frame, tile);
                    for (tile, sums) in tile.chunks_exact(pixels * channels.len()).zip(sums.chunks_exact_mut(c)) {
                        sum_rows(self.level, tile, &mut sums[channels.clone()]);
                    }
                }
                let gates = Gates::new(self.level, se, sums, pixels, c);
                for channels in self.tiling.blocks() {
                    let tile = &mut tiles[self.tiling.tile::<f32>(group, &channels, pixels, group.first)];
                    for (i, tile) in tile.chunks_exact_mut(pixels * channels.len()).enumerate() {
                        scale_rows(self.level, &gates.of(i, c)[channels.clone()], tile);
                    }
                    self.multiply(weights, tile, &channels, &mut p);
                }
            }
        }
        self.output(group, &p, y);
    }

    /// A single image: the threads share the blocks of channels, whose shares of the projection are then added up.
    fn one_image(&self, y: &mut [f32]) {
        let (c, pixels) = (self.g.depthwise.c, self.g.pixels_out());
        let group = Group { first: 0, images: 1 };
        let blocks: Vec<_> = self.tiling.blocks().collect();
        let activated = |channels: &Range<usize>| {
            let mut tile = Buffer::new(pixels * channels.len());
            self.activated(None, group, channels, &mut Frame::default(), &mut tile);
            tile
        };
        let multiplied = |channels: &Range<usize>, tile: &[f32]| {
            let mut p = Buffer::new(pixels * self.g.c_out);
            let shape = (self.g.c_out, c);
            matmul_weight(self.level, tile, self.p.project.weight, shape, channels.clone(), &mut p);
            p
        };
        let shares: Vec<Buffer> = match &self.p.squeeze_excite {
            None => blocks.par_iter().map(|channels| multiplied(channels, &activated(channels))).collect(),
            Some(se) => {
                let tiles = blocks.par_iter().map(|channels| {
                    let tile = activated(channels);
                    let mut sums = vec![0.; channels.len()];
                    sum_rows(self.level, &tile, &mut sums);
                    (tile, sums)
                });
                let (tiles, sums): (Vec<_>, Vec<_>) = tiles.collect::<Vec<_>>().into_iter().unzip();
                let gates = Gates::new(self.level, se, sums.concat(), pixels, c);
                let shares = blocks.par_iter().zip(tiles).map(|(channels, mut tile)| {
                    scale_rows(self.level, &gates.of(0, c)[channels.clone()], &mut tile);
                    multiplied(channels, &tile)
                });
                shares.collect()
            }
        };
        let mut shares = shares.into_iter();
        if let Some(mut p) = shares.next() {
            shares.for_each(|share| add_rows(self.level, &share, &mut p));
            self.output(group, &p, y);
        }
    }

    /// `act(bn(d))`, a tile of it.
    fn activated(
        &self,
        weights: Option<&Weights>,
        group: Group,
        channels: &Range<usize>,
        frame: &mut Frame,
        tile: &mut [f32],
    ) {
        let (g, level, width) = (self.g, self.level, channels.len());
        let (pixels_in, taps) = (g.pixels_in(), g.depthwise.kernel * g.depthwise.kernel);
        let geometry = g.depthwise.with_channels(width);
        let x = &self.x[group.rows(pixels_in, g.c_in, 0)];
        let mut expanded = Buffer::default();
        if let Some(unit) = &self.p.expand {
            expanded.resize(x.len() / g.c_in * width);
            let at = channels.start * g.c_in..channels.end * g.c_in;
            match weights {
                Some(Weights { expand: Some(weight), .. }) => {
                    let x = Matrix::new(x, x.len() / g.c_in, g.c_in);
                    matmul(level, x, &weight[at], width, false, &mut expanded);
                }
                _ => matmul_weight(level, x, &unit.weight[at], (width, g.c_in), 0..g.c_in, &mut expanded),
            }
        }
        let transposed_windows;
        let at = channels.start * taps..channels.end * taps;
        let windows = match weights {
            Some(weights) => &weights.windows[at],
            None => {
                transposed_windows = transposed(&self.p.depthwise.weight[at], width, taps);
                &transposed_windows
            }
        };
        frame.fit_input(&geometry);
        let mut filtered = Buffer::new(g.pixels_out() * width);
        for (i, tile) in tile.chunks_exact_mut(g.pixels_out() * width).enumerate() {
            match self.expand {
                Some(affine) => {
                    let image = &expanded[i * pixels_in * width..(i + 1) * pixels_in * width];
                    normalize_to(level, image, affine.of(channels.clone()), g.activation, frame.target());
                }
                None => {
                    let image = &x[i * pixels_in * g.c_in..(i + 1) * pixels_in * g.c_in];
                    frame.copy_channels(image, g.c_in, channels.clone());
                }
            }
            image_forward(level, &geometry, frame, windows, &mut filtered);
            normalize(level, &filtered[..], self.depthwise.of(channels.clone()), g.activation, tile);
        }
    }

    /// Adds a tile's share of the projection to `p`, which the first block of channels begins.
    fn multiply(&self, weights: &Weights, tile: &[f32], channels: &Range<usize>, p: &mut [f32]) {
        let (c_out, width) = (self.g.c_out, channels.len());
        let weight = &weights.project[channels.start * c_out..channels.end * c_out];
        let rows = Matrix::new(tile, tile.len() / width, width);
        matmul(self.level, rows, weight, c_out, channels.start > 0, p);
    }

    /// `bn(p) + x`
    fn output(&self, group: Group, p: &[f32], y: &mut [f32]) {
        normalize(self.level, p, self.project, Activation::Identity, y);
        if self.g.has_residual {
            add_rows(self.level, &self.x[group.rows(self.g.pixels_in(), self.g.c_in, 0)], y);
        }
    }
}
