//! Back through the depthwise convolution and, if there is an expansion, its activation: `gx = g · (scale · W)`.
//! Without an expansion `gx` is complete but for the residual.

use std::ops::Range;

use rayon::prelude::*;

use super::super::forward::Input;
use super::super::tiling::Group;
use super::super::{Step, Unit, Units};
use super::transposed_blocks;
use crate::batch_norm::{Affine, Backward, ChannelGradientSums, GradientSums};
use crate::blocks::{pieces, scatter};
use crate::buffer::{Buffer, Elements};
use crate::depthwise::{Frame, image_backward_input, image_backward_weight};
use crate::element::Element;
use crate::matmul::{Matrix, matmul, transposed};
use crate::origin::Origin;
use crate::parallel::{added_up, for_parts, map_parts_mut};
use crate::pool::sum_rows;
use crate::profile::Items;
use crate::rows::{Operands, input_gradient_to, over_rows, right};
use crate::simd::Level;

/// Rows of `gx` that one thread sums up at once, where the threads share a group.
const SHARED_ROWS: usize = 96;

/// What the phase finds.
pub(super) struct Depthwise {
    pub(super) weight: Vec<f32>,
    pub(super) expand: Vec<ExpandPart>,
}

/// A part's sums over its rows, with `x` counted from the origin: of `bn(e)`'s gradient `g`, of `gᵀ · x`, of `xᵀ · x`
/// and of `x`.
pub(super) struct ExpandPart {
    pub(super) sums: GradientSums,
    pub(super) weight: Buffer,
    pub(super) squares: Vec<f64>,
    pub(super) sum: Vec<f64>,
}

pub(super) fn backward<E: Element>(
    step: &Step,
    saved: &Units<E>,
    origin: &Origin,
    norm: &Backward,
    gd: &[E],
    gx: &mut [f32],
) -> Depthwise {
    let Step { level, g, tiling, parameters, .. } = *step;
    let taps = g.taps();
    let expand = parameters.expand.as_ref().zip(saved.expand.as_ref()).map(|(unit, saved)| {
        let rows = unit.weight.chunks_exact(g.c_in).zip(&saved.scale);
        let scaled: Vec<f32> = rows.flat_map(|(row, scale)| row.iter().map(move |w| w * scale)).collect();
        Expand { saved, affine: saved.affine(unit.beta), scaled: right(level, &scaled, g.c_in) }
    });
    let phase = Phase {
        step,
        saved: &saved.depthwise,
        affine: saved.depthwise.affine(parameters.depthwise.beta),
        slopes: [&norm.slope, &norm.offset],
        gd,
        windows: transposed_blocks(parameters.depthwise.weight, taps, tiling),
        input: Input::new(step, saved.expand.as_ref()),
        expand,
        origin,
    };
    let parts = map_parts_mut(gx, g.pixels_in() * g.c_in, tiling.images_per_part, |first, gx| phase.part(first, gx));
    let (gwindows, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let gwindows = added_up(&gwindows);
    let mut weight = Vec::with_capacity(gwindows.len());
    for channels in tiling.blocks() {
        let block = &gwindows[channels.start * taps..channels.end * taps];
        weight.extend(transposed(block, taps, channels.len()));
    }
    Depthwise { weight, expand: parts.into_iter().flatten().collect() }
}

struct Phase<'a, E: Element> {
    step: &'a Step<'a>,
    /// The depthwise convolution, its batch norm, and what the backward of that found.
    saved: &'a Unit<E>,
    affine: Affine<'a>,
    slopes: [&'a [f32]; 2],
    gd: &'a [E],
    /// `[taps, block]` for each block of channels.
    windows: Vec<f32>,
    input: Input<'a, E>,
    expand: Option<Expand<'a, E>>,
    origin: &'a Origin,
}

struct Expand<'a, E: Element> {
    saved: &'a Unit<E>,
    affine: Affine<'a>,
    /// `scale · W`, `[c, c_in]`
    scaled: Vec<E>,
}

/// What a tile's gradients add to.
struct Tile<'a> {
    channels: Range<usize>,
    gwindows: &'a mut [f32],
    expand: Option<(ChannelGradientSums<'a>, &'a mut [f32])>,
}

/// A tile of `ge`, in float32 and as the operands of products, which are empty where float32 is one.
#[derive(Default)]
struct Gradient<E: Element> {
    values: Buffer,
    left: Elements<E>,
    rows: Elements<E>,
}

impl<E: Element> Phase<'_, E> {
    /// The gradient of the windows, `[taps, block]` for each block of channels, and the expansion's sums.
    fn part(&self, first: usize, gx: &mut [f32]) -> (Vec<f32>, Option<ExpandPart>) {
        let Step { level, g, tiling, x, .. } = *self.step;
        let (c, c_in, pixels) = (g.depthwise.c, g.c_in, g.pixels_in());
        let mut gwindows = vec![0.; g.taps() * c];
        let mut part = self.expand.as_ref().map(|_| ExpandPart::new(c, c_in));
        let (mut shifted, mut packed) = (Buffer::default(), Elements::default());
        let mut scratch = <([Frame; 2], Gradient<E>)>::default();
        for group in tiling.groups(first, gx.len() / (pixels * c_in)) {
            let mut x_rows: &[E] = &[];
            if let Some(part) = &mut part {
                self.origin.subtract(level, &x[group.rows(pixels, c_in, 0)], &mut shifted);
                x_rows = over_rows(level, &shifted, c_in, &mut packed);
                part.add_input(level, &shifted, x_rows);
            }
            let gx = &mut gx[group.rows(pixels, c_in, first)];
            let lens = tiling.blocks().map(|channels| g.taps() * channels.len());
            let tiles = tiling.blocks().zip(pieces(&mut gwindows, lens));
            let mut sums = part.as_mut().map(|part| part.blocks(self.step));
            let tiles = tiles.map(|(channels, gwindows)| Tile {
                channels,
                gwindows,
                expand: sums.as_mut().and_then(Iterator::next),
            });
            self.group(group, x_rows, tiles, &mut scratch, gx);
        }
        (gwindows, part)
    }

    /// All tiles of a group, and their way into `gx`, which is a sum over blocks of channels: one after the other, or
    /// all tiles in parallel and then the rows.
    fn group<'t>(
        &self,
        group: Group,
        x_rows: &[E],
        tiles: impl Iterator<Item = Tile<'t>>,
        (frames, gradient): &mut ([Frame; 2], Gradient<E>),
        gx: &mut [f32],
    ) {
        let Step { g, tiling, .. } = *self.step;
        if !tiling.is_shared {
            let mut timer = Items::default();
            for tile in tiles {
                let channels = tile.channels.clone();
                timer.run(|| self.tile(group, x_rows, tile, frames, gradient));
                self.multiply(gradient, 0..group.images * g.pixels_in(), &channels, gx);
            }
            return;
        }
        let tiles = tiles.collect::<Vec<_>>().into_par_iter().map_init(<[Frame; 2]>::default, |frames, tile| {
            let (channels, mut gradient) = (tile.channels.clone(), Gradient::default());
            self.tile(group, x_rows, tile, frames, &mut gradient);
            (channels, gradient)
        });
        let tiles: Vec<_> = tiles.collect();
        for_parts(gx, g.c_in, SHARED_ROWS, |first, gx| {
            let rows = first..first + gx.len() / g.c_in;
            tiles.iter().for_each(|(channels, gradient)| self.multiply(gradient, rows.clone(), channels, gx));
        });
    }

    /// A tile of `ge`, and what it adds to the gradients of the windows and of the expansion's weight.
    fn tile(&self, group: Group, x_rows: &[E], tile: Tile, frames: &mut [Frame; 2], gradient: &mut Gradient<E>) {
        let Step { level, g, tiling, .. } = *self.step;
        let Tile { channels, gwindows, expand } = tile;
        let rows = group.images * g.pixels_in();
        gradient.values.resize(rows * channels.len());
        self.windows(group, &channels, frames, gwindows, &mut gradient.values);
        let (Some(Expand { saved, affine, .. }), Some((mut sums, gweight))) = (&self.expand, expand) else { return };
        let Gradient { values, left, rows: ge_rows } = gradient;
        let packed = if E::WIDTH > 1 { values.len() / E::WIDTH } else { 0 };
        left.resize(packed);
        ge_rows.resize(packed);
        let pre = &saved.pre[tiling.tile::<E>(group, &channels, g.pixels_in(), 0)];
        let of = (pre, affine.of(channels.clone()), g.activation);
        sums.add(level, of, values, Operands(left, ge_rows));
        let ge = Matrix::new(E::of(values).unwrap_or(ge_rows), rows / E::WIDTH, channels.len());
        matmul(level, ge.t(), x_rows, g.c_in, true, gweight);
    }

    /// Back through the depthwise convolution, image by image.
    fn windows(
        &self,
        group: Group,
        channels: &Range<usize>,
        [frame_in, frame_out]: &mut [Frame; 2],
        gwindows: &mut [f32],
        gradient: &mut [f32],
    ) {
        let Step { level, g, tiling, .. } = *self.step;
        let shape = g.depthwise.with_channels(channels.len());
        frame_in.fit_input(&shape);
        frame_out.fit_output(&shape);
        let at = tiling.tile::<E>(group, channels, g.pixels_out(), 0);
        let image = shape.image_out() / E::WIDTH;
        let images = self.saved.pre[at.clone()].chunks_exact(image).zip(self.gd[at].chunks_exact(image));
        let affine = self.affine.of(channels.clone());
        let slopes = self.slopes.map(|values| &values[channels.clone()]);
        let windows = &self.windows[channels.start * g.taps()..channels.end * g.taps()];
        for (i, ((pre, gd), gradient)) in images.zip(gradient.chunks_exact_mut(shape.image_in())).enumerate() {
            input_gradient_to(level, pre, gd, affine, slopes, frame_out.target());
            self.input.write(group, i, channels, frame_in);
            image_backward_weight(level, &shape, frame_in, frame_out, gwindows);
            image_backward_input(level, &shape, frame_out, windows, gradient);
        }
    }

    /// Adds a tile's share to the gradient of some of the group's rows, which the first block of channels begins.
    fn multiply(&self, gradient: &Gradient<E>, rows: Range<usize>, channels: &Range<usize>, gx: &mut [f32]) {
        let Step { level, g, .. } = *self.step;
        let (c_in, width) = (g.c_in, channels.len());
        let Some(Expand { scaled, .. }) = &self.expand else {
            return scatter(&gradient.values[rows.start * width..rows.end * width], gx, c_in, channels.clone());
        };
        let left = E::of(&gradient.values).unwrap_or(&gradient.left);
        let left = Matrix::new(left, gradient.values.len() / width, width / E::WIDTH);
        let scaled = &scaled[channels.start * c_in / E::WIDTH..channels.end * c_in / E::WIDTH];
        matmul(level, left.rows(rows), scaled, c_in, channels.start > 0, gx);
    }
}

impl ExpandPart {
    fn new(c: usize, c_in: usize) -> Self {
        Self {
            sums: GradientSums::new(c),
            weight: Buffer::zeroed(c * c_in),
            squares: vec![0.; c_in * c_in],
            sum: vec![0.; c_in],
        }
    }

    /// Takes in some rows of the input, which are counted from the origin.
    fn add_input<E: Element>(&mut self, level: Level, x: &[f32], x_rows: &[E]) {
        let c_in = self.sum.len();
        let mut squares = Buffer::new(c_in * c_in);
        matmul(level, Matrix::new(x_rows, x_rows.len() / c_in, c_in).t(), x_rows, c_in, false, &mut squares);
        self.squares.iter_mut().zip(squares.iter()).for_each(|(total, s)| *total += f64::from(*s));
        let mut sum = vec![0.; c_in];
        sum_rows(level, x, &mut sum);
        self.sum.iter_mut().zip(sum).for_each(|(total, s)| *total += f64::from(s));
    }

    /// The sums and the weight's gradient of each block of channels.
    fn blocks(&mut self, step: &Step) -> impl Iterator<Item = (ChannelGradientSums<'_>, &mut [f32])> {
        let (c_in, blocks) = (step.g.c_in, step.tiling.blocks());
        let weights = pieces(&mut self.weight, blocks.map(move |channels| channels.len() * c_in));
        self.sums.blocks(&step.tiling.blocks).zip(weights)
    }
}
