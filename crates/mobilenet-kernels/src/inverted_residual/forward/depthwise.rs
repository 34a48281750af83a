//! The depthwise convolution.

use std::ops::Range;

use super::super::tiling::Group;
use super::super::{Step, Unit, transposed_blocks};
use super::keep;
use crate::batch_norm::{Affine, Moments};
use crate::blocks::pieces;
use crate::buffer::{Buffer, Elements};
use crate::depthwise::{Frame, image_forward};
use crate::element::Element;
use crate::parallel::{for_each_with, map_parts_mut};
use crate::rows::normalize_to;

impl Step<'_> {
    /// `d`, the depthwise convolution of `act(bn(e))`, or of `x` where nothing is expanded.
    pub(super) fn depthwise<E: Element>(&self, expand: Option<&Unit<E>>) -> (Elements<E>, Vec<Moments>) {
        let Self { level, g, tiling, parameters, .. } = *self;
        let (pixels, taps, image) = (g.pixels_out(), g.taps(), g.depthwise.image_out() / E::WIDTH);
        let windows = transposed_blocks(parameters.depthwise.weight, taps, tiling);
        let input = Input::new(self, expand);
        let mut pre = Elements::new(g.n * image);
        let moments = map_parts_mut(&mut pre, image, tiling.images_per_part, |first, pre| {
            let mut moments = Moments::new(g.depthwise.c);
            let mut scratch = <(Frame, Buffer)>::default();
            for group in tiling.groups(first, pre.len() / image) {
                let pre = &mut pre[tiling.tiles::<E>(group, pixels, first)];
                let tiles = pieces(pre, tiling.tile_lens::<E>(group, pixels));
                let tiles = tiling.blocks().zip(tiles).zip(moments.blocks(&tiling.blocks));
                for_each_with(tiling.is_shared, &mut scratch, tiles, |(frame, scratch), ((channels, d), moments)| {
                    let shape = g.depthwise.with_channels(channels.len());
                    let windows = &windows[channels.start * taps..channels.end * taps];
                    frame.fit_input(&shape);
                    keep(level, scratch, moments, d, |d| {
                        for (i, d) in d.chunks_exact_mut(shape.image_out()).enumerate() {
                            input.write(group, i, &channels, frame);
                            image_forward(level, &shape, frame, windows, d);
                        }
                    });
                });
            }
            moments
        });
        (pre, moments)
    }
}

/// What the depthwise convolution sees.
pub(in super::super) struct Input<'a, E> {
    step: &'a Step<'a>,
    expanded: Option<(&'a [E], Affine<'a>)>,
}

impl<'a, E: Element> Input<'a, E> {
    pub(in super::super) fn new(step: &'a Step<'a>, expand: Option<&'a Unit<E>>) -> Self {
        let unit = step.parameters.expand.as_ref();
        let expanded = unit.zip(expand).map(|(unit, e)| (e.pre.as_ref(), e.affine(unit.beta)));
        Self { step, expanded }
    }

    /// Writes a block of channels of the group's `i`-th image: `act(bn(e))`, or `x` where nothing is expanded.
    pub(in super::super) fn write(&self, group: Group, i: usize, channels: &Range<usize>, frame: &mut Frame) {
        let Step { level, g, tiling, x, .. } = *self.step;
        let pixels = g.pixels_in();
        match self.expanded {
            Some((e, affine)) => {
                let len = pixels * channels.len() / E::WIDTH;
                let image = &e[tiling.tile::<E>(group, channels, pixels, 0)][i * len..(i + 1) * len];
                normalize_to(level, image, affine.of(channels.clone()), g.activation, frame.target());
            }
            None => {
                let len = g.depthwise.image_in();
                let at = (group.first + i) * len;
                frame.copy_channels(&x[at..at + len], g.c_in, channels.clone());
            }
        }
    }
}
