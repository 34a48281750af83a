//! Training, forward.

use std::ops::Range;

use super::tiling::Group;
use super::{Gates, Geometry, Kept, Parameters, Saved, Tiling, Unit, Units, right_blocks, transposed_blocks};
use crate::activation::Activation;
use crate::batch_norm::{Affine, Moments};
use crate::bf16::Pair;
use crate::buffer::{Buffer, Elements};
use crate::depthwise::{Frame, image_forward};
use crate::element::Element;
use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{for_parts, map_parts_mut};
use crate::pool::add_rows;
use crate::profile::phase;
use crate::rows::{activate_left, activated_sums, left, normalize, normalize_to, right};
use crate::simd::Level;

/// Rows of the last pass, which has neither products nor sums.
const OUTPUT_ROWS: usize = 1024;

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    g.assert_fits(x, theta, y);
    Saved(match g.is_bf16() {
        false => Kept::F32(forward_with::<f32>(g, x, theta, y)),
        true => Kept::Bf16(forward_with::<Pair>(g, x, theta, y)),
    })
}

fn forward_with<E: Element>(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Units<E> {
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
            depthwise::<E>(level, g, &tiling, x, &p, expand.as_ref())
        });
        Unit::new(pre, &moments, p.depthwise.gamma, g.eps)
    };
    let (project, gates) = {
        let (pre, moments, gates) = phase("forward project", g.work([0, 1], 0, [0, 0, 1, 1]), || {
            project::<E>(level, g, &tiling, &p, &depthwise)
        });
        (Unit::new(pre, &moments, p.project.gamma, g.eps), gates)
    };
    phase("forward output", g.work([0, 0], 0, [usize::from(g.has_residual), 0, 0, 2]), || {
        for_parts(y, g.c_out, OUTPUT_ROWS, |row, y| {
            let at = row * g.c_out;
            normalize(level, &project.pre[at..at + y.len()], project.affine(p.project.beta), Activation::Identity, y);
            if g.has_residual {
                add_rows(level, &x[at..at + y.len()], y);
            }
        });
    });
    Units { expand, depthwise, gates, project }
}

/// `e = x · weightᵀ`
fn expand<E: Element>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    x: &[f32],
    weight: &[f32],
) -> (Elements<E>, Vec<Moments>) {
    let (c, pixels) = (g.depthwise.c, g.pixels_in());
    let image = g.depthwise.image_in() / E::WIDTH;
    let weight = right_blocks::<E>(level, &transposed_blocks(weight, g.c_in, tiling), g.c_in, tiling);
    let mut pre = Elements::new(g.n * image);
    let moments = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
        let mut output = Output::new(level, c);
        let mut packed = Elements::default();
        for group in tiling.groups(first, pre.len() / image) {
            let rows = group.images * pixels;
            let x = left(level, &x[group.rows(pixels, g.c_in, 0)], g.c_in, &mut packed);
            for channels in tiling.blocks() {
                let e = &mut pre[tiling.tile::<E>(group, &channels, pixels, first)];
                let weight = &weight[channels.start * g.c_in / E::WIDTH..channels.end * g.c_in / E::WIDTH];
                let width = channels.len();
                output.fill(e, rows, channels, |e| matmul(level, x, weight, width, false, e));
            }
        }
        output.moments
    });
    (pre, moments)
}

/// Takes tiles of a convolution's output: computed in float32, taken into the statistics, and kept.
struct Output {
    level: Level,
    moments: Moments,
    tile: Buffer,
}

impl Output {
    fn new(level: Level, c: usize) -> Self {
        Self { level, moments: Moments::new(c), tile: Buffer::default() }
    }

    /// Fills `rows` rows of some channels.
    fn fill<E: Element>(
        &mut self,
        kept: &mut [E],
        rows: usize,
        channels: Range<usize>,
        compute: impl FnOnce(&mut [f32]),
    ) {
        if let Some(kept) = E::of_mut(kept) {
            compute(kept);
            return self.moments.add(self.level, kept, channels);
        }
        self.tile.resize(rows * channels.len());
        compute(&mut self.tile);
        self.moments.add_and_keep(self.level, &self.tile, channels, Some(kept));
    }
}

/// `d`, the depthwise convolution of `act(bn(e))`, or of `x` where nothing is expanded.
fn depthwise<E: Element>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    x: &[f32],
    p: &Parameters,
    expand: Option<&Unit<E>>,
) -> (Elements<E>, Vec<Moments>) {
    let (c, pixels) = (g.depthwise.c, g.pixels_out());
    let image = g.depthwise.image_out() / E::WIDTH;
    let taps = g.depthwise.kernel * g.depthwise.kernel;
    let windows = transposed_blocks(p.depthwise.weight, taps, tiling);
    let input = Input::new(g, x, p, expand);
    let mut pre = Elements::new(g.n * image);
    let moments = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
        let mut output = Output::new(level, c);
        let mut frame = Frame::default();
        for group in tiling.groups(first, pre.len() / image) {
            for channels in tiling.blocks() {
                let geometry = g.depthwise.with_channels(channels.len());
                frame.fit_input(&geometry);
                let windows = &windows[channels.start * taps..channels.end * taps];
                let d = &mut pre[tiling.tile::<E>(group, &channels, pixels, first)];
                output.fill(d, group.images * pixels, channels.clone(), |d| {
                    for (i, d) in d.chunks_exact_mut(pixels * channels.len()).enumerate() {
                        input.write(level, tiling, group, i, &channels, &mut frame);
                        image_forward(level, &geometry, &frame, windows, d);
                    }
                });
            }
        }
        output.moments
    });
    (pre, moments)
}

/// What the depthwise convolution sees.
pub(super) struct Input<'a, E> {
    g: &'a Geometry,
    x: &'a [f32],
    expanded: Option<(&'a [E], Affine<'a>)>,
}

impl<'a, E: Element> Input<'a, E> {
    pub(super) fn new(g: &'a Geometry, x: &'a [f32], p: &Parameters<'a>, expand: Option<&'a Unit<E>>) -> Self {
        let expanded = p.expand.as_ref().and_then(|unit| expand.map(|e| (e.pre.as_ref(), e.affine(unit.beta))));
        Self { g, x, expanded }
    }

    /// Writes a block of channels of the group's `i`-th image: `act(bn(e))`, or `x` where nothing is expanded.
    pub(super) fn write(
        &self,
        level: Level,
        tiling: &Tiling,
        group: Group,
        i: usize,
        channels: &Range<usize>,
        frame: &mut Frame,
    ) {
        let pixels = self.g.pixels_in();
        match self.expanded {
            Some((e, affine)) => {
                let affine = affine.of(channels.clone());
                let len = pixels * channels.len() / E::WIDTH;
                let image = &e[tiling.tile::<E>(group, channels, pixels, 0)][i * len..(i + 1) * len];
                normalize_to(level, image, affine, self.g.activation, frame.target());
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
fn project<E: Element>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    p: &Parameters,
    depthwise: &Unit<E>,
) -> (Buffer, Vec<Moments>, Option<Gates>) {
    let (c, pixels, image) = (g.depthwise.c, g.pixels_out(), g.pixels_out() * g.c_out);
    let weight = right::<E>(level, &transposed(p.project.weight, g.c_out, c), g.c_out);
    let affine = depthwise.affine(p.depthwise.beta);
    let ones = vec![1.; c];
    let mut pre = Buffer::new(g.n * image);
    let parts = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
        let mut moments = Moments::new(g.c_out);
        let mut all_gates = Vec::new();
        let mut tile = Elements::<E>::new(tiling.tile_len(pixels) / E::WIDTH);
        for group in tiling.groups(first, pre.len() / image) {
            let rows = group.images * pixels;
            let d = |channels: &Range<usize>| &depthwise.pre[tiling.tile::<E>(group, channels, pixels, 0)];
            let gates = p.squeeze_excite.as_ref().map(|se| {
                let mut sums = vec![0.; group.images * c];
                for channels in tiling.blocks() {
                    let images = d(&channels).chunks_exact(pixels * channels.len() / E::WIDTH);
                    for (d, sums) in images.zip(sums.chunks_exact_mut(c)) {
                        activated_sums(
                            level,
                            d,
                            affine.of(channels.clone()),
                            g.activation,
                            &mut sums[channels.clone()],
                        );
                    }
                }
                Gates::new(level, se, sums, pixels, c)
            });
            let p = &mut pre[group.rows(pixels, g.c_out, first)];
            for channels in tiling.blocks() {
                let (d, affine) = (d(&channels), affine.of(channels.clone()));
                let tile = &mut tile[..d.len()];
                match &gates {
                    Some(gates) => {
                        let len = pixels * channels.len() / E::WIDTH;
                        for (i, (d, tile)) in d.chunks_exact(len).zip(tile.chunks_exact_mut(len)).enumerate() {
                            activate_left(level, d, affine, g.activation, &gates.of(i, c)[channels.clone()], tile);
                        }
                    }
                    None => activate_left(level, d, affine, g.activation, &ones[channels.clone()], tile),
                }
                let weight = &weight[channels.start * g.c_out / E::WIDTH..channels.end * g.c_out / E::WIDTH];
                let tile = Matrix::new(tile, rows, channels.len() / E::WIDTH);
                matmul(level, tile, weight, g.c_out, channels.start > 0, p);
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
