//! How a block's work is divided, a function of its sizes alone.

use std::ops::Range;

use super::Geometry;
use crate::blocks::Blocks;
use crate::element::Element;

/// Images are divided into as many parts as this, if there is work enough for each.
const PARTS: usize = 16;

/// Rows (pixels) that make a product of matrices worth its overhead, and a part's partial sums worth theirs.
const ROWS_PER_PART: usize = 128;

/// Rows of a tile, if one image has not more: every product gets long columns, every weight is read once for many rows.
const ROWS_PER_TILE: usize = 1024;

/// Values of a tile: 192 KiB, of which a few fit into a core's L2.
const VALUES_PER_TILE: usize = 48 << 10;

/// The division into parts, into groups of images, and into blocks of channels. A tile is a group by a block.
#[derive(Clone, Debug)]
pub(super) struct Tiling {
    pub(super) images_per_part: usize,
    images_per_group: usize,
    blocks: Blocks,
}

/// Some neighboring images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) first: usize,
    pub(super) images: usize,
}

impl Tiling {
    pub(super) fn new(g: &Geometry) -> Self {
        let (pixels, channels) = (g.pixels_in(), g.depthwise.c);
        let images_per_part = g.n.div_ceil(PARTS).max(ROWS_PER_PART.div_ceil(pixels)).min(g.n);
        let images_per_group = (ROWS_PER_TILE / pixels).clamp(1, images_per_part);
        let blocks = Blocks::about(VALUES_PER_TILE / (images_per_group * pixels), channels);
        Self { images_per_part, images_per_group, blocks }
    }

    /// Two or four blocks, for the threads to share a single image.
    pub(super) fn of_one_image(g: &Geometry) -> Self {
        let channels = g.depthwise.c;
        let blocks = Blocks::at_most(if channels < 256 { 2 } else { 4 }, 8, channels);
        Self { images_per_part: 1, images_per_group: 1, blocks }
    }

    /// The blocks of channels.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<usize>> + Clone + use<> {
        self.blocks.iter()
    }

    /// The groups of the part that begins with image `first` and has `images` images.
    pub(super) fn groups(&self, first: usize, images: usize) -> impl Iterator<Item = Group> + use<> {
        let step = self.images_per_group;
        (0..images).step_by(step).map(move |i| Group { first: first + i, images: step.min(images - i) })
    }

    /// Where a tile lies in a tensor of `pixels` pixels an image that begins with image `origin`.
    pub(super) fn tile<E: Element>(
        &self,
        group: Group,
        channels: &Range<usize>,
        pixels: usize,
        origin: usize,
    ) -> Range<usize> {
        let rows = group.images * pixels;
        let start = (group.first - origin) * pixels * self.blocks.channels() + rows * channels.start;
        start / E::WIDTH..(start + rows * channels.len()) / E::WIDTH
    }

    /// How many values the largest tile of a tensor of `pixels` pixels an image has.
    pub(super) fn tile_len(&self, pixels: usize) -> usize {
        self.images_per_group * pixels * self.blocks.width()
    }
}

impl Group {
    /// Where the rows lie in a `[n, pixels, c]` tensor that begins with image `origin`.
    pub(super) fn rows(self, pixels: usize, c: usize, origin: usize) -> Range<usize> {
        (self.first - origin) * pixels * c..(self.first + self.images - origin) * pixels * c
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::depthwise;

    fn geometry(n: usize, size: usize, c: usize) -> Geometry {
        let depthwise = depthwise::Geometry { h: size, w: size, c, kernel: 3, stride: 1, dilation: 1, padding: 1 };
        Geometry {
            n,
            c_in: 16,
            c_out: 16,
            has_expand: true,
            depthwise,
            squeeze: None,
            activation: crate::Activation::Relu6,
            has_residual: false,
            eps: 1e-5,
            precision: crate::Precision::F32,
        }
    }

    #[test]
    fn tiles_cover_every_value_once() {
        for (n, size, c) in [(1, 4, 960), (5, 32, 144), (128, 16, 120), (33, 8, 184), (3, 1, 7), (2, 224, 96)] {
            for tiling in [Tiling::new(&geometry(n, size, c)), Tiling::of_one_image(&geometry(n, size, c))] {
                let pixels = size * size;
                let mut next = 0;
                for first in (0..n).step_by(tiling.images_per_part) {
                    let images = tiling.images_per_part.min(n - first);
                    for group in tiling.groups(first, images) {
                        for channels in tiling.blocks() {
                            let tile = tiling.tile::<f32>(group, &channels, pixels, 0);
                            assert_eq!(tile.start, next, "{tiling:?}");
                            assert!(tile.len() <= tiling.tile_len(pixels), "{tiling:?}");
                            next = tile.end;
                        }
                    }
                }
                assert_eq!(next, n * pixels * c);
            }
        }
    }
}
