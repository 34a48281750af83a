//! A rectangle of pixels.

use std::ops::Range;

/// `height` x `width` pixels, the first of them in row `top` and column `left`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

impl Area {
    /// Number of pixels.
    pub fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Where the area's rows are in a picture `[h, w, 3]` that holds it, of `picture_width` pixels a row.
    pub fn rows(self, picture_width: usize) -> impl Iterator<Item = Range<usize>> {
        (self.top..self.top + self.height).map(move |y| {
            let start = (y * picture_width + self.left) * 3;
            start..start + self.width * 3
        })
    }
}
