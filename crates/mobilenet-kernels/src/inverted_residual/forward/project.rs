//! The projection, and squeeze-and-excite before it.

use std::ops::Range;

use super::super::tiling::Group;
use super::super::{Gates, Step, Unit};
use crate::batch_norm::{Affine, Moments};
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::matmul::{Matrix, matmul, transposed};
use crate::parallel::{for_each_with, map_parts_mut};
use crate::rows::{activate_left, activated_sums, right};

impl Step<'_> {
    /// `p = (act(bn(d)) · gate) · weightᵀ`
    pub(super) fn project<E: Element>(&self, depthwise: &Unit<E>) -> (Buffer, Vec<Moments>, Option<Gates>) {
        let Self { level, g, tiling, parameters, .. } = *self;
        let (c_out, pixels, image) = (g.c_out, g.pixels_out(), g.pixels_out() * g.c_out);
        let projection = Projection {
            step: self,
            d: &depthwise.pre,
            affine: depthwise.affine(parameters.depthwise.beta),
            weight: right::<E>(level, &transposed(parameters.project.weight, c_out, g.depthwise.c), c_out),
            ones: vec![1.; g.depthwise.c],
        };
        let mut pre = Buffer::new(g.n * image);
        let parts = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
            let (mut moments, mut all_gates) = (Moments::new(c_out), Vec::new());
            let mut tile = Elements::<E>::default();
            for group in tiling.groups(first, pre.len() / image) {
                let gates = projection.gates(group);
                let p = &mut pre[group.rows(pixels, c_out, first)];
                // The rows of a product do not know of each other.
                let together = if tiling.is_shared { 1 } else { group.images };
                let items = p.chunks_mut(together * image).enumerate();
                for_each_with(tiling.is_shared, &mut tile, items, |tile, (i, p)| {
                    let images = i * together..i * together + p.len() / image;
                    projection.multiply(group, images, gates.as_ref(), tile, p);
                });
                moments.add(level, p);
                all_gates.extend(gates);
            }
            (moments, all_gates)
        });
        let (moments, gates): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let gates = parameters.squeeze_excite.is_some().then(|| Gates::concatenated(gates.into_iter().flatten()));
        (pre, moments, gates)
    }
}

struct Projection<'a, E: Element> {
    step: &'a Step<'a>,
    d: &'a [E],
    /// Batch norm before the activation.
    affine: Affine<'a>,
    /// `[c, c_out]`
    weight: Vec<E>,
    /// A gate that changes nothing.
    ones: Vec<f32>,
}

impl<E: Element> Projection<'_, E> {
    /// Squeeze-and-excite's gates of a group of images, if the block has any.
    fn gates(&self, group: Group) -> Option<Gates> {
        let Step { level, g, tiling, parameters, .. } = *self.step;
        let (c, pixels) = (g.depthwise.c, g.pixels_out());
        let se = parameters.squeeze_excite.as_ref()?;
        let mut sums = vec![0.; group.images * c];
        let images = sums.chunks_exact_mut(c).enumerate();
        for_each_with(tiling.is_shared, &mut (), images, |(), (i, sums)| {
            for channels in tiling.blocks() {
                let len = pixels * channels.len() / E::WIDTH;
                let d = &self.d[tiling.tile::<E>(group, &channels, pixels, 0)][i * len..(i + 1) * len];
                activated_sums(level, d, self.affine.of(channels.clone()), g.activation, &mut sums[channels]);
            }
        });
        Some(Gates::new(level, se, sums, pixels, c))
    }

    /// The rows `p` of some of a group's images, block after block of the channels that they are sums over.
    fn multiply(
        &self,
        group: Group,
        images: Range<usize>,
        gates: Option<&Gates>,
        tile: &mut Elements<E>,
        p: &mut [f32],
    ) {
        let Step { level, g, tiling, .. } = *self.step;
        let (c, c_out, pixels) = (g.depthwise.c, g.c_out, g.pixels_out());
        for channels in tiling.blocks() {
            let affine = self.affine.of(channels.clone());
            let len = pixels * channels.len() / E::WIDTH;
            let d = &self.d[tiling.tile::<E>(group, &channels, pixels, 0)][images.start * len..images.end * len];
            tile.resize(d.len());
            match gates {
                Some(gates) => {
                    let tiles = d.chunks_exact(len).zip(tile.chunks_exact_mut(len));
                    for (i, (d, tile)) in images.clone().zip(tiles) {
                        let gate = &gates.of(i, c)[channels.clone()];
                        activate_left(level, d, affine, g.activation, gate, tile);
                    }
                }
                None => activate_left(level, d, affine, g.activation, &self.ones[channels.clone()], tile),
            }
            let weight = &self.weight[channels.start * c_out / E::WIDTH..channels.end * c_out / E::WIDTH];
            let tile = Matrix::new(&tile[..], images.len() * pixels, channels.len() / E::WIDTH);
            matmul(level, tile, weight, c_out, channels.start > 0, p);
        }
    }
}
