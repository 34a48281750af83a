//! Back through the output's batch norm, the projection, squeeze-and-excite and the activation.

use std::ops::Range;

use super::super::gates::GateGradients;
use super::super::tiling::Group;
use super::super::{Gates, Step, Units};
use super::{ROWS, packed, right_blocks, unpacked};
use crate::activation::Activation;
use crate::batch_norm::{Affine, Backward, ChannelGradientSums, GradientSums};
use crate::blocks::pieces;
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::matmul::{Matrix, matmul};
use crate::parallel::{added_up, for_each_with, map_parts, map_parts_mut};
use crate::rows::{Gradients, Values, gate_gradient, input_gradient, left, over_rows, scale_shift};
use crate::simd::streamed;

/// What the phase finds.
pub(super) struct Project<E: Element> {
    /// The gradient of `bn(d)`, in tiles, and its sums.
    pub(super) gd: Elements<E>,
    pub(super) sums: Vec<GradientSums>,
    pub(super) weight: Vec<f32>,
    pub(super) norm: Backward,
    pub(super) squeeze_excite: Option<[Vec<f32>; 4]>,
}

pub(super) fn backward<E: Element>(step: &Step, saved: &Units<E>, gy: &[f32]) -> Project<E> {
    let Step { level, g, tiling, parameters, .. } = *step;
    let c = g.depthwise.c;
    let output = saved.project.affine(parameters.project.beta);
    let norm = output_norm(step, saved, gy);
    let phase = Phase {
        step,
        saved,
        gy,
        output,
        slopes: [&norm.slope, &norm.offset],
        affine: saved.depthwise.affine(parameters.depthwise.beta),
        weight: right_blocks(level, &packed(parameters.project.weight, c, tiling), g.c_out, tiling),
    };
    let image = g.depthwise.image_out() / E::WIDTH;
    let mut gd = Elements::new(g.n * image);
    let parts = map_parts_mut(&mut gd, image, tiling.images_per_part, |first, gd| phase.part(first, gd));

    let (mut gweights, mut sums, mut gate_gradients) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        gweights.push(part.gweight);
        sums.push(part.sums);
        gate_gradients.extend(part.gate_gradients);
    }
    let squeeze_excite = saved.gates.as_ref().zip(parameters.squeeze_excite.as_ref()).map(|(gates, se)| {
        gates.parameter_gradients(level, se, &GateGradients::concatenated(gate_gradients.into_iter()))
    });
    let weight = unpacked(&added_up(&gweights), c, tiling);
    Project { gd, sums, weight, norm, squeeze_excite }
}

/// Back through the output's batch norm, but for its input's gradient, which is never stored.
fn output_norm<E: Element>(step: &Step, saved: &Units<E>, gy: &[f32]) -> Backward {
    let Step { level, g, parameters, .. } = *step;
    let output = saved.project.affine(parameters.project.beta);
    let sums = map_parts(g.n * g.pixels_out(), ROWS, |rows| {
        let rows = rows.start * g.c_out..rows.end * g.c_out;
        let mut gy = Buffer::copy_of(&gy[rows.clone()]);
        let mut sums = GradientSums::new(g.c_out);
        sums.all().add(level, (&saved.project.pre[rows], output, Activation::Identity), &mut gy, ());
        sums
    });
    saved.project.backward(&sums, g.eps)
}

struct Phase<'a, E: Element> {
    step: &'a Step<'a>,
    saved: &'a Units<E>,
    gy: &'a [f32],
    /// The output's batch norm, and what its backward found.
    output: Affine<'a>,
    slopes: [&'a [f32]; 2],
    /// The depthwise convolution's batch norm.
    affine: Affine<'a>,
    /// `[c_out, block]` for each block of channels.
    weight: Vec<E>,
}

/// A part's share of the sums over images.
struct Part {
    /// `[c_out, block]` for each block of channels.
    gweight: Buffer,
    sums: GradientSums,
    gate_gradients: Vec<GateGradients>,
}

/// The gradient of the projection's output, of a group: as the left side of a product over channels, and for one over
/// rows.
struct OutputGradient<'a, E> {
    left: Matrix<'a, E>,
    rows: Matrix<'a, E>,
}

/// What the gradient of a tile goes to.
struct Tile<'a, E> {
    channels: Range<usize>,
    gd: &'a mut [E],
    gweight: &'a mut [f32],
    sums: ChannelGradientSums<'a>,
    /// `[images, block]`, empty where there are no gates.
    ggates: &'a mut [f32],
}

/// A tile's float32 gradient, and the values that the projection saw.
#[derive(Default)]
struct Scratch<E: Element> {
    gradient: Buffer,
    values: Elements<E>,
}

impl<E: Element> Phase<'_, E> {
    fn part(&self, first: usize, gd: &mut [E]) -> Part {
        let Step { level, g, tiling, .. } = *self.step;
        let (c, c_out, pixels) = (g.depthwise.c, g.c_out, g.pixels_out());
        let mut part =
            Part { gweight: Buffer::zeroed(c_out * c), sums: GradientSums::new(c), gate_gradients: Vec::new() };
        let mut scratch = Scratch::default();
        let (mut gp, mut gp_left, mut gp_rows) = (Buffer::default(), Elements::default(), Elements::default());
        for group in tiling.groups(first, gd.len() / (g.depthwise.image_out() / E::WIDTH)) {
            let at = group.rows(pixels, c_out, 0);
            gp.resize(at.len());
            let pre = &self.saved.project.pre[at.clone()];
            input_gradient::<f32>(level, pre, &self.gy[at], self.output, self.slopes, &mut gp);
            let rows = group.images * pixels / E::WIDTH;
            let gp = OutputGradient {
                left: left(level, &gp, c_out, &mut gp_left),
                rows: Matrix::new(over_rows(level, &gp, c_out, &mut gp_rows), rows, c_out),
            };
            self.group(group, &gp, &mut gd[tiling.tiles::<E>(group, pixels, first)], &mut part, &mut scratch);
        }
        part
    }

    fn group(&self, group: Group, gp: &OutputGradient<E>, gd: &mut [E], part: &mut Part, scratch: &mut Scratch<E>) {
        let Step { level, g, tiling, parameters, .. } = *self.step;
        let (c_out, pixels) = (g.c_out, g.pixels_out());
        let gated = self.saved.gates.as_ref().zip(parameters.squeeze_excite.as_ref());
        let images = if gated.is_some() { group.images } else { 0 };
        let mut ggates = vec![0.; images * g.depthwise.c];
        let tiles = tiling
            .blocks()
            .zip(pieces(gd, tiling.tile_lens::<E>(group, pixels)))
            .zip(pieces(&mut part.gweight, tiling.blocks().map(|channels| c_out * channels.len())))
            .zip(part.sums.blocks(&tiling.blocks))
            .zip(pieces(&mut ggates, tiling.blocks().map(|channels| images * channels.len())))
            .map(|((((channels, gd), gweight), sums), ggates)| Tile { channels, gd, gweight, sums, ggates });
        for_each_with(tiling.is_shared, scratch, tiles, |scratch, tile| self.tile(group, gp, tile, scratch));

        // The gates scale the gradient, and their mean adds to it.
        let Some((gates, se)) = gated else { return };
        let ggates = unpacked(&ggates, g.depthwise.c, tiling);
        let (inside, gsums) = gates.backward(level, se, group.first, &ggates, pixels);
        part.gate_gradients.push(inside);
        let tiles =
            tiling.blocks().zip(pieces(gd, tiling.tile_lens::<E>(group, pixels))).zip(part.sums.blocks(&tiling.blocks));
        for_each_with(tiling.is_shared, &mut scratch.gradient, tiles, |gradient, ((channels, gd), sums)| {
            self.through_gates(group, gates, &gsums, channels, gd, sums, gradient);
        });
    }

    /// A tile's gradient, and its product with what the projection saw. Without gates, the gradient is that of `bn(d)`.
    fn tile(&self, group: Group, gp: &OutputGradient<E>, tile: Tile<E>, scratch: &mut Scratch<E>) {
        let Step { level, g, tiling, .. } = *self.step;
        let Tile { channels, gd, gweight, mut sums, ggates } = tile;
        let (pixels, width) = (g.pixels_out(), channels.len());
        let affine = self.affine.of(channels.clone());
        let d = &self.saved.depthwise.pre[tiling.tile::<E>(group, &channels, pixels, 0)];
        let weight = &self.weight[channels.start * g.c_out / E::WIDTH..channels.end * g.c_out / E::WIDTH];
        let compute = |gradient: &mut [f32]| matmul(level, gp.left, weight, width, false, gradient);
        let Scratch { gradient, values } = scratch;
        values.resize(d.len());
        if self.saved.gates.is_none()
            && let Some(gd) = E::of_mut(gd)
        {
            compute(gd);
            sums.add(level, (d, affine, g.activation), gd, Values(values));
        } else {
            gradient.resize(d.len() * E::WIDTH);
            compute(gradient);
            match &self.saved.gates {
                None => {
                    streamed(gd, |gd| {
                        sums.add(level, (d, affine, g.activation), gradient, (Values(values), Gradients(gd)));
                    });
                }
                Some(gates) => {
                    let len = pixels * width / E::WIDTH;
                    for (i, dots) in ggates.chunks_exact_mut(width).enumerate() {
                        let at = i * len..(i + 1) * len;
                        let gate = &gates.of(group.first + i, g.depthwise.c)[channels.clone()];
                        let gradient = &gradient[i * pixels * width..(i + 1) * pixels * width];
                        let keep = [&mut values[at.clone()], &mut gd[at.clone()]];
                        gate_gradient(level, (&d[at], affine, g.activation), gate, gradient, dots, keep);
                    }
                }
            }
        }
        matmul(level, gp.rows.t(), values, width, true, gweight);
    }

    /// Turns a tile's gradient of `act(bn(d)) · gate` into that of `bn(d)`.
    #[expect(clippy::too_many_arguments, reason = "a tile, its place, and the gates with their gradients")]
    fn through_gates(
        &self,
        group: Group,
        gates: &Gates,
        gsums: &[f32],
        channels: Range<usize>,
        gd: &mut [E],
        mut sums: ChannelGradientSums,
        gradient: &mut Buffer,
    ) {
        let Step { level, g, tiling, .. } = *self.step;
        let (c, len) = (g.depthwise.c, g.pixels_out() * channels.len());
        gradient.resize(gd.len() * E::WIDTH);
        let images = gd.chunks_exact(len / E::WIDTH).zip(gradient.chunks_exact_mut(len));
        for (i, (gd, gradient)) in images.enumerate() {
            let gate = &gates.of(group.first + i, c)[channels.clone()];
            scale_shift::<E>(level, gd, gate, &gsums[i * c..][channels.clone()], gradient);
        }
        let d = &self.saved.depthwise.pre[tiling.tile::<E>(group, &channels, g.pixels_out(), 0)];
        let of = (d, self.affine.of(channels), g.activation);
        streamed(gd, |gd| sums.add(level, of, gradient, Gradients(gd)));
    }
}
