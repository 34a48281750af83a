//! How a block's work is divided, a function of its sizes alone.

use std::ops::Range;

use super::BottleneckShape;
use crate::blocks::Blocks;
use crate::element::Element;
use crate::parallel::leaves_threads_idle;

/// Images are divided into as many parts as this, if there is work enough for each.
const PARTS: usize = 64;

/// Images are divided into as many parts as this however large the weights are, whose gradients every part sums up for
/// itself.
const PARTS_OF_LARGE_WEIGHTS: usize = 16;

/// Rows (pixels) that make a product of matrices worth its overhead, and a part's partial sums worth theirs.
const ROWS_PER_PART: usize = 128;

/// Rows of a part that make the partial sums of the weights' gradients cost next to nothing, for each of the block's
/// columns: such a sum has a value for each column and expanded channel, and a row is multiplied with each of them.
const ROWS_PER_COLUMN: usize = 40;

/// Rows of a tile, if one image has not more: every product gets long columns, every weight is read once for many rows.
const ROWS_PER_TILE: usize = 1024;

/// Values of a tile: 192 KiB, of which a few fit into a core's L2.
const VALUES_PER_TILE: usize = 48 << 10;

/// The division into parts, into groups of images, and into blocks of channels. A tile is a group by a block.
#[derive(Clone, Debug)]
pub(super) struct Tiling {
    pub(super) images_per_part: usize,
    images_per_group: usize,
    pub(super) blocks: Blocks,
    /// Whether the threads share the tiles of a group. That depends on their number, and changes no sum.
    pub(super) is_shared: bool,
}

/// Some neighboring images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) first: usize,
    pub(super) images: usize,
}

impl Tiling {
    pub(super) fn new(g: &BottleneckShape) -> Self {
        let pixels = g.pixels_in();
        let images = |rows: usize| rows.div_ceil(pixels);
        let cheap = images(ROWS_PER_COLUMN * g.c_in.max(g.c_out)).min(g.n.div_ceil(PARTS_OF_LARGE_WEIGHTS));
        let images_per_part = g.n.div_ceil(PARTS).max(cheap).max(images(ROWS_PER_PART)).min(g.n);
        let images_per_group = (ROWS_PER_TILE / pixels).clamp(1, images_per_part);
        let blocks = Blocks::about(VALUES_PER_TILE / (images_per_group * pixels), g.depthwise.c);
        let is_shared = leaves_threads_idle(g.n.div_ceil(images_per_part));
        Self { images_per_part, images_per_group, blocks, is_shared }
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

    /// Where the tiles of a group lie, one after the other.
    pub(super) fn tiles<E: Element>(&self, group: Group, pixels: usize, origin: usize) -> Range<usize> {
        let image = pixels * self.blocks.channels();
        (group.first - origin) * image / E::WIDTH..(group.first + group.images - origin) * image / E::WIDTH
    }

    /// How many elements each tile of a group has.
    pub(super) fn tile_lens<E: Element>(&self, group: Group, pixels: usize) -> impl Iterator<Item = usize> + use<E> {
        self.blocks.iter().map(move |channels| group.images * pixels * channels.len() / E::WIDTH)
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
    use crate::depthwise::DepthwiseShape;

    fn geometry(n: usize, size: usize, c: usize) -> BottleneckShape {
        let depthwise = DepthwiseShape { h: size, w: size, c, kernel: 3, stride: 1, dilation: 1, padding: 1 };
        BottleneckShape {
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
            let tiling = Tiling::new(&geometry(n, size, c));
            let pixels = size * size;
            let mut next = 0;
            for first in (0..n).step_by(tiling.images_per_part) {
                let images = tiling.images_per_part.min(n - first);
                for group in tiling.groups(first, images) {
                    let tiles = tiling.tiles::<f32>(group, pixels, 0);
                    assert_eq!(tiles.start, next, "{tiling:?}");
                    for (channels, len) in tiling.blocks().zip(tiling.tile_lens::<f32>(group, pixels)) {
                        let tile = tiling.tile::<f32>(group, &channels, pixels, 0);
                        assert_eq!((tile.start, tile.len()), (next, len), "{tiling:?}");
                        assert!(tile.len() <= tiling.tile_len(pixels), "{tiling:?}");
                        next = tile.end;
                    }
                    assert_eq!(tiles.end, next, "{tiling:?}");
                }
            }
            assert_eq!(next, n * pixels * c);
        }
    }

    #[test]
    fn a_large_batch_has_work_for_many_threads() {
        let parts = |n: usize, size, c| n.div_ceil(Tiling::new(&geometry(n, size, c)).images_per_part);
        assert_eq!([parts(128, 112, 96), parts(128, 28, 192), parts(512, 7, 96)], [64, 64, 37]);
        let large = BottleneckShape { c_out: 160, ..geometry(128, 7, 960) };
        assert_eq!(128_usize.div_ceil(Tiling::new(&large).images_per_part), 16);
    }
}
