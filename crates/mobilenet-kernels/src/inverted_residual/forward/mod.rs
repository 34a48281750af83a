//! Training, forward.

mod depthwise;
mod expand;
mod project;

use super::{BottleneckShape, Kept, Passes, Saved, Step, Tiling, Unit, Units};
use crate::activation::Activation;
use crate::batch_norm::ChannelMoments;
use crate::bf16::Pair;
use crate::buffer::Buffer;
use crate::element::Element;
use crate::parallel::for_parts;
use crate::pool::add_rows;
use crate::profile::phase;
use crate::rows::normalize;
use crate::simd::Level;
pub(super) use depthwise::Input;

/// Rows of the last pass, which has neither products nor sums.
const OUTPUT_ROWS: usize = 1024;

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &BottleneckShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    forward_at(Level::best(), g, x, theta, y)
}

pub(super) fn forward_at(level: Level, g: &BottleneckShape, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    g.assert_fits(x, theta, y);
    let (tiling, parameters) = (Tiling::new(g), g.split(theta));
    let step = Step { level, g, tiling: &tiling, x, parameters: &parameters };
    Saved(match g.is_bf16() {
        false => Kept::F32(step.forward::<f32>(y)),
        true => Kept::Bf16(step.forward::<Pair>(y)),
    })
}

impl Step<'_> {
    fn forward<E: Element>(&self, y: &mut [f32]) -> Units<E> {
        let Self { g, parameters, .. } = *self;
        let expand = parameters.expand.as_ref().map(|unit| {
            let work = g.work(Passes { expansions: 1, inputs: 1, expanded_inputs: 1, ..Passes::default() });
            let (pre, moments) = phase("forward expand", work, || self.expand(unit.weight));
            Unit::new(pre, &moments, unit.gamma, g.eps)
        });
        let work = g.work(Passes { filters: 1, expanded_inputs: 1, expanded_outputs: 1, ..Passes::default() });
        let (pre, moments) = phase("forward depthwise", work, || self.depthwise(expand.as_ref()));
        let depthwise = Unit::new(pre, &moments, parameters.depthwise.gamma, g.eps);
        let work = g.work(Passes { projections: 1, expanded_outputs: 1, outputs: 1, ..Passes::default() });
        let (pre, moments, gates) = phase("forward project", work, || self.project(&depthwise));
        let project = Unit::new(pre, &moments, parameters.project.gamma, g.eps);
        let work = g.work(Passes { inputs: usize::from(g.has_residual), outputs: 2, ..Passes::default() });
        phase("forward output", work, || self.output(&project, y));
        Units { expand, depthwise, gates, project }
    }

    /// `y = bn(p) + x`
    fn output(&self, project: &Unit, y: &mut [f32]) {
        let Self { level, g, x, parameters, .. } = *self;
        let affine = project.affine(parameters.project.beta);
        for_parts(y, g.c_out, OUTPUT_ROWS, |row, y| {
            let at = row * g.c_out;
            normalize(level, &project.pre[at..at + y.len()], affine, Activation::Identity, y);
            if g.has_residual {
                add_rows(level, &x[at..at + y.len()], y);
            }
        });
    }
}

/// Takes a tile of a convolution's output: computes it in float32 (in `scratch`, if it is not kept so), takes it into
/// the statistics, and keeps it.
fn keep<E: Element>(
    level: Level,
    scratch: &mut Buffer,
    mut moments: ChannelMoments,
    kept: &mut [E],
    compute: impl FnOnce(&mut [f32]),
) {
    if let Some(kept) = E::of_mut(kept) {
        compute(kept);
        return moments.add(level, kept);
    }
    scratch.resize(kept.len() * E::WIDTH);
    compute(scratch);
    moments.add_and_keep(level, scratch, Some(kept));
}
