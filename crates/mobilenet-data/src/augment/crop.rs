//! Random flip and crop, on pictures that are not normalized yet, so that padding may be black.

use mobilenet_common::random::SplitMix64;
use mobilenet_schema::Padding;

/// One drawn change: the pixel at `(y, x)` comes from `(y + dy, x + dx)` in the mirrored picture if `mirror`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crop {
    pub dy: isize,
    pub dx: isize,
    pub mirror: bool,
    pub padding: Padding,
}

/// Down and right, at most `padding` pixels either way.
pub(super) fn draw_shift(rng: &mut SplitMix64, padding: usize) -> (isize, isize) {
    let mut shift = || rng.below(2 * padding + 1) as isize - padding as isize;
    (shift(), shift())
}

impl Crop {
    /// Writes the changed picture `[h, w, 3]` into `out`, of the same shape.
    pub fn apply(self, image: &[u8], (height, width): (usize, usize), out: &mut [u8]) {
        if (self.dy, self.dx, self.mirror) == (0, 0, false) && image.len() == out.len() {
            out.copy_from_slice(image);
            return;
        }
        for (y, row) in out.chunks_exact_mut(width * 3).take(height).enumerate() {
            let from_y = self.source(y, self.dy, height);
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let from = from_y.zip(self.source(x, self.dx, width)).map(|(y, x)| {
                    let x = if self.mirror { width - 1 - x } else { x };
                    (y * width + x) * 3
                });
                match from.and_then(|at| image.get(at..at + 3)) {
                    Some(source) => pixel.copy_from_slice(source),
                    None => pixel.fill(0),
                }
            }
        }
    }

    /// The place along one axis of `size` pixels that `at` comes from; `None` if it is black.
    fn source(self, at: usize, shift: isize, size: usize) -> Option<usize> {
        if let Some(from) = at.checked_add_signed(shift).filter(|&from| from < size) {
            return Some(from);
        }
        match self.padding {
            Padding::Black => None,
            Padding::Reflect => {
                let (from, last) = ((at as isize).checked_add(shift)?.unsigned_abs(), size.checked_sub(1)?);
                (if from <= last { Some(from) } else { (2 * last).checked_sub(from) }).filter(|&from| from < size)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 2 x 3 picture, one letter per pixel; `.` is black.
    fn changed(dy: isize, dx: isize, mirror: bool, padding: Padding) -> String {
        let image: Vec<u8> = b"abcdef".iter().flat_map(|&b| [b; 3]).collect();
        let mut out = vec![b'?'; 18];
        Crop { dy, dx, mirror, padding }.apply(&image, (2, 3), &mut out);
        out.chunks_exact(3)
            .map(|p| {
                assert!(p[0] == p[1] && p[1] == p[2], "channels moved apart");
                if p[0] == 0 { '.' } else { p[0] as char }
            })
            .collect()
    }

    #[test]
    fn moves_and_mirrors() {
        for (dy, dx, mirror, black, reflected) in [
            (0, 0, false, "abcdef", "abcdef"),
            (0, 0, true, "cbafed", "cbafed"),
            (1, 0, false, "def...", "defabc"),
            (-1, 0, false, "...abc", "defabc"),
            (0, 1, false, "bc.ef.", "bcbefe"),
            (0, 2, false, "c..f..", "cbafed"),
            (0, -2, false, "..a..d", "cbafed"),
            (0, -1, false, ".ab.de", "babede"),
            (0, 1, true, "ba.ed.", "babede"),
            (1, -1, true, ".fe...", "efebcb"),
        ] {
            assert_eq!(changed(dy, dx, mirror, Padding::Black), black, "{dy} {dx} {mirror}");
            assert_eq!(changed(dy, dx, mirror, Padding::Reflect), reflected, "{dy} {dx} {mirror}");
        }
        assert_eq!(changed(9, 0, false, Padding::Black), "......");
        assert_eq!(changed(0, -9, true, Padding::Black), "......");
    }
}
