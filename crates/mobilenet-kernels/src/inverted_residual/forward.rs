//! Training, forward.

use super::{Gates, Geometry, Parameters, Saved, Tiling, Unit, transposed_blocks};
use crate::activation::{Function, Identity, with_function};
use crate::batch_norm::{Affine, Moments, normalize};
use crate::buffer::Buffer;
use crate::depthwise::{Frame, image_forward};
use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{for_parts, map_parts_mut};
use crate::pool::{add_rows, scale_rows, sum_rows};
use crate::profile::phase;
use crate::simd::Level;

/// Rows of the last pass, which has neither products nor sums.
const OUTPUT_ROWS: usize = 1024;

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    g.assert_fits(x, theta, y);
    with_function!(g.activation, F => forward_with::<F>(g, x, theta, y))
}

fn forward_with<F: Function>(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    let level = Level::best();
    let tiling = Tiling::new(g);
    let p = g.split(theta);
    let expand = p.expand.as_ref().map(|unit| {
        let (pre, moments) =
            phase("forward expand", g.work([1, 0], 0, [1, 1, 0, 0]), || expand(level, g, &tiling, x, unit.weight));
        Unit::new(pre, &moments, unit.gamma, g.eps)
    });
    let depthwise = {
        let (pre, moments) = phase("forward depthwise", g.work([0, 0], 1, [0, 1, 1, 0]), || {
            depthwise::<F>(level, g, &tiling, x, &p, expand.as_ref())
        });
        Unit::new(pre, &moments, p.depthwise.gamma, g.eps)
    };
    let (project, gates) = {
        let (pre, moments, gates) = phase("forward project", g.work([0, 1], 0, [0, 0, 1, 1]), || {
            project::<F>(level, g, &tiling, &p, &depthwise)
        });
        (Unit::new(pre, &moments, p.project.gamma, g.eps), gates)
    };
    phase("forward output", g.work([0, 0], 0, [usize::from(g.has_residual), 0, 0, 2]), || {
        for_parts(y, g.c_out, OUTPUT_ROWS, |row, y| {
            let at = row * g.c_out;
            normalize::<Identity>(level, &project.pre[at..at + y.len()], project.affine(p.project.beta), y);
            if g.has_residual {
                add_rows(level, &x[at..at + y.len()], y);
            }
        });
    });
    Saved { expand, depthwise, gates, project }
}

/// `e = x · weightᵀ`
fn expand(level: Level, g: &Geometry, tiling: &Tiling, x: &[f32], weight: &[f32]) -> (Buffer, Vec<Moments>) {
    let (c, image, pixels) = (g.depthwise.c, g.depthwise.image_in(), g.pixels_in());
    let weight = transposed_blocks(weight, g.c_in, tiling);
    let mut pre = Buffer::new(g.n * image);
    let moments = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
        let mut moments = Moments::new(c);
        for group in tiling.groups(first, pre.len() / image) {
            let x = Matrix::new(&x[group.rows(pixels, g.c_in, 0)], group.images * pixels, g.c_in);
            for channels in tiling.blocks() {
                let e = &mut pre[tiling.tile(group, &channels, pixels, first)];
                let weight = &weight[channels.start * g.c_in..channels.end * g.c_in];
                matmul(level, x, weight, channels.len(), false, e);
                moments.add(level, e, channels);
            }
        }
        moments
    });
    (pre, moments)
}

/// `d`, the depthwise convolution of `act(bn(e))`, or of `x` where nothing is expanded.
fn depthwise<F: Function>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    x: &[f32],
    p: &Parameters,
    expand: Option<&Unit>,
) -> (Buffer, Vec<Moments>) {
    let (c, image, pixels) = (g.depthwise.c, g.depthwise.image_out(), g.pixels_out());
    let taps = g.depthwise.kernel * g.depthwise.kernel;
    let windows = transposed_blocks(p.depthwise.weight, taps, tiling);
    let input = Input::new(g, x, p, expand);
    let mut pre = Buffer::new(g.n * image);
    let moments = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
        let mut moments = Moments::new(c);
        let mut frame = Frame::default();
        for group in tiling.groups(first, pre.len() / image) {
            for channels in tiling.blocks() {
                let geometry = g.depthwise.with_channels(channels.len());
                frame.fit_input(&geometry);
                let windows = &windows[channels.start * taps..channels.end * taps];
                let d = &mut pre[tiling.tile(group, &channels, pixels, first)];
                for (i, d) in d.chunks_exact_mut(pixels * channels.len()).enumerate() {
                    input.write::<F>(level, tiling, group, i, &channels, &mut frame);
                    image_forward(level, &geometry, &frame, windows, d);
                }
                moments.add(level, d, channels);
            }
        }
        moments
    });
    (pre, moments)
}

/// What the depthwise convolution sees.
pub(super) struct Input<'a> {
    g: &'a Geometry,
    x: &'a [f32],
    expanded: Option<(&'a [f32], Affine<'a>)>,
}

impl<'a> Input<'a> {
    pub(super) fn new(g: &'a Geometry, x: &'a [f32], p: &Parameters<'a>, expand: Option<&'a Unit>) -> Self {
        let expanded = p.expand.as_ref().and_then(|unit| expand.map(|e| (e.pre.as_ref(), e.affine(unit.beta))));
        Self { g, x, expanded }
    }

    /// Writes a block of channels of the group's `i`-th image: `act(bn(e))`, or `x` where nothing is expanded.
    pub(super) fn write<F: Function>(
        &self,
        level: Level,
        tiling: &Tiling,
        group: super::tiling::Group,
        i: usize,
        channels: &std::ops::Range<usize>,
        frame: &mut Frame,
    ) {
        let pixels = self.g.pixels_in();
        match self.expanded {
            Some((e, affine)) => {
                let affine = affine.of(channels.clone());
                let len = pixels * channels.len();
                let image = &e[tiling.tile(group, channels, pixels, 0)][i * len..(i + 1) * len];
                let rows = image.chunks_exact(self.g.depthwise.w * channels.len());
                frame.rows_mut().zip(rows).for_each(|(to, from)| normalize::<F>(level, from, affine, to));
            }
            None => {
                let len = self.g.depthwise.image_in();
                let at = (group.first + i) * len;
                frame.copy_channels(&self.x[at..at + len], self.g.c_in, channels.clone());
            }
        }
    }
}

/// `p = (act(bn(d)) · gate) · weightᵀ`
fn project<F: Function>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    p: &Parameters,
    depthwise: &Unit,
) -> (Buffer, Vec<Moments>, Option<Gates>) {
    let (c, pixels, image) = (g.depthwise.c, g.pixels_out(), g.pixels_out() * g.c_out);
    let weight = transposed(p.project.weight, g.c_out, c);
    let affine = depthwise.affine(p.depthwise.beta);
    let mut pre = Buffer::new(g.n * image);
    let parts = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
        let mut moments = Moments::new(g.c_out);
        let mut all_gates = Vec::new();
        let mut tile = Buffer::new(tiling.tile_len(pixels));
        for group in tiling.groups(first, pre.len() / image) {
            let activated = |channels: &std::ops::Range<usize>, tile: &mut [f32]| {
                let d = &depthwise.pre[tiling.tile(group, channels, pixels, 0)];
                normalize::<F>(level, d, affine.of(channels.clone()), tile);
            };
            let rows = group.images * pixels;
            let gates = p.squeeze_excite.as_ref().map(|se| {
                let mut sums = vec![0.; group.images * c];
                for channels in tiling.blocks() {
                    let tile = &mut tile[..rows * channels.len()];
                    activated(&channels, tile);
                    for (tile, sums) in tile.chunks_exact(pixels * channels.len()).zip(sums.chunks_exact_mut(c)) {
                        sum_rows(level, tile, &mut sums[channels.clone()]);
                    }
                }
                Gates::new(level, se, sums, pixels, c)
            });
            let p = &mut pre[group.rows(pixels, g.c_out, first)];
            for channels in tiling.blocks() {
                let tile = &mut tile[..rows * channels.len()];
                activated(&channels, tile);
                if let Some(gates) = &gates {
                    for (i, tile) in tile.chunks_exact_mut(pixels * channels.len()).enumerate() {
                        scale_rows(level, &gates.of(i, c)[channels.clone()], tile);
                    }
                }
                let weight = &weight[channels.start * g.c_out..channels.end * g.c_out];
                matmul(level, Matrix::new(tile, rows, channels.len()), weight, g.c_out, channels.start > 0, p);
            }
            moments.add(level, p, 0..g.c_out);
            all_gates.extend(gates);
        }
        (moments, all_gates)
    });
    let (moments, gates): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let gates = p.squeeze_excite.is_some().then(|| Gates::concatenated(gates.into_iter().flatten()));
    (pre, moments, gates)
}
