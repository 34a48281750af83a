//! The passes over rows of channels: each is a [`Pass`], written once for every instruction set and every kind of
//! [`Element`].
//!
//! Rows are walked in strips: down a register's worth of channels, two rows at a time, with the channels' mean, scale
//! and sums in registers; then down the next channels, while the strip is in the L1. The loads ask for the next strip
//! in time.

mod backward;
mod forward;
mod operands;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::activation::Function;
use crate::element::{Element, Place};
use crate::simd::{Isa, Streamed, for_each_level, for_lanes, prefetch};
pub(crate) use backward::{
    Gradients, Operands, Sink, Values, gate_gradient, input_gradient, input_gradient_to, scale_shift,
    through_activation,
};
pub(crate) use forward::{activate_left, activated_sums, moments, normalize, normalize_to};
pub(crate) use operands::{left, over_rows, pack_rows, right};

/// How many rows are walked over before the next channels: few enough that they are still in the L1 then.
const STRIP: usize = 16;

/// How many values ahead of its use a value is prefetched, at least: work enough to cover the memory's latency.
const AHEAD: usize = 2048;

/// How many rows are summed in float32.
const RUN: usize = 64;

/// What happens to rows of `c` channels.
trait Pass {
    /// Whether it reads or writes bf16.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no instruction set here converts it by itself"))]
    const PAIRS: bool;

    /// Rows of a strip. Of passes that sum up, how many rows are summed in float32: more would cost digits.
    fn strip(&self) -> usize {
        STRIP
    }

    /// What stays in registers on the way down `L` channels.
    type State<const L: usize>;

    /// Before the way down the channels from `at` on.
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L>;

    /// Rows `row` to `row + R`: two, or the last of an odd number.
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        state: &mut Self::State<L>,
        place: Place,
    );

    /// After the way down.
    #[inline(always)]
    fn end<const L: usize>(&mut self, _: Self::State<L>, _at: usize) {}
}

/// Where float32 rows are written: one after the other, or with room between the rows of an image.
pub(crate) struct Target<'a> {
    /// From the first row on.
    pub(crate) values: &'a mut [f32],
    pub(crate) rows: usize,
    /// So many rows lie one after the other,
    pub(crate) together: usize,
    /// and so many values are left out after them.
    pub(crate) gap: usize,
    /// Values from one row to the next of those that lie together.
    pub(crate) stride: usize,
}

impl<'a> Target<'a> {
    /// Rows of `c` channels, one after the other.
    fn dense(values: &'a mut [f32], c: usize) -> Self {
        Self { rows: values.len() / c, values, together: STRIP, gap: 0, stride: c }
    }

    /// A block of channels of rows that have `c` of them.
    pub(crate) fn block(values: &'a mut [f32], c: usize, channels: &Range<usize>) -> Self {
        Self { rows: values.len() / c, values: &mut values[channels.start..], together: STRIP, gap: 0, stride: c }
    }

    #[inline(always)]
    fn store<I: Isa, const L: usize, const R: usize>(&mut self, isa: I, place: Place, rows: [[f32; L]; R]) {
        let room = place.strip * self.gap;
        let place = Place { c: self.stride, at: room + place.at, ..place };
        f32::store_rows(isa, self.values, place, rows);
    }
}

impl Place {
    #[inline(always)]
    fn load<E: Element, const L: usize, const R: usize>(self, xs: &[E]) -> [[f32; L]; R] {
        E::load_rows(xs, self)
    }

    #[inline(always)]
    fn store<I: Isa, E: Element, const L: usize, const R: usize>(self, isa: I, ys: &mut [E], rows: [[f32; L]; R]) {
        E::store_rows(isa, ys, self, rows);
    }

    /// Stores past the caches: what the next phase reads is not needed before then.
    #[inline(always)]
    fn stream<I: Isa, E: Element, const L: usize, const R: usize>(
        self,
        isa: I,
        ys: &mut Streamed<E>,
        rows: [[f32; L]; R],
    ) {
        E::stream_rows(isa, ys, self, rows);
    }

    #[inline(always)]
    fn store_left<I: Isa, E: Element, const L: usize, const R: usize>(self, isa: I, ys: &mut [E], rows: [[f32; L]; R]) {
        E::store_left(isa, ys, self, rows);
    }

    /// Loads, and prefetches what the same channels need a strip or a few later.
    #[inline(always)]
    fn load_ahead<E: Element, const L: usize, const R: usize>(self, xs: &[E]) -> [[f32; L]; R] {
        for r in (0..R).step_by(E::WIDTH) {
            prefetch(xs, (self.row + r + self.ahead) / E::WIDTH * self.c + self.at);
        }
        self.load(xs)
    }
}

for_each_level! {
    /// Takes `pass` over `rows` rows.
    fn walk<F: Function, P: Pass>(rows: usize, c: usize, pass: P) = walk_body[LANES], bf16 if P::PAIRS
}

#[inline(always)]
fn walk_body<I: Isa, const L: usize, F: Function, P: Pass>(isa: I, rows: usize, c: usize, mut pass: P) {
    let len = pass.strip();
    let ahead = len * (AHEAD / (len * c)).max(1);
    for (strip, start) in (0..rows).step_by(len).enumerate() {
        let end = (start + len).min(rows);
        for_lanes!(c, walk_lanes::<I, F, P; L>(isa, strip, start..end, [c, ahead], &mut pass));
    }
}

#[inline(always)]
fn walk_lanes<I: Isa, F: Function, P: Pass, const L: usize>(
    isa: I,
    strip: usize,
    rows: Range<usize>,
    [c, ahead]: [usize; 2],
    pass: &mut P,
    at: usize,
) {
    let mut state = pass.begin::<L>(at);
    let mut row = rows.start;
    while row + 2 <= rows.end {
        pass.rows::<I, F, L, 2>(isa, &mut state, Place { c, strip, row, at, ahead });
        row += 2;
    }
    if row < rows.end {
        pass.rows::<I, F, L, 1>(isa, &mut state, Place { c, strip, row, at, ahead });
    }
    pass.end(state, at);
}

/// Two sums over rows, for even and for odd rows: one addition need not wait for the other.
type Sums<const L: usize> = [[[f32; L]; 2]; 2];

#[inline(always)]
fn add_sums<const L: usize>([even, odd]: Sums<L>, first: &mut [f64], second: &mut [f64]) {
    for l in 0..L {
        first[l] += f64::from(even[0][l] + odd[0][l]);
        second[l] += f64::from(even[1][l] + odd[1][l]);
    }
}

/// `act((x - mean) · scale + bias)`
#[inline(always)]
fn activated<I: Isa, F: Function, const L: usize, const R: usize>(
    isa: I,
    x: [[f32; L]; R],
    affine: &[[f32; L]; 3],
) -> [[f32; L]; R] {
    let mut rows = [[0.; L]; R];
    for r in 0..R {
        rows[r] = activated_row::<I, F, L>(isa, x[r], affine);
    }
    rows
}

#[inline(always)]
fn activated_row<I: Isa, F: Function, const L: usize>(
    isa: I,
    x: [f32; L],
    [mean, scale, bias]: &[[f32; L]; 3],
) -> [f32; L] {
    let mut z = [0.; L];
    for l in 0..L {
        z[l] = isa.mul_add(x[l] - mean[l], scale[l], bias[l]);
    }
    let mut y = [0.; L];
    for l in 0..L {
        y[l] = F::value(z[l]);
    }
    y
}

#[inline(always)]
fn scaled<const L: usize, const R: usize>(mut rows: [[f32; L]; R], gate: &[f32; L]) -> [[f32; L]; R] {
    for row in &mut rows {
        for l in 0..L {
            row[l] *= gate[l];
        }
    }
    rows
}

/// How many rows a tensor of `c` channels has, an even number if its elements are pairs.
fn rows_of<E: Element>(xs: &[E], c: usize) -> usize {
    xs.len() / c * E::WIDTH
}
