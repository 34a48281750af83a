//! Pictures scaled as PIL scales them, to the last bit, and so as torchvision does with PIL's pictures: bilinear, and
//! antialiased where there become fewer pixels.
//!
//! PIL's arithmetic (`libImaging/Resample.c`): first rows, then columns, each pass rounded to whole numbers, with weights
//! of 22 bits behind the point. A part of the result costs only what it is made of, so that scaling and cutting are one
//! step with the result of the two.

use std::ops::Range;

use crate::augment::Area;

/// Bits behind the point of a weight.
const BITS: u32 = 22;

/// What a pixel of the result is made of along one axis.
struct Tap {
    start: usize,
    weights: Vec<i32>,
}

/// The pixels `range` of `to`, which `from` pixels become.
fn taps(from: usize, to: usize, range: Range<usize>) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let tap = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        // Both are cut off, which for the first one is only right from 0 on.
        let start = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(from);
        let per_step = 1.0 / reach;
        let weight = |i: usize| (1.0 - ((i as f64 - center + 0.5) * per_step).abs()).max(0.0);
        let sum: f64 = (start..end).map(weight).sum();
        let fixed = |i: usize| (0.5 + weight(i) / sum * f64::from(1 << BITS)) as i32;
        Tap { start, weights: (start..end).map(fixed).collect() }
    };
    range.map(tap).collect()
}

/// Rounds a sum of weights and values.
fn rounded(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// Where rounding begins: a half.
const HALF: i32 = 1 << (BITS - 1);

/// Scales the part `source` of a picture `[h, width, 3]` to `to` (height, width), and gives the part `window` of that.
///
/// `source` lies within the picture, `window` within `to`; none of them is empty.
pub(crate) fn scale(picture: &[u8], width: usize, source: Area, to: (usize, usize), window: Area) -> Vec<u8> {
    let columns = taps(source.width, to.1, window.left..window.left + window.width);
    let rows = taps(source.height, to.0, window.top..window.top + window.height);
    // The rows of the source that the result needs.
    let (first, end) = match (rows.first(), rows.last()) {
        (Some(first), Some(last)) if source.height != to.0 => (first.start, last.start + last.weights.len()),
        _ => (window.top, window.top + window.height),
    };

    let line = window.width * 3;
    let mut narrow = vec![0; (end - first) * line];
    let needed = Area { top: source.top + first, left: source.left, height: end - first, width: source.width };
    for (row, out) in needed.rows(width).zip(narrow.chunks_exact_mut(line)) {
        let row = &picture[row];
        if source.width == to.1 {
            out.copy_from_slice(&row[window.left * 3..(window.left + window.width) * 3]);
            continue;
        }
        for (Tap { start, weights }, pixel) in columns.iter().zip(out.chunks_exact_mut(3)) {
            let (mut red, mut green, mut blue) = (HALF, HALF, HALF);
            for (weight, source) in weights.iter().zip(row[start * 3..].chunks_exact(3)) {
                red += weight * i32::from(source[0]);
                green += weight * i32::from(source[1]);
                blue += weight * i32::from(source[2]);
            }
            pixel.copy_from_slice(&[rounded(red), rounded(green), rounded(blue)]);
        }
    }
    if source.height == to.0 {
        return narrow;
    }
    let (mut out, mut sums) = (vec![0; window.height * line], vec![0; line]);
    for (Tap { start, weights }, out) in rows.iter().zip(out.chunks_exact_mut(line)) {
        sums.fill(HALF);
        for (weight, row) in weights.iter().zip(narrow[(start - first) * line..].chunks_exact(line)) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += weight * i32::from(value);
            }
        }
        for (out, &sum) in out.iter_mut().zip(&sums) {
            *out = rounded(sum);
        }
    }
    out
}

/// The whole of a picture of `height` x `width`.
pub(crate) fn whole((height, width): (usize, usize)) -> Area {
    Area { top: 0, left: 0, height, width }
}

/// `Resize(short)` and then `CenterCrop(size)` of torchvision, of a picture `[height, width, 3]`; `size` is at most
/// `short`.
pub(crate) fn resize_and_crop(picture: &[u8], (height, width): (usize, usize), short: usize, size: usize) -> Vec<u8> {
    let long = |long: usize, of: usize| (short as f64 * long as f64 / of as f64) as usize;
    let to = match height <= width {
        true => (short, long(width, height)),
        false => (long(height, width), short),
    };
    let from = |side: usize| ((side - size) as f64 / 2.0).round_ties_even() as usize;
    let window = Area { top: from(to.0), left: from(to.1), height: size, width: size };
    scale(picture, width, whole((height, width)), to, window)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture((h, w): (usize, usize)) -> Vec<u8> {
        (0..h * w * 3).map(|i| ((i * i) % 251) as u8).collect()
    }

    #[test]
    fn a_window_is_that_part_of_the_whole() {
        for (from, to) in [((33, 50), (32, 48)), ((7, 5), (3, 4)), ((4, 5), (9, 7)), ((6, 6), (6, 3)), ((6, 6), (3, 6))]
        {
            let image = picture(from);
            let all = scale(&image, from.1, whole(from), to, whole(to));
            let window = Area { top: 1, left: 1, height: to.0 - 2, width: to.1 - 2 };
            let expected: Vec<u8> = window.rows(to.1).flat_map(|row| all[row].to_vec()).collect();
            assert_eq!(scale(&image, from.1, whole(from), to, window), expected, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn a_source_is_as_if_it_were_cut_out_before() {
        let (size, source) = ((9, 11), Area { top: 2, left: 3, height: 5, width: 7 });
        let image = picture(size);
        let cut: Vec<u8> = source.rows(size.1).flat_map(|row| image[row].to_vec()).collect();
        for to in [(3, 3), (5, 7), (8, 12)] {
            let expected = scale(&cut, 7, whole((5, 7)), to, whole(to));
            assert_eq!(scale(&image, size.1, source, to, whole(to)), expected, "{to:?}");
        }
    }

    #[test]
    fn one_color_and_the_same_size_stay() {
        for from in [(1, 1), (1, 9), (3, 2), (32, 32)] {
            for to in [(1, 1), (2, 5), (24, 24), (40, 33)] {
                for value in [0, 1, 128, 255] {
                    let image = vec![value; from.0 * from.1 * 3];
                    let out = scale(&image, from.1, whole(from), to, whole(to));
                    assert!(out.iter().all(|&v| v == value), "{from:?} to {to:?}: {out:?}, expected {value}");
                }
            }
            assert_eq!(scale(&picture(from), from.1, whole(from), from, whole(from)), picture(from));
        }
    }
}
