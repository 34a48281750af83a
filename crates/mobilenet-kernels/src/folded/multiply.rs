//! Products of rows with a panel of packed weights: tiles of the result that stay in registers.

use super::Epilogue;
use super::panels::{HALF, Left, Panel, Places, Tiles};
use super::shards::Shards;
use crate::simd::{Isa, for_each_level, load, load_unchecked, prefetch, store};

for_each_level! {
    /// `to[places(row) + column] = epilogue(Σ_k left[row, k] · panel[k, column] + bias[column]) + shortcut[row, column]` for
    /// the columns of a panel; `columns` of them are written.
    pub(super) fn multiply(
        left: Left,
        panel: Panel,
        columns: usize,
        epilogue: &Epilogue,
        shortcut: Option<(&[f32], usize)>,
        to: Shards<f32>,
        places: Places,
    ) = multiply_body[LANES]
}

#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn multiply_body<I: Isa, const L: usize>(
    isa: I,
    left: Left,
    panel: Panel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
    places: Places,
) {
    if const { L == 8 } && panel.width == 3 * L {
        rows::<I, L, 3, 0>(isa, left, panel, columns, epilogue, shortcut, to, places);
    } else if panel.width == 2 * L {
        rows::<I, L, 2, 0>(isa, left, panel, columns, epilogue, shortcut, to, places);
    } else if panel.width == L {
        rows::<I, L, 1, 0>(isa, left, panel, columns, epilogue, shortcut, to, places);
    } else if const { L == 2 * HALF } {
        if panel.width == HALF {
            rows::<I, HALF, 1, 0>(isa, left, panel, columns, epilogue, shortcut, to, places);
        } else {
            rows::<I, L, 1, HALF>(isa, left, panel, columns, epilogue, shortcut, to, places);
        }
    }
}

/// Rows of a tile, at most.
pub(super) const MOST_ROWS: usize = 12;

/// Columns of a tile, at most.
const MOST_WIDTH: usize = 32;

/// Weights of a panel that all rows are multiplied by before the next ones, at most, where tiles are small: so many stay in
/// the nearest cache.
const MOST_WEIGHTS: usize = 6 << 10;

/// Weights are asked for so many values before they are needed.
const AHEAD: usize = 512;

/// What is done with a tile's sums.
#[derive(Clone, Copy)]
enum End<'a> {
    /// They are kept between limits, the shortcut's rows added if there is one, and written.
    Clamp { low: f32, high: f32, shortcut: Option<(&'a [f32], usize)> },
    /// They are activated and written.
    HSwish,
    /// They are left to [`finish`].
    Kept,
}

impl End<'_> {
    /// Sums that are not complete.
    const PART: Self = Self::Clamp { low: f32::NEG_INFINITY, high: f32::INFINITY, shortcut: None };
}

/// Tiles of almost as many rows each, as many as the registers hold. A tile has `V` registers and `H` values of another.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn rows<I: Isa, const L: usize, const V: usize, const H: usize>(
    isa: I,
    left: Left,
    panel: Panel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
    places: Places,
) {
    let width = V * L + H;
    // Of 16 registers, twelve hold sums where three others hold weights, else ten: the compiler keeps no sum in memory then.
    let (most, most_steps) = match (L, V) {
        (16, _) => (MOST_ROWS, usize::MAX),
        (_, 1) => (10, MOST_WEIGHTS / width),
        (_, 2) => (5, MOST_WEIGHTS / width),
        _ => (4, MOST_WEIGHTS / width),
    };
    let shortcut = shortcut.map(|(values, stride)| (&values[panel.first..], stride));
    let is_whole = columns == width;
    let last = match epilogue {
        &Epilogue::Clamp { low, high } if is_whole => End::Clamp { low, high, shortcut },
        Epilogue::HSwish if is_whole && shortcut.is_none() => End::HSwish,
        _ => End::Kept,
    };
    let tiles = Tiles::new(left.rows, most);
    let blocks =
        if is_whole && tiles.count() > 1 && left.parts == 1 { left.len.div_ceil(most_steps).max(1) } else { 1 };
    let mut kept = [[0f32; MOST_WIDTH]; MOST_ROWS];
    let mut starts = [0; MOST_ROWS];
    for block in 0..blocks {
        let (first, end) = (block * left.len / blocks, (block + 1) * left.len / blocks);
        let (weight, part) = match blocks {
            1 => (panel.weight, left),
            _ => {
                let weight = &panel.weight[first * width..end * width];
                (weight, Left { values: &left.values[first..], len: end - first, ..left })
            }
        };
        let goes_on = block > 0;
        let end = if block + 1 == blocks { last } else { End::PART };
        let (mut row, mut tiles, mut places) = (0, tiles, places.from(0));
        while row < left.rows {
            let tall = tiles.take();
            starts[..tall].iter_mut().zip(&mut places).for_each(|(start, place)| *start = place);
            macro_rules! tile {
                ($($R:literal)*) => {
                    match tall {
                        $($R => tile::<I, L, V, H, $R>(
                            isa, part, weight, panel.bias, row, goes_on, end, to, &starts, &mut kept,
                        ),)*
                        _ => {}
                    }
                };
            }
            if const { L == 16 } {
                tile!(1 2 3 4 5 6 7 8 9 10 11 12);
            } else if const { V == 1 } {
                tile!(1 2 3 4 5 6 7 8 9 10);
            } else if const { V == 2 } {
                tile!(1 2 3 4 5);
            } else {
                tile!(1 2 3 4);
            }
            if let End::Kept = end {
                let shortcut = shortcut.map(|(values, stride)| (&values[row * stride..], stride));
                finish::<I, L, V, H>(isa, &mut kept[..tall], columns, epilogue, shortcut, to, &starts);
            }
            row += tall;
        }
    }
}

/// Does `$body` for each `$i` below the constant `$n`, at most 12, one after the other: a loop that is left to the compiler may
/// stay one, and what it indexes is then kept in memory.
macro_rules! unrolled {
    ($n:expr, $i:ident => $body:expr) => { unrolled!(@ $n, $i => $body; 0 1 2 3 4 5 6 7 8 9 10 11) };
    (@ $n:expr, $i:ident => $body:expr; $($at:literal)*) => {{
        $(if const { $at < $n } {
            let $i = $at;
            $body;
        })*
    }};
}
pub(super) use unrolled;

/// The sums of `R` rows, and what is done with them. They begin with the bias, or go on from what was written.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn tile<I: Isa, const L: usize, const V: usize, const H: usize, const R: usize>(
    isa: I,
    left: Left,
    weight: &[f32],
    bias: &[f32],
    row: usize,
    goes_on: bool,
    end: End,
    to: Shards<f32>,
    starts: &[usize; MOST_ROWS],
    kept: &mut [[f32; MOST_WIDTH]; MOST_ROWS],
) {
    let Left { values, stride, parts, len, jump, .. } = left;
    let width = V * L + H;
    assert!(weight.len() >= parts * len * width && bias.len() == width);
    assert!((row + R - 1) * stride + parts.saturating_sub(1) * jump + len <= values.len());
    let (mut sums, mut halves) = ([[[0f32; L]; V]; R], [[0f32; H]; R]);
    if goes_on {
        unrolled!(R, r => {
            // SAFETY: the rows and columns of this product are this task's alone: `Shards` was divided by them.
            let from = unsafe { to.values(starts[r], width) };
            unrolled!(V, v => sums[r][v] = load(from, v * L));
            halves[r] = load(from, V * L)
        });
    } else {
        unrolled!(V, v => {
            let bias: [f32; L] = load(bias, v * L);
            unrolled!(R, r => sums[r][v] = bias)
        });
        let bias: [f32; H] = load(bias, V * L);
        unrolled!(R, r => halves[r] = bias);
    }
    let mut at = 0;
    for part in 0..parts {
        let first = row * stride + part * jump;
        for k in first..first + len {
            prefetch(weight, at + AHEAD);
            if const { V * L > 16 } {
                prefetch(weight, at + AHEAD + 16);
            }
            let mut right = [[0f32; L]; V];
            // SAFETY: `at` is a multiple of `width` below `parts * len * width`, the asserted length.
            unrolled!(V, v => right[v] = unsafe { load_unchecked(weight, at + v * L) });
            // SAFETY: as above.
            let half: [f32; H] = unsafe { load_unchecked(weight, at + V * L) };
            unrolled!(R, r => {
                // SAFETY: r < R, and k is within a part of the row: the last row's last part was asserted to be within.
                let value = unsafe { *values.get_unchecked(r * stride + k) };
                unrolled!(V, v => isa.add_products(&mut sums[r][v], [value; L], right[v]));
                isa.add_products(&mut halves[r], [value; H], half)
            });
            at += width;
        }
    }
    macro_rules! written {
        ($r:ident, $lane:ident, $values:ident => $activated:expr) => {{
            // SAFETY: the rows and columns of this product are this task's alone: `Shards` was divided by them.
            let to = unsafe { to.values(starts[$r], width) };
            unrolled!(V, v => {
                let ($lane, $values) = (v * L, sums[$r][v]);
                store(to, $lane, $activated)
            });
            let ($lane, $values) = (V * L, halves[$r]);
            store(to, $lane, $activated)
        }};
    }
    match end {
        End::Clamp { low, high, shortcut: None } => {
            unrolled!(R, r => written!(r, _lane, values => isa.at_most(high, isa.at_least(low, values))));
        }
        End::Clamp { low, high, shortcut: Some((shortcut, stride)) } => {
            unrolled!(R, r => {
                let shortcut = &shortcut[(row + r) * stride..][..width];
                written!(r, lane, values => {
                    isa.add(isa.at_most(high, isa.at_least(low, values)), load(shortcut, lane))
                })
            });
        }
        End::HSwish => unrolled!(R, r => written!(r, _lane, values => Epilogue::HSwish.apply(isa, values))),
        End::Kept => {
            unrolled!(R, r => {
                unrolled!(V, v => store(&mut kept[r], v * L, sums[r][v]));
                store(&mut kept[r], V * L, halves[r])
            });
        }
    }
}

/// Activates rows of sums, adds the shortcut, and writes them, where the tile itself does not.
#[inline(always)]
fn finish<I: Isa, const L: usize, const V: usize, const H: usize>(
    isa: I,
    kept: &mut [[f32; MOST_WIDTH]],
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
    starts: &[usize; MOST_ROWS],
) {
    for (r, (row, start)) in kept.iter_mut().zip(starts).enumerate() {
        unrolled!(V, v => {
            let values: [f32; L] = load(row, v * L);
            store(row, v * L, epilogue.apply(isa, values))
        });
        let values: [f32; H] = load(row, V * L);
        store(row, V * L, epilogue.apply(isa, values));
        // SAFETY: as in `tile`.
        let to = unsafe { to.values(*start, columns) };
        to.copy_from_slice(&row[..columns]);
        if let Some((shortcut, stride)) = shortcut {
            to.iter_mut().zip(&shortcut[r * stride..]).for_each(|(to, from)| *to += from);
        }
    }
}
