//! A whole block: expand, batch norm, activation, depthwise, batch norm, activation, squeeze-and-excite, project, batch
//! norm, residual; in training, forward and backward, and in inference.
//!
//! What costs time here is memory: the expanded tensors are six times as large as the block's input. So of each
//! convolution only its output is kept, and what batch norm and activation make of it is computed again wherever it is
//! needed. Batch norm's statistics are sums over the whole batch, which splits the work into phases:
//!
//! ```text
//! forward    expand      x -> e                     depthwise   act(bn(e)) -> d
//!            project     act(bn(d)) · gate -> p     output      bn(p) + x
//! backward   project     gy, p, d -> gd (the gradient of bn(d)), weight
//!            depthwise   gd, d, e -> ge (the gradient of bn(e)), which is at once multiplied into gx and the weight
//!            input       the rest of bn(e)'s gradient, and gy -> gx
//! ```
//!
//! Of the expanded tensors, the forward writes and reads `e` and `d` once; the backward reads `d` twice and `e` once,
//! and writes and reads `gd`. The `backward` file says why `ge` never leaves the cache.
//!
//! A phase walks over tiles: a few images by a block of channels, small enough for a core's cache (`tiling`). The
//! expanded tensors are private to the block, so they are laid out tile after tile. Images are divided into parts,
//! worked on in parallel; each has partial sums of its own, added up in order. Where there are few parts for the
//! threads, they share the blocks of channels inside a part too, which changes no sum.

mod backward;
mod forward;
mod gates;
mod infer;
mod shape;
mod tiling;

pub use backward::backward;
pub use forward::forward;
pub use infer::infer;
pub use shape::BottleneckShape;

use crate::batch_norm::{Statistics, Unit};
use crate::bf16::Pair;
use crate::element::Element;
use crate::matmul::transposed;
use crate::rows::pack_rows;
use crate::simd::Level;
use gates::Gates;
use shape::{BlockParameters, Passes, SqueezeExcite};
use tiling::Tiling;

/// What every phase of a training step knows.
#[derive(Clone, Copy)]
struct Step<'a> {
    level: Level,
    g: &'a BottleneckShape,
    tiling: &'a Tiling,
    x: &'a [f32],
    parameters: &'a BlockParameters<'a>,
}

/// What a forward leaves for its backward.
pub struct Saved(Kept);

enum Kept {
    F32(Units<f32>),
    Bf16(Units<Pair>),
}

/// The convolutions' outputs, of which the expanded ones consist of `E`.
struct Units<E: Element> {
    expand: Option<Unit<E>>,
    depthwise: Unit<E>,
    gates: Option<Gates>,
    project: Unit,
}

impl Saved {
    /// The batch's statistics: of the expansion (if any), the depthwise convolution, and the projection.
    pub fn statistics(&self) -> (Option<&Statistics>, &Statistics, &Statistics) {
        match &self.0 {
            Kept::F32(units) => units.statistics(),
            Kept::Bf16(units) => units.statistics(),
        }
    }
}

impl<E: Element> Units<E> {
    fn statistics(&self) -> (Option<&Statistics>, &Statistics, &Statistics) {
        (self.expand.as_ref().map(|e| &e.statistics), &self.depthwise.statistics, &self.project.statistics)
    }
}

/// The rows of `weight`, `[c, inner]`, transposed block by block: `[inner, block]` for each, one after the other.
fn transposed_blocks(weight: &[f32], inner: usize, tiling: &Tiling) -> Vec<f32> {
    let mut blocks = Vec::with_capacity(weight.len());
    for channels in tiling.blocks() {
        let rows = &weight[channels.start * inner..channels.end * inner];
        blocks.extend(transposed(rows, channels.len(), inner));
    }
    blocks
}

/// Blocks `[inner, block]`, one after the other, as the right sides of products over `inner`.
fn right_blocks<E: Element>(level: Level, blocks: &[f32], inner: usize, tiling: &Tiling) -> Vec<E> {
    let mut packed = vec![E::default(); blocks.len() / E::WIDTH];
    for channels in tiling.blocks() {
        let block = channels.start * inner..channels.end * inner;
        let to = &mut packed[block.start / E::WIDTH..block.end / E::WIDTH];
        pack_rows(level, &blocks[block], channels.len(), to);
    }
    packed
}

#[cfg(test)]
mod tests;
