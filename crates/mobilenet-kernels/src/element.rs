//! What kept tensors and the operands of products consist of: float32, or bf16, two values in a word.
//!
//! A product that sums over rows wants neighboring rows side by side, so a word of a kept tensor holds one channel of
//! two neighboring rows: `[rows / 2, c]` words, the even row's value in the lower half. A whole register of it is taken
//! apart into two rows, and put together, without any value changing its lane. What stands on the left of a product
//! over channels holds two neighboring channels of a row instead: `[rows, c / 2]` words.

use std::sync::Mutex;

use crate::bf16::Pair;
use crate::simd::{Isa, Streamed, load, store};

/// Some rows' channels from `at` on, of a tensor of `c` channels.
#[derive(Clone, Copy)]
pub struct Place {
    pub(crate) c: usize,
    /// An even one.
    pub(crate) row: usize,
    /// Of a pass's strips, the one that it is in.
    pub(crate) strip: usize,
    pub(crate) at: usize,
    /// How many rows ahead is prefetched.
    pub(crate) ahead: usize,
}

/// float32, or a pair of bf16.
///
/// Rows are read and written `R` at a time: 2, or 1 for the last of an odd number.
pub trait Element: Copy + Default + Send + Sync + 'static {
    /// Values in an element.
    const WIDTH: usize;

    /// Buffers of this kind, not in use.
    fn store() -> &'static Mutex<Vec<Vec<Self>>>;

    /// float32 values as they are, if this is what the elements are.
    fn of(xs: &[f32]) -> Option<&[Self]>;

    /// As [`of`](Self::of), to be written.
    fn of_mut(ys: &mut [Self]) -> Option<&mut [f32]>;

    /// The values of `R` rows.
    fn load_rows<const L: usize, const R: usize>(xs: &[Self], place: Place) -> [[f32; L]; R];

    /// The opposite of [`load_rows`](Self::load_rows).
    fn store_rows<I: Isa, const L: usize, const R: usize>(isa: I, ys: &mut [Self], place: Place, rows: [[f32; L]; R]);

    /// [`store_rows`](Self::store_rows) past the caches.
    fn stream_rows<I: Isa, const L: usize, const R: usize>(
        isa: I,
        ys: &mut Streamed<Self>,
        place: Place,
        rows: [[f32; L]; R],
    );

    /// Writes rows to the left side of a product over channels.
    fn store_left<I: Isa, const L: usize, const R: usize>(isa: I, ys: &mut [Self], place: Place, rows: [[f32; L]; R]);

    /// `sums[l] += left · right[l]`, of a pair both products.
    fn add_products<I: Isa, const L: usize>(isa: I, sums: &mut [f32; L], left: Self, right: &[Self; L]);
}

impl Element for f32 {
    const WIDTH: usize = 1;

    fn store() -> &'static Mutex<Vec<Vec<Self>>> {
        static STORE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());
        &STORE
    }

    #[inline(always)]
    fn of(xs: &[f32]) -> Option<&[Self]> {
        Some(xs)
    }

    #[inline(always)]
    fn of_mut(ys: &mut [Self]) -> Option<&mut [f32]> {
        Some(ys)
    }

    #[inline(always)]
    fn load_rows<const L: usize, const R: usize>(xs: &[Self], place: Place) -> [[f32; L]; R] {
        let mut rows = [[0.; L]; R];
        for (r, values) in rows.iter_mut().enumerate() {
            *values = load(xs, (place.row + r) * place.c + place.at);
        }
        rows
    }

    #[inline(always)]
    fn store_rows<I: Isa, const L: usize, const R: usize>(_: I, ys: &mut [Self], place: Place, rows: [[f32; L]; R]) {
        for (r, values) in rows.into_iter().enumerate() {
            store(ys, (place.row + r) * place.c + place.at, values);
        }
    }

    #[inline(always)]
    fn stream_rows<I: Isa, const L: usize, const R: usize>(
        isa: I,
        ys: &mut Streamed<Self>,
        place: Place,
        rows: [[f32; L]; R],
    ) {
        for (r, values) in rows.into_iter().enumerate() {
            isa.stream(ys, (place.row + r) * place.c + place.at, values);
        }
    }

    #[inline(always)]
    fn store_left<I: Isa, const L: usize, const R: usize>(isa: I, ys: &mut [Self], place: Place, rows: [[f32; L]; R]) {
        Self::store_rows(isa, ys, place, rows);
    }

    #[inline(always)]
    fn add_products<I: Isa, const L: usize>(isa: I, sums: &mut [f32; L], left: Self, right: &[Self; L]) {
        for l in 0..L {
            sums[l] = isa.mul_add(left, right[l], sums[l]);
        }
    }
}

impl Element for Pair {
    const WIDTH: usize = 2;

    fn store() -> &'static Mutex<Vec<Vec<Self>>> {
        static STORE: Mutex<Vec<Vec<Pair>>> = Mutex::new(Vec::new());
        &STORE
    }

    #[inline(always)]
    fn of(_: &[f32]) -> Option<&[Self]> {
        None
    }

    #[inline(always)]
    fn of_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    #[inline(always)]
    fn load_rows<const L: usize, const R: usize>(xs: &[Self], place: Place) -> [[f32; L]; R] {
        let pairs: [Self; L] = load(xs, place.row / 2 * place.c + place.at);
        let mut rows = [[0.; L]; R];
        for l in 0..L {
            let values = pairs[l].values();
            for r in 0..R {
                rows[r][l] = values[r];
            }
        }
        rows
    }

    #[inline(always)]
    fn store_rows<I: Isa, const L: usize, const R: usize>(isa: I, ys: &mut [Self], place: Place, rows: [[f32; L]; R]) {
        store(ys, place.row / 2 * place.c + place.at, pairs_of(isa, rows));
    }

    #[inline(always)]
    fn stream_rows<I: Isa, const L: usize, const R: usize>(
        isa: I,
        ys: &mut Streamed<Self>,
        place: Place,
        rows: [[f32; L]; R],
    ) {
        isa.stream(ys, place.row / 2 * place.c + place.at, pairs_of(isa, rows));
    }

    #[inline(always)]
    fn store_left<I: Isa, const L: usize, const R: usize>(isa: I, ys: &mut [Self], place: Place, rows: [[f32; L]; R]) {
        let halves = halves(ys);
        for (r, values) in rows.into_iter().enumerate() {
            store(halves, (place.row + r) * place.c + place.at, isa.to_bf16(values));
        }
    }

    #[inline(always)]
    fn add_products<I: Isa, const L: usize>(isa: I, sums: &mut [f32; L], left: Self, right: &[Self; L]) {
        isa.add_pair_products(sums, left, right);
    }
}

/// Two rows, or one and zeros, each pair being a channel of both.
#[inline(always)]
fn pairs_of<I: Isa, const L: usize, const R: usize>(isa: I, rows: [[f32; L]; R]) -> [Pair; L] {
    isa.to_pairs(rows[0], if R == 2 { rows[1] } else { [0.; L] })
}

/// The bf16 values one by one, in the order of their channels.
#[inline(always)]
fn halves(pairs: &mut [Pair]) -> &mut [u16] {
    const { assert!(cfg!(target_endian = "little"), "the first half of a word must be the one that is stored first") };
    let len = 2 * pairs.len();
    // SAFETY: a `Pair` is a `u32`: two `u16`, any bits of which are valid, at a stricter alignment.
    unsafe { std::slice::from_raw_parts_mut(pairs.as_mut_ptr().cast(), len) }
}

#[cfg(test)]
#[cfg(feature = "training")]
mod tests {
    use super::*;
    use crate::buffer::Elements;
    use crate::parallel::tests::values;
    use crate::rows::{left, over_rows, scale_shift};
    use crate::simd::Level;

    /// The definition: the nearest of the two neighbors that have no more than 16 bits, the even one if both are as
    /// near.
    fn nearest_bf16(x: f32) -> f32 {
        let below = f32::from_bits(x.to_bits() & 0xffff_0000);
        let above = f32::from_bits((x.to_bits() & 0xffff_0000).wrapping_add(0x1_0000));
        let distance = |y: f32| (f64::from(x) - f64::from(y)).abs();
        // Beyond the largest bf16 lies what would be the next power of two.
        let above_distance = if above.is_infinite() { 2f64.powi(128) - f64::from(x).abs() } else { distance(above) };
        if x.is_nan() || x.is_infinite() {
            x
        } else if distance(below) < above_distance
            || (distance(below) == above_distance && below.to_bits() >> 16 & 1 == 0)
        {
            below
        } else {
            above
        }
    }

    #[test]
    fn values_are_rounded_to_the_nearest_in_every_layout() {
        let (rows, c) = (6, 42);
        let mut xs = values(rows * c, 1);
        let halfway = f32::from_bits(0x3f80_8000);
        let special = [0., -0., 1., halfway, f32::from_bits(0x3f81_8000), f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
        xs[..8].copy_from_slice(&special);
        xs[c..c + 3].copy_from_slice(&[f32::NAN, f32::from_bits(0x7fff_ffff), f32::from_bits(0xff80_0001)]);
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        for level in Level::available() {
            let (mut by_rows, mut by_channels) = (Elements::<Pair>::default(), Elements::<Pair>::default());
            let by_rows = over_rows(level, &xs, c, &mut by_rows).to_vec();
            left(level, &xs, c, &mut by_channels);
            let mut back = vec![0.; xs.len()];
            scale_shift(level, &by_rows, &vec![1.; c], &vec![-0.; c], &mut back);
            for (i, x) in xs.iter().enumerate() {
                let expected = nearest_bf16(*x);
                let (row, ch) = (i / c, i % c);
                let found = by_rows[row / 2 * c + ch].values()[row % 2];
                assert!(same(found, expected), "{x:e}: {found:e}, expected {expected:e}, {level}");
                assert!(same(by_channels[i / 2].values()[i % 2], expected), "{x:e} by channels, {level}");
                assert!(same(back[i], expected), "{x:e} back, {level}");
            }
        }
    }

    /// Values closer to 0 than a normal float32 become 0 or what is nearest: processors differ.
    #[test]
    fn the_smallest_values_stay_small() {
        let xs = [f32::from_bits(1), f32::from_bits(0x007f_ffff), -f32::MIN_POSITIVE / 3., f32::MIN_POSITIVE];
        for level in Level::available() {
            let mut packed = Elements::<Pair>::default();
            for (pair, x) in over_rows(level, &xs, 2, &mut packed).iter().zip(xs) {
                let found = pair.values()[0];
                assert!((found - x).abs() <= f32::MIN_POSITIVE, "{x:e}: {found:e}, {level}");
            }
        }
    }
}
