//! Training, backward.

use std::ops::Range;

use super::shape::Parameters;
use super::{Convolution, DepthwiseNormShape, Kept, Saved, windows_of};
use crate::batch_norm::{GradientSums, Unit};
use crate::blocks::{Blocks, gather, scatter};
use crate::buffer::{Buffer, Elements};
use crate::depthwise::{Frame, image_backward_input, image_backward_weight};
use crate::element::Element;
use crate::matmul::transposed;
use crate::parallel::{added_up, images_per_part, map_parts, map_parts_mut};
use crate::profile::phase;
use crate::rows::{Gradients, input_gradient_to};
use crate::simd::{Level, streamed};

/// The gradients of the parameters, and that of the input where `gx` asks for it.
pub fn backward(
    g: &DepthwiseNormShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &[f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    backward_at(Level::best(), g, x, theta, saved, gy, gx)
}

pub(super) fn backward_at(
    level: Level,
    g: &DepthwiseNormShape,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &[f32],
    gx: Option<&mut [f32]>,
) -> [Vec<f32>; 3] {
    let Parameters { weight, beta, .. } = g.parameters(x, theta, gy);
    match &saved.0 {
        Kept::F32(unit) => Backward { level, g, x, weight, beta, unit, blocks: g.blocks() }.run(gy, gx),
        Kept::Bf16(unit) => Backward { level, g, x, weight, beta, unit, blocks: g.blocks() }.run(gy, gx),
    }
}

struct Backward<'a, E: Element> {
    level: Level,
    g: &'a DepthwiseNormShape,
    x: &'a [f32],
    weight: &'a [f32],
    beta: &'a [f32],
    unit: &'a Unit<E>,
    blocks: Blocks,
}

impl<E: Element> Backward<'_, E> {
    fn run(&self, gy: &[f32], gx: Option<&mut [f32]>) -> [Vec<f32>; 3] {
        let g = self.g;
        let mut gd = Elements::<E>::new(gy.len() / E::WIDTH);
        let sums = phase("backward activation", g.work(0, 0, 3), || self.activation(gy, &mut gd));
        let norm = self.unit.backward(&sums, g.eps);
        let slopes = [&norm.slope[..], &norm.offset];
        let windows = windows_of(self.weight, g.taps(), &self.blocks);
        let inputs = usize::from(gx.is_some());
        let parts = phase("backward depthwise", g.work(1 + inputs, 1 + inputs, 2), || match gx {
            Some(gx) => {
                assert_eq!(gx.len(), self.x.len(), "gradients of the images of {g:?}");
                map_parts_mut(gx, g.depthwise.image_in(), images_per_part(g.n), |first, gx| {
                    let images = first..first + gx.len() / g.depthwise.image_in();
                    self.part(images, &gd, slopes, &windows, Some(gx))
                })
            }
            None => map_parts(g.n, images_per_part(g.n), |images| self.part(images, &gd, slopes, &windows, None)),
        });
        [self.weight_gradient(&parts), norm.weight, norm.bias]
    }

    /// `gd`, the gradient of `bn(d)`, block after block, and its sums.
    fn activation(&self, gy: &[f32], gd: &mut [E]) -> Vec<GradientSums> {
        let Self { g, unit, .. } = self;
        let (c, image) = (g.depthwise.c, g.depthwise.image_out());
        map_parts_mut(gd, image / E::WIDTH, images_per_part(g.n), |first, gd| {
            let mut sums = GradientSums::new(c);
            let mut tile = Buffer::new(g.pixels_out() * self.blocks.width());
            for (i, gd) in gd.chunks_exact_mut(image / E::WIDTH).enumerate() {
                let i = first + i;
                let pre = &unit.pre[i * image / E::WIDTH..(i + 1) * image / E::WIDTH];
                for (channels, mut sums) in self.blocks.iter().zip(sums.blocks(&self.blocks)) {
                    let tile = &mut tile[..g.pixels_out() * channels.len()];
                    gather(&gy[i * image..(i + 1) * image], tile, c, channels.clone());
                    let at = g.tile::<E>(&channels);
                    let of = (&pre[at.clone()], unit.affine(self.beta).of(channels), g.activation);
                    streamed(&mut gd[at], |gd| sums.add(self.level, of, tile, Gradients(gd)));
                }
            }
            sums
        })
    }

    /// Back through the batch norm and the convolution: some images' part of the windows' gradient, block after block,
    /// and their `gx`.
    fn part(
        &self,
        images: Range<usize>,
        gd: &[E],
        slopes: [&[f32]; 2],
        windows: &[f32],
        mut gx: Option<&mut [f32]>,
    ) -> Vec<f32> {
        let Self { level, g, unit, .. } = *self;
        let (c, taps, image) = (g.depthwise.c, g.taps(), g.depthwise.image_out() / E::WIDTH);
        let mut gwindows = vec![0.; taps * c];
        let mut input = Convolution::new(level, g, windows);
        let mut gradient = Frame::default();
        let mut tile = Buffer::new(g.pixels_in() * self.blocks.width());
        for (at, i) in images.enumerate() {
            let (pre, gd) = (&unit.pre[i * image..(i + 1) * image], &gd[i * image..(i + 1) * image]);
            for channels in self.blocks.iter() {
                let geometry = g.depthwise.with_channels(channels.len());
                let of = g.tile::<E>(&channels);
                let affine = unit.affine(self.beta).of(channels.clone());
                let slopes = slopes.map(|values| &values[channels.clone()]);
                gradient.fit_output(&geometry);
                input_gradient_to(level, &pre[of.clone()], &gd[of], affine, slopes, gradient.target());
                input.take(g.input(self.x, i), &channels);
                let of = channels.start * taps..channels.end * taps;
                image_backward_weight(level, &geometry, &input.frame, &gradient, &mut gwindows[of.clone()]);
                let Some(gx) = gx.as_deref_mut() else { continue };
                let tile = &mut tile[..g.pixels_in() * channels.len()];
                image_backward_input(level, &geometry, &gradient, &windows[of], tile);
                scatter(tile, &mut gx[at * g.depthwise.image_in()..][..g.depthwise.image_in()], c, channels);
            }
        }
        gwindows
    }

    /// The sum of the parts' gradients of the windows, laid out as the weight.
    fn weight_gradient(&self, parts: &[Vec<f32>]) -> Vec<f32> {
        let (taps, gwindows) = (self.g.taps(), added_up(parts));
        let block = |channels: Range<usize>| {
            transposed(&gwindows[channels.start * taps..channels.end * taps], taps, channels.len())
        };
        self.blocks.iter().flat_map(block).collect()
    }
}
