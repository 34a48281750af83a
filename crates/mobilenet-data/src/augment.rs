//! Random flip and crop, on pictures that are not normalized yet, so that padding is black.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// What is done to a training picture. The default is the usual one of CIFAR: a horizontal flip
/// half of the time and `RandomCrop(32, padding=4)` of torchvision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augment {
    /// Mirror left and right with probability 1/2.
    pub flip: bool,
    /// Black pixels added on every side before a picture of the old size is cut out of it.
    pub crop_padding: usize,
}

impl Augment {
    /// Leaves pictures as they are: for evaluation.
    pub const NONE: Self = Self { flip: false, crop_padding: 0 };

    /// Most padding that [`crate::batches`] takes: beyond it no picture is left to see.
    pub(crate) const MAX_PADDING: usize = 1 << 16;

    /// The change drawn from a picture's own stream.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Change {
        let padding = self.crop_padding as isize;
        let mut shift = || rng.below(2 * self.crop_padding + 1) as isize - padding;
        let (dy, dx) = (shift(), shift());
        // Always drawn, so that switching the flip does not move the crops.
        let mirror = rng.below(2) == 1;
        Change { dy, dx, mirror: self.flip && mirror }
    }
}

impl Default for Augment {
    fn default() -> Self {
        Self { flip: true, crop_padding: 4 }
    }
}

/// One drawn change: the pixel at `(y, x)` comes from `(y + dy, x + dx)` (black if outside), in
/// the mirrored picture if `mirror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub dy: isize,
    pub dx: isize,
    pub mirror: bool,
}

impl Change {
    /// Writes the changed and normalized picture `[h, w, 3]` into `out`, of the same shape.
    pub(crate) fn apply(self, image: &[u8], (height, width): (usize, usize), table: &[[f32; 256]; 3], out: &mut [f32]) {
        let inside = |at: usize, shift: isize, size: usize| at.checked_add_signed(shift).filter(|&from| from < size);
        for (y, row) in out.chunks_exact_mut(width * 3).take(height).enumerate() {
            let from_y = inside(y, self.dy, height);
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let from = from_y.zip(inside(x, self.dx, width)).map(|(y, x)| {
                    let x = if self.mirror { width - 1 - x } else { x };
                    (y * width + x) * 3
                });
                for (c, value) in pixel.iter_mut().enumerate() {
                    *value = table[c][from.map_or(0, |at| usize::from(image[at + c]))];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2 x 3 picture, one letter per pixel; `.` is black.
    fn changed(dy: isize, dx: isize, mirror: bool) -> String {
        let image: Vec<u8> = b"abcdef".iter().flat_map(|&b| [b; 3]).collect();
        let table = [std::array::from_fn(|value| value as f32); 3];
        let mut out = vec![-1.0; 18];
        Change { dy, dx, mirror }.apply(&image, (2, 3), &table, &mut out);
        out.chunks_exact(3)
            .map(|p| {
                assert!(p[0] == p[1] && p[1] == p[2], "channels moved apart");
                if p[0] == 0.0 { '.' } else { p[0] as u8 as char }
            })
            .collect()
    }

    #[test]
    fn moves_and_mirrors() {
        for (dy, dx, mirror, expected) in [
            (0, 0, false, "abcdef"),
            (0, 0, true, "cbafed"),
            (1, 0, false, "def..."),
            (-1, 0, false, "...abc"),
            (0, 1, false, "bc.ef."),
            (0, -2, false, "..a..d"),
            (0, 1, true, "ba.ed."),
            (9, 0, false, "......"),
            (0, -9, true, "......"),
        ] {
            assert_eq!(changed(dy, dx, mirror), expected, "{dy} {dx} {mirror}");
        }
    }

    #[test]
    fn every_shift_and_both_mirrors_are_drawn() {
        let mut seen = std::collections::HashMap::new();
        for i in 0..5000 {
            let change = Augment::default().draw(&mut Rng::keyed(&[i]));
            *seen.entry((change.dy, change.dx, change.mirror)).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 9 * 9 * 2);
        assert!(seen.keys().all(|(dy, dx, _)| dy.abs() <= 4 && dx.abs() <= 4));
        let none = Augment::NONE.draw(&mut Rng::keyed(&[3]));
        assert_eq!(none, Change { dy: 0, dx: 0, mirror: false });
    }
}
