//! Tiles of a product of bytes: sums, and what follows them.

use super::super::Epilogue;
use super::super::multiply::{MOST_ROWS, unrolled};
use super::super::panels::{Places, Tiles};
use super::super::shards::Shards;
use super::output::{Affine, ByteClamp, Output};
use super::panels::BytePanel;
use crate::simd::{ByteIsa, for_each_byte_level, load, load_unchecked, store};

/// A shortcut: bytes, values from one row to the next, and what the bytes stand for.
pub(super) type Shortcut<'a> = Option<(&'a [u8], usize, Affine)>;

/// Where a result goes.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    /// As bytes.
    Bytes(Shards<'a, u8>, Affine),
    /// As bytes, each as a float32 number from 0 to 255.
    Numbers(Shards<'a, f32>, Affine),
    /// As what it stands for.
    Floats(Shards<'a, f32>),
}

/// A product's right side, what is done to its sums, and where they go.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) panel: BytePanel<'a>,
    /// How many of the panel's columns are written.
    pub(super) columns: usize,
    pub(super) epilogue: &'a Epilogue,
    pub(super) shortcut: Shortcut<'a>,
    pub(super) to: To<'a>,
    pub(super) places: Places,
}

for_each_byte_level! {
    /// `to[places(row) + column] = epilogue(scale · Σ_k a[row, k] · panel[k, column] + bias) + shortcut[row, column]` for the
    /// columns of a panel. `a` holds for each step of a row a word.
    pub(super) fn multiply(a: &[[u8; 4]], product: Product) = multiply_body
}

#[inline(always)]
fn multiply_body<I: ByteIsa, const L: usize>(isa: I, a: &[[u8; 4]], product: Product) {
    if product.panel.is_double {
        rows::<I, L, 2>(isa, a, product);
    } else {
        rows::<I, L, 1>(isa, a, product);
    }
}

/// Tiles of almost as many rows each, as many as the registers hold.
#[inline(always)]
fn rows<I: ByteIsa, const L: usize, const V: usize>(isa: I, a: &[[u8; 4]], product: Product) {
    let panel = product.panel;
    let most = if const { L == 16 } { MOST_ROWS } else { MOST_ROWS / 2 };
    let rows = a.len().checked_div(panel.steps).unwrap_or(0);
    let (mut row, mut tiles, mut places) = (0, Tiles::new(rows, most), product.places.from(0));
    let mut sums = [[[0i32; L]; V]; MOST_ROWS];
    while row < rows {
        let tall = tiles.take();
        macro_rules! tile {
            ($($R:literal)*) => {
                match tall {
                    $($R => tile::<I, L, V, $R>(isa, a, panel, row, &mut sums),)*
                    _ => {}
                }
            };
        }
        if const { L == 16 } {
            tile!(1 2 3 4 5 6 7 8 9 10 11 12);
        } else {
            tile!(1 2 3 4 5 6);
        }
        finish(isa, &sums[..tall], product, row, &mut places);
        row += tall;
    }
}

/// The sums of `R` rows of `V` registers.
#[inline(always)]
fn tile<I: ByteIsa, const L: usize, const V: usize, const R: usize>(
    isa: I,
    a: &[[u8; 4]],
    panel: BytePanel,
    row: usize,
    kept: &mut [[[i32; L]; V]; MOST_ROWS],
) {
    let steps = panel.steps;
    let left = &a[row * steps..(row + R) * steps];
    assert!(panel.words.len() == steps * V * L);
    let mut sums = [[[0i32; L]; V]; R];
    if const { I::IS_SIGNED } {
        unrolled!(V, v => sums[0][v] = load(panel.scales.starts, v * L));
        sums = [sums[0]; R];
    }
    for k in 0..steps {
        let mut right = [[0u32; L]; V];
        // SAFETY: k < steps and v < V, so that `at + L` is at most `steps * V * L`, the asserted length.
        unrolled!(V, v => right[v] = unsafe { load_unchecked(panel.words, (k * V + v) * L) });
        unrolled!(R, r => {
            // SAFETY: r < R and k < steps: within `left`, which has `R * steps` words.
            let word = u32::from_le_bytes(unsafe { *left.get_unchecked(r * steps + k) });
            unrolled!(V, v => isa.dot(&mut sums[r][v], [word; L], right[v]))
        });
    }
    unrolled!(R, r => kept[r] = sums[r]);
}

/// Makes rows of sums what they stand for, activates them, adds the shortcut, and writes them to `places`.
#[inline(always)]
fn finish<I: ByteIsa, const L: usize, const V: usize>(
    isa: I,
    sums: &[[[i32; L]; V]],
    product: Product,
    row: usize,
    places: impl Iterator<Item = usize>,
) {
    if let (To::Bytes(_, affine) | To::Numbers(_, affine), None) = (product.to, product.shortcut)
        && let Some(clamp) = ByteClamp::new(product.epilogue, affine)
    {
        return write_clamped(isa, sums, product, clamp, places);
    }
    // One loop for each kind, so that a loop does not ask which it is.
    match product.epilogue {
        Epilogue::Clamp { low, high } => {
            let clamp = |values| isa.at_most(*high, isa.at_least(*low, values));
            write(isa, sums, product, clamp, row, places);
        }
        Epilogue::HSwish => write(isa, sums, product, |values| Epilogue::HSwish.apply(isa, values), row, places),
        other => write(isa, sums, product, |values| other.apply(isa, values), row, places),
    }
}

/// [`finish`] with nothing but a clamp, to bytes.
#[inline(always)]
fn write_clamped<I: ByteIsa, const L: usize, const V: usize>(
    isa: I,
    sums: &[[[i32; L]; V]],
    product: Product,
    clamp: ByteClamp,
    places: impl Iterator<Item = usize>,
) {
    let Product { panel, columns, to, .. } = product;
    let [mut scale, mut bias] = [[[0f32; L]; V]; 2];
    unrolled!(V, v => {
        let (factor, offset) = (load(panel.scales.scale, v * L), load(panel.scales.bias, v * L));
        (scale[v], bias[v]) = clamp.scale_and_bias(isa, factor, offset)
    });
    macro_rules! written {
        ($to:ident, $kind:ident, $zero:expr) => {
            for (sums, place) in sums.iter().zip(places) {
                let mut values = [[$zero; L]; V];
                unrolled!(V, v => {
                    let value = isa.add(isa.mul(isa.floats(sums[v]), scale[v]), bias[v]);
                    values[v] = clamp.$kind(isa, value)
                });
                // SAFETY: the rows and columns of this product are this task's alone: `Shards` was divided by them.
                let to = unsafe { $to.values(place, columns) };
                if columns == V * L {
                    unrolled!(V, v => store(to, v * L, values[v]));
                } else {
                    to.copy_from_slice(&values.as_flattened()[..columns]);
                }
            }
        };
    }
    match to {
        To::Bytes(to, _) => written!(to, bytes, 0u8),
        To::Numbers(to, _) => written!(to, numbers, 0f32),
        To::Floats(_) => {}
    }
}

/// [`finish`] with an activation.
#[inline(always)]
fn write<I: ByteIsa, const L: usize, const V: usize>(
    isa: I,
    sums: &[[[i32; L]; V]],
    product: Product,
    activation: impl Fn([f32; L]) -> [f32; L],
    row: usize,
    places: impl Iterator<Item = usize>,
) {
    let Product { panel, columns, shortcut, to, .. } = product;
    let whole = columns == V * L;
    let [mut scale, mut bias] = [[[0f32; L]; V]; 2];
    unrolled!(V, v => {
        scale[v] = load(panel.scales.scale, v * L);
        bias[v] = load(panel.scales.bias, v * L)
    });
    let rows = sums.iter().zip(places);
    if let (To::Bytes(to, affine), true, None) = (to, whole, shortcut) {
        for (sums, place) in rows {
            // SAFETY: the rows and columns of this product are this task's alone: `Shards` was divided by them.
            let to = unsafe { to.values(place, V * L) };
            unrolled!(V, v => {
                let value = isa.add(isa.mul(isa.floats(sums[v]), scale[v]), bias[v]);
                store(to, v * L, affine.bytes(isa, activation(value)))
            });
        }
        return;
    }
    for (r, (sums, place)) in rows.enumerate() {
        let mut values = [[0f32; L]; V];
        unrolled!(V, v => values[v] = activation(isa.add(isa.mul(isa.floats(sums[v]), scale[v]), bias[v])));
        if let Some((bytes, stride, affine)) = shortcut {
            let from = &bytes[(row + r) * stride + panel.first..][..columns];
            let mut blocks = [[0; L]; V];
            if whole {
                unrolled!(V, v => blocks[v] = load(from, v * L));
            } else {
                blocks.as_flattened_mut()[..columns].copy_from_slice(from);
            }
            unrolled!(V, v => values[v] = isa.add(values[v], affine.values(isa, blocks[v])));
        }
        match to {
            To::Bytes(to, affine) => {
                // SAFETY: as above.
                let to = unsafe { to.values(place, columns) };
                let mut bytes = [[0u8; L]; V];
                unrolled!(V, v => bytes[v] = affine.bytes(isa, values[v]));
                if whole {
                    unrolled!(V, v => store(to, v * L, bytes[v]));
                } else {
                    to.copy_from_slice(&bytes.as_flattened()[..columns]);
                }
            }
            To::Numbers(to, affine) => {
                let mut numbers = [[0f32; L]; V];
                unrolled!(V, v => numbers[v] = affine.numbers(isa, values[v]));
                // SAFETY: as above.
                unsafe { to.values(place, columns) }.copy_from_slice(&numbers.as_flattened()[..columns]);
            }
            // SAFETY: as above.
            To::Floats(to) => unsafe { to.values(place, columns) }.copy_from_slice(&values.as_flattened()[..columns]),
        }
    }
}

impl Output {
    pub(super) fn to<'a>(&self, shards: Shards<'a, u8>) -> To<'a> {
        To::Bytes(shards, self.affine)
    }
}
