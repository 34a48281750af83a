//! Training, backward.
//!
//! The gradient of a batch norm's input is known only when the sums over the whole batch are, so it takes two passes. For
//! the expansion the second one is spared. With `g` the gradient of `bn(e)`,
//!
//! ```text
//! ge = scale · g + slope · (e - mean) + offset                    slope and offset from the sums
//! gx = ge · W = g · (scale · W) + x · M + v                       M = Wᵀ · slope · W,  v = (offset - slope · mean) · W
//! gW = geᵀ · x = scale · (gᵀ · x) + slope · W · X + offset · Σx   X = Σ (x - mean(x)) · xᵀ
//! ```
//!
//! because `e = x · Wᵀ` is linear in `x`. So `g` is multiplied into `gx` and `gW` while it is in the cache, and what the sums
//! add is a product with the small matrices `M` and `X`, `c_in × c_in`.

use super::forward::Input;
use super::gates::GateGradients;
use super::{ConvNorm, Geometry, Kept, Parameters, Saved, Tiling, Unit, Units, right_blocks, transposed_blocks};
use crate::activation::Activation;
use crate::batch_norm::{Backward, GradientSums};
use crate::blocks::scatter;
use crate::buffer::{Buffer, Elements};
use crate::depthwise::{Frame, image_backward_input, image_backward_weight};
use crate::element::Element;
use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{added_up, for_parts, map_parts, map_parts_mut};
use crate::pool::{add_rows, sum_rows};
use crate::profile::phase;
use crate::rows::{
    Gradients, Operands, Values, ValuesAndGradients, gate_gradient, input_gradient, input_gradient_to, left, over_rows,
    right, scale_shift,
};
use crate::simd::{Level, streamed};

/// The gradients of the input and of each parameter.
pub fn backward(g: &Geometry, x: &[f32], theta: &[&[f32]], saved: &Saved, gy: &[f32]) -> (Buffer, Vec<Vec<f32>>) {
    g.assert_fits(x, theta, gy);
    match &saved.0 {
        Kept::F32(units) => backward_with(g, x, theta, units, gy),
        Kept::Bf16(units) => backward_with(g, x, theta, units, gy),
    }
}

fn backward_with<E: Element>(
    g: &Geometry,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Units<E>,
    gy: &[f32],
) -> (Buffer, Vec<Vec<f32>>) {
    let level = Level::best();
    let tiling = Tiling::new(g);
    let p = g.split(theta);
    let project =
        phase("backward project", g.work([0, 2], 0, [0, 0, 2, 4]), || project(level, g, &tiling, &p, saved, gy));
    let depthwise_norm = saved.depthwise.backward(&project.sums, g.eps);
    let mut gx = Buffer::new(x.len());
    let products = 2 * usize::from(g.has_expand);
    let depthwise = phase("backward depthwise, expand", g.work([products, 0], 2, [2, 1, 2, 0]), || {
        depthwise(level, g, &tiling, x, &p, saved, &depthwise_norm, &project.gd, &mut gx)
    });
    drop(project.gd);

    let mut gtheta = Vec::with_capacity(theta.len());
    if let (Some(unit), Some(saved)) = (&p.expand, &saved.expand) {
        gtheta.extend(phase("backward input", g.work([0, 0], 0, [3, 0, 0, usize::from(g.has_residual)]), || {
            expand(level, g, x, unit, saved, depthwise.expand, gy, &mut gx)
        }));
    } else if g.has_residual {
        phase("backward input", g.work([0, 0], 0, [2, 0, 0, 1]), || {
            for_parts(&mut gx, g.c_in, ROWS, |row, gx| add_rows(level, &gy[row * g.c_in..][..gx.len()], gx));
        });
    }
    gtheta.extend([depthwise.weight, depthwise_norm.weight, depthwise_norm.bias]);
    gtheta.extend(project.squeeze_excite.into_iter().flatten());
    gtheta.extend([project.weight, project.norm.weight, project.norm.bias]);
    (gx, gtheta)
}

/// Rows of the passes over the input.
const ROWS: usize = 1024;

struct Project<E: Element> {
    /// The gradient of `bn(d)`, in tiles, and its sums.
    gd: Elements<E>,
    sums: Vec<GradientSums>,
    weight: Vec<f32>,
    norm: Backward,
    squeeze_excite: Option<[Vec<f32>; 4]>,
}

/// Back through the output's batch norm, the projection, squeeze-and-excite and the activation.
fn project<E: Element>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    p: &Parameters,
    saved: &Units<E>,
    gy: &[f32],
) -> Project<E> {
    let (c, pixels) = (g.depthwise.c, g.pixels_out());
    let Units { depthwise, gates, project, .. } = saved;
    let output_affine = project.affine(p.project.beta);
    let sums = map_parts(g.n * pixels, ROWS, |rows| {
        let rows = rows.start * g.c_out..rows.end * g.c_out;
        let mut gy = Buffer::copy_of(&gy[rows.clone()]);
        let mut sums = GradientSums::new(g.c_out);
        sums.add(level, (&project.pre[rows], output_affine, Activation::Identity), &mut gy, 0..g.c_out, ());
        sums
    });
    let norm = project.backward(&sums, g.eps);

    let affine = depthwise.affine(p.depthwise.beta);
    let weight = right_blocks::<E>(level, &packed(p.project.weight, g.c_out, c, tiling), g.c_out, tiling);
    let image = g.depthwise.image_out() / E::WIDTH;
    let mut gd = Elements::new(g.n * image);
    let parts = map_parts_mut(&mut gd, image, tiling.images_per_part, |first, gd| {
        let mut gweight = Buffer::zeroed(g.c_out * c);
        let mut sums = GradientSums::new(c);
        let mut gate_gradients = Vec::new();
        let (mut gp, mut gp_left, mut gp_rows) = (Buffer::default(), Elements::default(), Elements::default());
        let mut gradient = Buffer::new(tiling.tile_len(pixels));
        let mut values = Elements::<E>::new(tiling.tile_len(pixels) / E::WIDTH);
        for group in tiling.groups(first, gd.len() / image) {
            let rows = group.images * pixels;
            let at = group.rows(pixels, g.c_out, 0);
            gp.resize(at.len());
            let of = (&project.pre[at.clone()], &gy[at]);
            input_gradient::<f32>(level, of.0, of.1, output_affine, [&norm.slope, &norm.offset], &mut gp);
            let gp_left = left(level, &gp, g.c_out, &mut gp_left);
            let gp_rows = Matrix::new(over_rows(level, &gp, g.c_out, &mut gp_rows), rows / E::WIDTH, g.c_out);
            let mut ggates = vec![0.; if gates.is_some() { group.images * c } else { 0 }];
            for channels in tiling.blocks() {
                let (affine, width) = (affine.of(channels.clone()), channels.len());
                let d = &depthwise.pre[tiling.tile::<E>(group, &channels, pixels, 0)];
                let gd = &mut gd[tiling.tile::<E>(group, &channels, pixels, first)];
                let block = channels.start * g.c_out..channels.end * g.c_out;
                let values = &mut values[..d.len()];
                let weight = &weight[block.start / E::WIDTH..block.end / E::WIDTH];
                let compute = |gradient: &mut [f32]| matmul(level, gp_left, weight, width, false, gradient);
                match gates {
                    Some(gates) => {
                        let gradient = &mut gradient[..rows * width];
                        compute(gradient);
                        let len = pixels * width / E::WIDTH;
                        for i in 0..group.images {
                            let (at, image) = (i * len..(i + 1) * len, i * pixels * width..(i + 1) * pixels * width);
                            let gate = &gates.of(group.first + i, c)[channels.clone()];
                            let dots = &mut ggates[i * c..][channels.clone()];
                            let keep = [&mut values[at.clone()], &mut gd[at.clone()]];
                            gate_gradient(level, (&d[at], affine, g.activation), gate, &gradient[image], dots, keep);
                        }
                    }
                    None => match E::of_mut(gd) {
                        Some(gd) => {
                            compute(gd);
                            sums.add(level, (d, affine, g.activation), gd, channels, Values(values));
                        }
                        None => {
                            let gradient = &mut gradient[..rows * width];
                            compute(gradient);
                            streamed(gd, |gd| {
                                let sink = ValuesAndGradients(values, gd);
                                sums.add(level, (d, affine, g.activation), gradient, channels, sink);
                            });
                        }
                    },
                }
                matmul(level, gp_rows.t(), values, width, true, &mut gweight[block]);
            }
            // The gates scale the gradient, and their mean adds to it.
            if let (Some(gates), Some(se)) = (gates, &p.squeeze_excite) {
                let (inside, gsums) = gates.backward(level, se, group.first, &ggates, pixels);
                gate_gradients.push(inside);
                for channels in tiling.blocks() {
                    let width = channels.len();
                    let d = &depthwise.pre[tiling.tile::<E>(group, &channels, pixels, 0)];
                    let gd = &mut gd[tiling.tile::<E>(group, &channels, pixels, first)];
                    let gradient = &mut gradient[..rows * width];
                    let images =
                        gd.chunks_exact(pixels * width / E::WIDTH).zip(gradient.chunks_exact_mut(pixels * width));
                    for (i, (gd, gradient)) in images.enumerate() {
                        let gate = &gates.of(group.first + i, c)[channels.clone()];
                        scale_shift::<E>(level, gd, gate, &gsums[i * c..][channels.clone()], gradient);
                    }
                    let of = (d, affine.of(channels.clone()), g.activation);
                    streamed(gd, |gd| sums.add(level, of, gradient, channels, Gradients(gd)));
                }
            }
        }
        (gweight, sums, gate_gradients)
    });
    let (mut gweights, mut sums, mut gate_gradients) = (Vec::new(), Vec::new(), Vec::new());
    for (gweight, sum, gradients) in parts {
        gweights.push(gweight);
        sums.push(sum);
        gate_gradients.extend(gradients);
    }
    let squeeze_excite = gates.as_ref().zip(p.squeeze_excite.as_ref()).map(|(gates, se)| {
        gates.parameter_gradients(level, se, &GateGradients::concatenated(gate_gradients.into_iter()))
    });
    let weight = unpacked(&added_up(&gweights), g.c_out, c, tiling);
    Project { gd, sums, weight, norm, squeeze_excite }
}

struct Depthwise {
    weight: Vec<f32>,
    expand: Vec<ExpandPart>,
}

/// A part's sums over its rows: of `bn(e)`'s gradient `g`, of `gᵀ · x`, of `xᵀ · x` and of `x`.
struct ExpandPart {
    sums: GradientSums,
    weight: Buffer,
    squares: Vec<f64>,
    sum: Vec<f32>,
}

/// Back through the depthwise convolution and, if there is an expansion, its activation: `gx = g · (scale · W)`. Without an
/// expansion `gx` is complete but for the residual.
#[allow(clippy::too_many_arguments, reason = "what the phases before have found")]
fn depthwise<E: Element>(
    level: Level,
    g: &Geometry,
    tiling: &Tiling,
    x: &[f32],
    p: &Parameters,
    saved: &Units<E>,
    norm: &Backward,
    gd: &[E],
    gx: &mut [f32],
) -> Depthwise {
    let (c, c_in, pixels_in, pixels_out) = (g.depthwise.c, g.c_in, g.pixels_in(), g.pixels_out());
    let taps = g.depthwise.kernel * g.depthwise.kernel;
    let windows = transposed_blocks(p.depthwise.weight, taps, tiling);
    let input = Input::new(g, x, p, saved.expand.as_ref());
    let expand = p.expand.as_ref().zip(saved.expand.as_ref()).map(|(unit, saved)| {
        let rows = unit.weight.chunks_exact(c_in).zip(&saved.scale);
        let scaled: Vec<f32> = rows.flat_map(|(row, scale)| row.iter().map(move |w| w * scale)).collect();
        (saved, saved.affine(unit.beta), right::<E>(level, &scaled, c_in))
    });
    let affine = saved.depthwise.affine(p.depthwise.beta);
    let parts = map_parts_mut(gx, pixels_in * c_in, tiling.images_per_part, |first, gx| {
        let (mut frame_in, mut frame_out) = (Frame::default(), Frame::default());
        let mut gwindows = vec![0.; taps * c];
        let mut ge = Buffer::new(tiling.tile_len(pixels_in));
        let (mut ge_left, mut ge_rows, mut x_rows) = (Elements::default(), Elements::default(), Elements::default());
        let mut part = expand.as_ref().map(|_| ExpandPart::new(c, c_in));
        for group in tiling.groups(first, gx.len() / (pixels_in * c_in)) {
            let rows = group.images * pixels_in;
            let x = &x[group.rows(pixels_in, c_in, 0)];
            let x_rows = if part.is_some() { over_rows(level, x, c_in, &mut x_rows) } else { &[] };
            let gx = &mut gx[group.rows(pixels_in, c_in, first)];
            for channels in tiling.blocks() {
                let width = channels.len();
                let geometry = g.depthwise.with_channels(width);
                frame_in.fit_input(&geometry);
                frame_out.fit_output(&geometry);
                let at = tiling.tile::<E>(group, &channels, pixels_out, 0);
                let (pre, gd) = (&saved.depthwise.pre[at.clone()], &gd[at]);
                let taps = channels.start * taps..channels.end * taps;
                let ge = &mut ge[..rows * width];
                for (i, ge) in ge.chunks_exact_mut(pixels_in * width).enumerate() {
                    let image = pixels_out * width / E::WIDTH;
                    let image = i * image..(i + 1) * image;
                    let (pre, gd) = (&pre[image.clone()], &gd[image]);
                    let sums = [&norm.slope[channels.clone()], &norm.offset[channels.clone()]];
                    input_gradient_to(level, pre, gd, affine.of(channels.clone()), sums, frame_out.target());
                    input.write(level, tiling, group, i, &channels, &mut frame_in);
                    image_backward_weight(level, &geometry, &frame_in, &frame_out, &mut gwindows[taps.clone()]);
                    image_backward_input(level, &geometry, &frame_out, &windows[taps.clone()], ge);
                }
                match (&expand, &mut part) {
                    (Some((saved, affine, scaled)), Some(part)) => {
                        let pre = &saved.pre[tiling.tile::<E>(group, &channels, pixels_in, 0)];
                        let (ge_left, ge_rows) = (operand(&mut ge_left, ge), operand(&mut ge_rows, ge));
                        let sink = Operands(ge_left, ge_rows);
                        let of = (pre, affine.of(channels.clone()), g.activation);
                        part.sums.add(level, of, ge, channels.clone(), sink);
                        let at = channels.start * c_in..channels.end * c_in;
                        let ge_left = Matrix::new(E::of(ge).unwrap_or(ge_left), rows, width / E::WIDTH);
                        let ge_rows = Matrix::new(E::of(ge).unwrap_or(ge_rows), rows / E::WIDTH, width);
                        let scaled = &scaled[at.start / E::WIDTH..at.end / E::WIDTH];
                        matmul(level, ge_left, scaled, c_in, channels.start > 0, gx);
                        matmul(level, ge_rows.t(), x_rows, c_in, true, &mut part.weight[at]);
                    }
                    _ => scatter(ge, gx, c_in, channels),
                }
            }
            if let Some(part) = &mut part {
                part.add_input(level, x, x_rows, c_in);
            }
        }
        (gwindows, part)
    });
    let (gwindows, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let gwindows = added_up(&gwindows);
    let mut weight = Vec::with_capacity(gwindows.len());
    for channels in tiling.blocks() {
        let block = &gwindows[channels.start * taps..channels.end * taps];
        weight.extend(transposed(block, taps, channels.len()));
    }
    Depthwise { weight, expand: parts.into_iter().flatten().collect() }
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

    /// Takes in some rows of the input.
    fn add_input<E: Element>(&mut self, level: Level, x: &[f32], x_rows: &[E], c_in: usize) {
        let mut squares = Buffer::new(c_in * c_in);
        matmul(level, Matrix::new(x_rows, x_rows.len() / c_in, c_in).t(), x_rows, c_in, false, &mut squares);
        self.squares.iter_mut().zip(squares.iter()).for_each(|(total, s)| *total += f64::from(*s));
        sum_rows(level, x, &mut self.sum);
    }
}

/// What the expansion's sums add to `gx` and to its weight's gradient, and the residual's part of `gx`. Returns the
/// gradients of the weight and of batch norm's weight and bias.
#[allow(clippy::too_many_arguments, reason = "what the phases before have found")]
fn expand<E: Element>(
    level: Level,
    g: &Geometry,
    x: &[f32],
    unit: &ConvNorm,
    saved: &Unit<E>,
    parts: Vec<ExpandPart>,
    gy: &[f32],
    gx: &mut [f32],
) -> [Vec<f32>; 3] {
    let (c, c_in) = (g.depthwise.c, g.c_in);
    let (mut sums, mut weights) = (Vec::new(), Vec::new());
    let (mut squares, mut sum) = (vec![0.; c_in * c_in], vec![0.; c_in]);
    for part in parts {
        sums.push(part.sums);
        weights.push(part.weight);
        squares.iter_mut().zip(part.squares).for_each(|(total, s)| *total += s);
        sum.iter_mut().zip(part.sum).for_each(|(total, s)| *total += f64::from(s));
    }
    let norm = saved.backward(&sums, g.eps);
    let rows = (g.n * g.pixels_in()) as f64;
    let centered: Vec<f32> =
        (0..c_in * c_in).map(|i| (squares[i] - sum[i / c_in] * sum[i % c_in] / rows) as f32).collect();

    let mut weight = added_up(&weights);
    for_parts(&mut weight, c_in, c.div_ceil(8), |first, gw| {
        let rows = gw.len() / c_in;
        let w = &unit.weight[first * c_in..(first + rows) * c_in];
        let mut correction = Buffer::new(gw.len());
        matmul(level, Matrix::new(w, rows, c_in), &centered, c_in, false, &mut correction);
        for (i, (gw, correction)) in gw.chunks_exact_mut(c_in).zip(correction.chunks_exact(c_in)).enumerate() {
            let (scale, slope, offset) = (saved.scale[first + i], norm.slope[first + i], norm.offset[first + i]);
            for ((gw, correction), sum) in gw.iter_mut().zip(correction).zip(&sum) {
                *gw = scale * *gw + slope * correction + offset * *sum as f32;
            }
        }
    });

    let scaled_rows = unit.weight.chunks_exact(c_in).zip(&norm.slope);
    let sloped: Vec<f32> = scaled_rows.flat_map(|(row, slope)| row.iter().map(move |w| w * slope)).collect();
    let mut m = vec![0.; c_in * c_in];
    for_parts(&mut m, c_in, c_in.div_ceil(8), |first, m| {
        let rows = m.len() / c_in;
        matmul(level, Matrix::new(&sloped, c, c_in).t().rows(first..first + rows), unit.weight, c_in, false, m);
    });
    let shift: Vec<f32> = (0..c).map(|i| norm.offset[i] - norm.slope[i] * saved.statistics.mean[i]).collect();
    let mut v = vec![0.; c_in];
    matmul(level, Matrix::new(&shift, 1, c), unit.weight, c_in, false, &mut v);
    let m = right::<E>(level, &m, c_in);
    for_parts(gx, c_in, ROWS, |row, gx| {
        let rows = row * c_in..row * c_in + gx.len();
        let mut packed = Elements::default();
        matmul(level, left(level, &x[rows.clone()], c_in, &mut packed), &m, c_in, true, gx);
        gx.chunks_exact_mut(c_in).for_each(|gx| gx.iter_mut().zip(&v).for_each(|(gx, v)| *gx += v));
        if g.has_residual {
            add_rows(level, &gy[rows], gx);
        }
    });
    [weight, norm.weight, norm.bias]
}

/// Room for `ge` as an operand of a product, which float32 needs not.
fn operand<'a, E: Element>(packed: &'a mut Elements<E>, ge: &[f32]) -> &'a mut [E] {
    packed.resize(if E::WIDTH > 1 { ge.len() / E::WIDTH } else { 0 });
    packed
}

/// The columns of `weight`, `[rows, c]`, block by block: `[rows, block]` for each, one after the other.
fn packed(weight: &[f32], rows: usize, c: usize, tiling: &Tiling) -> Vec<f32> {
    let mut blocks = Vec::with_capacity(rows * c);
    for channels in tiling.blocks() {
        weight.chunks_exact(c).for_each(|row| blocks.extend_from_slice(&row[channels.clone()]));
    }
    blocks
}

/// The opposite of [`packed`].
fn unpacked(blocks: &[f32], rows: usize, c: usize, tiling: &Tiling) -> Vec<f32> {
    let mut weight = vec![0.; rows * c];
    for channels in tiling.blocks() {
        scatter(&blocks[rows * channels.start..rows * channels.end], &mut weight, c, channels);
    }
    weight
}
