//! Training, backward.
//!
//! The gradient of a batch norm's input is known only when the sums over the whole batch are, so it takes two passes.
//! For the expansion the second one is spared. With `g` the gradient of `bn(e)`, and any row `o`,
//!
//! ```text
//! ge = scale · g + slope · (e - mean(e)) + offset                slope and offset from the sums
//! gx = ge · W = g · (scale · W) + (x - o) · M + v                M = Wᵀ · slope · W
//!                                                                v = (offset - slope · W · (mean(x) - o)) · W
//! gW = geᵀ · (x - o) = scale · (gᵀ · (x - o)) + slope · W · X + offset · Σ(x - o)
//!                                                                X = Σ (x - mean(x)) · (x - mean(x))ᵀ
//! ```
//!
//! because `e = x · Wᵀ` is linear in `x`, and because `ge` sums up to 0. So `g` is multiplied into `gx` and `gW` while
//! it is in the cache, and what the sums add is a product with the small matrices `M` and `X`, `c_in × c_in`. The row
//! `o` is near the mean of `x` (`origin`): with 0 in its place, the terms would cancel where the mean is much larger
//! than the deviation.

mod depthwise;
mod input;
mod project;

use super::{BottleneckShape, Kept, Passes, Saved, Step, Tiling, Units, right_blocks, transposed_blocks};
use crate::blocks::scatter;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::origin::Origin;
use crate::parallel::for_parts;
use crate::pool::add_rows;
use crate::profile::phase;
use crate::simd::Level;

/// Rows of the passes over the input.
const ROWS: usize = 1024;

/// The gradients of the input and of each parameter.
pub fn backward(
    g: &BottleneckShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &[f32],
) -> (Buffer, Vec<Vec<f32>>) {
    backward_at(Level::best(), g, x, theta, saved, gy)
}

pub(super) fn backward_at(
    level: Level,
    g: &BottleneckShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &[f32],
) -> (Buffer, Vec<Vec<f32>>) {
    g.assert_fits(x, theta, gy);
    let (tiling, parameters) = (Tiling::new(g), g.split(theta));
    let step = Step { level, g, tiling: &tiling, x, parameters: &parameters };
    match &saved.0 {
        Kept::F32(units) => step.backward(units, gy),
        Kept::Bf16(units) => step.backward(units, gy),
    }
}

impl Step<'_> {
    fn backward<E: Element>(&self, saved: &Units<E>, gy: &[f32]) -> (Buffer, Vec<Vec<f32>>) {
        let Self { g, parameters, x, .. } = *self;
        let work = g.work(Passes { projections: 2, expanded_outputs: 2, outputs: 4, ..Passes::default() });
        let project = phase("backward project", work, || project::backward(self, saved, gy));
        let norm = saved.depthwise.backward(&project.sums, g.eps);
        let mut gx = Buffer::new(x.len());
        let expansions = 2 * usize::from(g.has_expand);
        let work =
            Passes { expansions, filters: 2, inputs: 2, expanded_inputs: 1, expanded_outputs: 2, ..Passes::default() };
        // One pixel of each image, the one in the middle.
        let middle = (g.depthwise.h / 2 * g.depthwise.w + g.depthwise.w / 2) * g.c_in;
        let pixels = x.chunks_exact(g.pixels_in() * g.c_in).map(|image| &image[middle..middle + g.c_in]);
        let origin = Origin::of(g.c_in, pixels);
        let depthwise = phase("backward depthwise, expand", g.work(work), || {
            depthwise::backward(self, saved, &origin, &norm, &project.gd, &mut gx)
        });
        drop(project.gd);

        let mut gtheta = Vec::new();
        let residual = usize::from(g.has_residual);
        if let (Some(unit), Some(saved)) = (&parameters.expand, &saved.expand) {
            let work = g.work(Passes { inputs: 3, outputs: residual, ..Passes::default() });
            gtheta.extend(phase("backward input", work, || {
                input::backward(self, unit, saved, &origin, depthwise.expand, gy, &mut gx)
            }));
        } else if g.has_residual {
            let work = g.work(Passes { inputs: 2, outputs: 1, ..Passes::default() });
            phase("backward input", work, || {
                for_parts(&mut gx, g.c_in, ROWS, |row, gx| {
                    add_rows(self.level, &gy[row * g.c_in..][..gx.len()], gx);
                });
            });
        }
        gtheta.extend([depthwise.weight, norm.weight, norm.bias]);
        gtheta.extend(project.squeeze_excite.into_iter().flatten());
        gtheta.extend([project.weight, project.norm.weight, project.norm.bias]);
        (gx, gtheta)
    }
}

/// The columns of `weight`, `[rows, c]`, block by block: `[rows, block]` for each, one after the other.
fn packed(weight: &[f32], c: usize, tiling: &Tiling) -> Vec<f32> {
    let mut blocks = Vec::with_capacity(weight.len());
    for channels in tiling.blocks() {
        weight.chunks_exact(c).for_each(|row| blocks.extend_from_slice(&row[channels.clone()]));
    }
    blocks
}

/// The opposite of [`packed`].
fn unpacked(blocks: &[f32], c: usize, tiling: &Tiling) -> Vec<f32> {
    let rows = blocks.len() / c;
    let mut weight = vec![0.; blocks.len()];
    for channels in tiling.blocks() {
        scatter(&blocks[rows * channels.start..rows * channels.end], &mut weight, c, channels);
    }
    weight
}
