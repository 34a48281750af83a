//! The expansion.

use super::super::{Step, right_blocks, transposed_blocks};
use super::keep;
use crate::batch_norm::Moments;
use crate::blocks::pieces;
use crate::buffer::{Buffer, Elements};
use crate::element::Element;
use crate::matmul::matmul;
use crate::parallel::{for_each_with, map_parts_mut};
use crate::rows::left;

impl Step<'_> {
    /// `e = x · weightᵀ`
    pub(super) fn expand<E: Element>(&self, weight: &[f32]) -> (Elements<E>, Vec<Moments>) {
        let Self { level, g, tiling, x, .. } = *self;
        let (c_in, pixels, image) = (g.c_in, g.pixels_in(), g.depthwise.image_in() / E::WIDTH);
        let weight = right_blocks::<E>(level, &transposed_blocks(weight, c_in, tiling), c_in, tiling);
        let mut pre = Elements::new(g.n * image);
        let moments = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
            let mut moments = Moments::new(g.depthwise.c);
            let (mut packed, mut scratch) = (Elements::default(), Buffer::default());
            for group in tiling.groups(first, pre.len() / image) {
                let x = left(level, &x[group.rows(pixels, c_in, 0)], c_in, &mut packed);
                let pre = &mut pre[tiling.tiles::<E>(group, pixels, first)];
                let tiles = pieces(pre, tiling.tile_lens::<E>(group, pixels));
                let tiles = tiling.blocks().zip(tiles).zip(moments.blocks(&tiling.blocks));
                for_each_with(tiling.is_shared, &mut scratch, tiles, |scratch, ((channels, e), moments)| {
                    let weight = &weight[channels.start * c_in / E::WIDTH..channels.end * c_in / E::WIDTH];
                    keep(level, scratch, moments, e, |e| matmul(level, x, weight, channels.len(), false, e));
                });
            }
            moments
        });
        (pre, moments)
    }
}
