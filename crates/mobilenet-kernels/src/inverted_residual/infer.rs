//! Inference: the statistics are given, so that a group of images passes through the whole block in the cache.

use std::ops::Range;

use rayon::prelude::*;

use super::tiling::Group;
use super::{Gates, Geometry, Parameters, Tiling, transposed_blocks};
use crate::activation::{Function, Identity, with_function};
use crate::batch_norm::{Affine, normalize, scale};
use crate::buffer::Buffer;
use crate::depthwise::{Frame, image_forward};
use crate::matmul::{Matrix, matmul, matmul_few_rows, matmul_few_rows_columns, transposed, transposed_columns};
use crate::parallel::for_parts;
use crate::pool::{add_rows, scale_rows, sum_rows};
use crate::simd::Level;

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics (mean and variance), in the order of
/// [`Saved::statistics`](super::Saved::statistics).
pub fn infer(g: &Geometry, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    g.assert_fits(x, theta, y);
    assert_eq!(running.len(), 2 + usize::from(g.has_expand), "statistics of {g:?}");
    with_function!(g.activation, F => infer_with::<F>(g, x, theta, running, y));
}

fn infer_with<F: Function>(g: &Geometry, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    let p = g.split(theta);
    let units = p.expand.iter().chain([&p.depthwise, &p.project]);
    let scales: Vec<_> = units.clone().zip(running).map(|(unit, (_, var))| scale(unit.gamma, var, g.eps)).collect();
    let mut affines =
        units.zip(running).zip(&scales).map(|((unit, (mean, _)), scale)| Affine { mean, scale, bias: unit.beta });
    let mut next = || affines.next().unwrap_or(Affine { mean: &[], scale: &[], bias: &[] });
    let expand = p.expand.as_ref().map(|_| next());
    let (depthwise, project) = (next(), next());

    let tiling = if g.n == 1 { Tiling::of_one_image(g) } else { Tiling::new(g) };
    let weights = (g.n > 1).then(|| Weights {
        expand: p.expand.as_ref().map(|unit| transposed_blocks(unit.weight, g.c_in, &tiling)),
        windows: transposed_blocks(p.depthwise.weight, g.depthwise.kernel * g.depthwise.kernel, &tiling),
        project: transposed(p.project.weight, g.c_out, g.depthwise.c),
    });
    let block = Block { level: Level::best(), g, x, p: &p, expand, depthwise, project, tiling, weights };
    if g.n == 1 {
        block.one_image::<F>(y);
    } else {
        let image = g.pixels_out() * g.c_out;
        for_parts(y, image, block.tiling.images_per_part, |first, y| {
            for group in block.tiling.groups(first, y.len() / image) {
                block.group::<F>(group, &mut y[group.rows(g.pixels_out(), g.c_out, first)]);
            }
        });
    }
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
    weights: Option<Weights>,
}

impl Block<'_> {
    /// A group of images, block after block of channels.
    fn group<F: Function>(&self, group: Group, y: &mut [f32]) {
        let (c, pixels) = (self.g.depthwise.c, self.g.pixels_out());
        let mut frame = Frame::default();
        let mut p = Buffer::new(y.len());
        match &self.p.squeeze_excite {
            None => {
                let mut tile = Buffer::new(self.tiling.tile_len(pixels));
                for channels in self.tiling.blocks() {
                    let tile = &mut tile[..group.images * pixels * channels.len()];
                    self.activated::<F>(group, &channels, &mut frame, tile);
                    self.multiply(tile, &channels, channels.start > 0, &mut p);
                }
            }
            Some(se) => {
                let mut tiles = Buffer::new(group.images * pixels * c);
                let mut sums = vec![0.; group.images * c];
                for channels in self.tiling.blocks() {
                    let tile = &mut tiles[self.tiling.tile(group, &channels, pixels, group.first)];
                    self.activated::<F>(group, &channels, &mut frame, tile);
                    for (tile, sums) in tile.chunks_exact(pixels * channels.len()).zip(sums.chunks_exact_mut(c)) {
                        sum_rows(self.level, tile, &mut sums[channels.clone()]);
                    }
                }
                let gates = Gates::new(self.level, se, sums, pixels, c);
                for channels in self.tiling.blocks() {
                    let tile = &mut tiles[self.tiling.tile(group, &channels, pixels, group.first)];
                    for (i, tile) in tile.chunks_exact_mut(pixels * channels.len()).enumerate() {
                        scale_rows(self.level, &gates.of(i, c)[channels.clone()], tile);
                    }
                    self.multiply(tile, &channels, channels.start > 0, &mut p);
                }
            }
        }
        self.output(group, &p, y);
    }

    /// A single image: the threads share the blocks of channels, whose shares of the projection are then added up.
    fn one_image<F: Function>(&self, y: &mut [f32]) {
        let (c, pixels) = (self.g.depthwise.c, self.g.pixels_out());
        let group = Group { first: 0, images: 1 };
        let blocks: Vec<_> = self.tiling.blocks().collect();
        let activated = |channels: &Range<usize>| {
            let mut tile = Buffer::new(pixels * channels.len());
            self.activated::<F>(group, channels, &mut Frame::default(), &mut tile);
            tile
        };
        let multiplied = |channels: &Range<usize>, tile: &[f32]| {
            let mut p = Buffer::new(pixels * self.g.c_out);
            self.multiply(tile, channels, false, &mut p);
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
    fn activated<F: Function>(&self, group: Group, channels: &Range<usize>, frame: &mut Frame, tile: &mut [f32]) {
        let (g, level, width) = (self.g, self.level, channels.len());
        let (pixels_in, taps) = (g.pixels_in(), g.depthwise.kernel * g.depthwise.kernel);
        let geometry = g.depthwise.with_channels(width);
        let x = &self.x[group.rows(pixels_in, g.c_in, 0)];
        let mut expanded = Buffer::default();
        if let Some(unit) = &self.p.expand {
            expanded.resize(x.len() / g.c_in * width);
            let at = channels.start * g.c_in..channels.end * g.c_in;
            match &self.weights {
                Some(Weights { expand: Some(weight), .. }) => self.product(x, &weight[at], width, &mut expanded),
                _ if x.len() / g.c_in <= FEW_ROWS => {
                    matmul_few_rows(level, x, &unit.weight[at], g.c_in, width, &mut expanded)
                }
                _ => self.product(x, &transposed(&unit.weight[at], width, g.c_in), width, &mut expanded),
            }
        }
        let transposed_windows;
        let at = channels.start * taps..channels.end * taps;
        let windows = match &self.weights {
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
                    let rows = frame.rows_mut().zip(image.chunks_exact(g.depthwise.w * width));
                    rows.for_each(|(to, from)| normalize::<F>(level, from, affine.of(channels.clone()), to));
                }
                None => {
                    let image = &x[i * pixels_in * g.c_in..(i + 1) * pixels_in * g.c_in];
                    frame.copy_channels(image, g.c_in, channels.clone());
                }
            }
            image_forward(level, &geometry, frame, windows, &mut filtered);
            normalize::<F>(level, &filtered, self.depthwise.of(channels.clone()), tile);
        }
    }

    /// A tile's share of the projection.
    fn multiply(&self, tile: &[f32], channels: &Range<usize>, accumulate: bool, p: &mut [f32]) {
        let (c, c_out, width) = (self.g.depthwise.c, self.g.c_out, channels.len());
        let rows = Matrix::new(tile, tile.len() / width, width);
        match &self.weights {
            Some(weights) => {
                let weight = &weights.project[channels.start * c_out..channels.end * c_out];
                matmul(self.level, rows, weight, c_out, accumulate, p);
            }
            None if tile.len() / width <= FEW_ROWS => {
                let weight = self.p.project.weight;
                matmul_few_rows_columns(self.level, tile, weight, c, channels.clone(), c_out, p);
            }
            None => {
                let weight = transposed_columns(self.p.project.weight, c_out, c, channels.clone());
                matmul(self.level, rows, &weight, c_out, accumulate, p);
            }
        }
    }

    fn product(&self, x: &[f32], weight: &[f32], width: usize, ys: &mut [f32]) {
        matmul(self.level, Matrix::new(x, x.len() / self.g.c_in, self.g.c_in), weight, width, false, ys);
    }

    /// `bn(p) + x`
    fn output(&self, group: Group, p: &[f32], y: &mut [f32]) {
        normalize::<Identity>(self.level, p, self.project, y);
        if self.g.has_residual {
            add_rows(self.level, &self.x[group.rows(self.g.pixels_in(), self.g.c_in, 0)], y);
        }
    }
}

/// With fewer rows than this, dot products with the weight as it lies cost less than to transpose it first.
const FEW_ROWS: usize = 32;
