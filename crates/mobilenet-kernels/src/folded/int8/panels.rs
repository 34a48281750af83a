//! Weights of a product of bytes, laid out for it.

use super::super::Epilogue;
use super::super::aligned::Aligned;
use super::super::multiply::{MOST_ROWS, unrolled};
use super::super::panels::{Places, panels};
use super::super::shards::Shards;
use super::output::{Affine, Output, Scales, is_signed, scale_and_bias, start};
use crate::simd::{ByteIsa, Level, Set, for_each_byte_level, load, load_unchecked, store};

/// Numbers in a register, and bytes that a step of a sum takes.
pub(super) fn lanes_and_step(level: Level) -> (usize, usize) {
    match level.set() {
        Set::Baseline(_) => (4, 2),
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot(_) => (4, 4),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2(_) | Set::Avx512(_) => (8, 2),
        #[cfg(target_arch = "x86_64")]
        Set::AvxVnni(_) => (8, 4),
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni(_) | Set::Avx512Bf16(_) => (16, 4),
    }
}

/// Weights, side by side in a word: four bytes, or two numbers of 16 bits.
pub(super) fn word(step: usize, weights: [i8; 4]) -> u32 {
    if step == 4 {
        return u32::from_le_bytes(weights.map(i8::cast_unsigned));
    }
    let [first, second, ..] = weights.map(|weight| u32::from(i16::from(weight).cast_unsigned()));
    first | second << 16
}

/// The weight and bias of a product of bytes, in panels of as many columns as a tile of the result has.
#[derive(Debug)]
pub struct BytePanels {
    pub(super) level: Level,
    inner: usize,
    columns: usize,
    lanes: usize,
    pub(super) step: usize,
    steps: usize,
    panels: Vec<(usize, usize)>,
    words: Aligned<u32>,
    scale: Aligned,
    bias: Aligned,
    starts: Aligned<i32>,
}

impl BytePanels {
    /// Packs `weight`, `[columns, inner]`, with a scale and a bias for each column, for a left side of what `input` says. Rows
    /// of the left are [`padded`](Self::padded) bytes long.
    ///
    /// # Panics
    /// The slices have other lengths, or there is no column.
    pub fn new(level: Level, weight: &[i8], inner: usize, scales: &[f32], bias: &[f32], input: Affine) -> Self {
        let columns = bias.len();
        assert!(columns > 0, "a product without columns");
        assert!(weight.len() == columns * inner && scales.len() == columns, "a {columns} × {inner} weight");
        let (lanes, step) = lanes_and_step(level);
        let steps = inner.next_multiple_of(4) / step;
        let panels = panels(columns, lanes);
        let width = panels.last().map_or(0, |(first, width)| first + width);
        let mut words = Aligned::zeroed(width * steps);
        let [mut scale, mut padded_bias] = [(); 2].map(|()| Aligned::zeroed(width));
        let mut starts = Aligned::zeroed(if is_signed(level) { width } else { 0 });
        for column in 0..columns {
            let weights = weight[column * inner..(column + 1) * inner].iter().copied();
            if let Some(to) = starts.values_mut().get_mut(column) {
                *to = start(weights.clone());
            }
            let (factor, offset) = scale_and_bias(input, scales[column], weights, bias[column]);
            (scale.values_mut()[column], padded_bias.values_mut()[column]) = (factor, offset);
        }
        for &(first, width) in &panels {
            let panel = &mut words.values_mut()[first * steps..(first + width) * steps];
            for (k, row) in panel.chunks_exact_mut(width).enumerate() {
                for (to, column) in row.iter_mut().zip(first..columns) {
                    let mut weights = [0; 4];
                    for (i, to) in weights.iter_mut().enumerate().take(step) {
                        let k = k * step + i;
                        *to = if k < inner { weight[column * inner + k] } else { 0 };
                    }
                    *to = word(step, weights);
                }
            }
        }
        Self { level, inner, columns, lanes, step, steps, panels, words, scale, bias: padded_bias, starts }
    }

    /// Bytes of a row on the left: the weight's, up to a multiple of 4. What fills them up has no effect.
    pub fn padded(&self) -> usize {
        self.inner.next_multiple_of(4)
    }

    /// Values of a row of the result.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many panels there are.
    pub(super) fn len(&self) -> usize {
        self.panels.len()
    }

    pub(super) fn panel(&self, i: usize) -> BytePanel<'_> {
        let (first, width) = self.panels[i];
        BytePanel {
            first,
            width,
            columns: width.min(self.columns - first),
            steps: self.steps,
            words: &self.words.values()[first * self.steps..(first + width) * self.steps],
            scales: Scales {
                scale: &self.scale.values()[first..first + width],
                bias: &self.bias.values()[first..first + width],
                starts: self.starts.values().get(first..first + width).unwrap_or_default(),
            },
            is_double: width == 2 * self.lanes,
        }
    }

    /// Bytes of what was packed.
    pub fn bytes(&self) -> usize {
        size_of_val(self.words.values())
            + size_of_val(self.scale.values())
            + size_of_val(self.bias.values())
            + size_of_val(self.starts.values())
    }
}

/// Some columns of a product.
#[derive(Clone, Copy)]
pub(super) struct BytePanel<'a> {
    /// The first column.
    pub(super) first: usize,
    /// Columns that are computed.
    pub(super) width: usize,
    /// Columns that there are.
    pub(super) columns: usize,
    steps: usize,
    words: &'a [u32],
    scales: Scales<'a>,
    is_double: bool,
}

/// A shortcut: bytes, values from one row to the next, and what the bytes stand for.
pub(super) type Shortcut<'a> = Option<(&'a [u8], usize, Affine)>;

/// Where a result goes: as bytes, or as float32 numbers.
#[derive(Clone, Copy)]
pub(super) enum To<'a> {
    Bytes(Shards<'a, u8>, Affine),
    Floats(Shards<'a, f32>),
}

for_each_byte_level! {
    /// `to[places(row) + column] = epilogue(scale · Σ_k a[row, k] · panel[k, column] + bias) + shortcut[row, column]` for the
    /// columns of a panel; `columns` of them are written. `a` holds for each step of a row a word.
    pub(super) fn multiply(
        a: &[[u8; 4]],
        panel: BytePanel,
        columns: usize,
        epilogue: &Epilogue,
        shortcut: Shortcut,
        to: To,
        places: Places,
    ) = multiply_body
}

#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn multiply_body<I: ByteIsa, const L: usize>(
    isa: I,
    a: &[[u8; 4]],
    panel: BytePanel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Shortcut,
    to: To,
    places: Places,
) {
    if panel.is_double {
        rows::<I, L, 2>(isa, a, panel, columns, epilogue, shortcut, to, places);
    } else {
        rows::<I, L, 1>(isa, a, panel, columns, epilogue, shortcut, to, places);
    }
}

/// Tiles of almost as many rows each, as many as the registers hold.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn rows<I: ByteIsa, const L: usize, const V: usize>(
    isa: I,
    a: &[[u8; 4]],
    panel: BytePanel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Shortcut,
    to: To,
    places: Places,
) {
    let most = if const { L == 16 } { MOST_ROWS } else { MOST_ROWS / 2 };
    let rows = a.len().checked_div(panel.steps).unwrap_or(0);
    let mut row = 0;
    let mut tiles = rows.div_ceil(most);
    let mut sums = [[[0i32; L]; V]; MOST_ROWS];
    while row < rows {
        let tall = (rows - row).div_ceil(tiles);
        tiles -= 1;
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
        finish(isa, &sums[..tall], panel, columns, epilogue, shortcut, to, places, row);
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

/// Makes rows of sums what they stand for, activates them, adds the shortcut, and writes them.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn finish<I: ByteIsa, const L: usize, const V: usize>(
    isa: I,
    sums: &[[[i32; L]; V]],
    panel: BytePanel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Shortcut,
    to: To,
    places: Places,
    row: usize,
) {
    // One loop for each kind, so that a loop does not ask which it is.
    match epilogue {
        Epilogue::Clamp { low, high } => {
            let clamp = |values| isa.at_most(*high, isa.at_least(*low, values));
            write(isa, sums, panel, columns, clamp, shortcut, to, places, row);
        }
        Epilogue::HSwish => {
            let h_swish = |values| Epilogue::HSwish.apply(isa, values);
            write(isa, sums, panel, columns, h_swish, shortcut, to, places, row);
        }
        other => write(isa, sums, panel, columns, |values| other.apply(isa, values), shortcut, to, places, row),
    }
}

/// [`finish`] with an activation.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn write<I: ByteIsa, const L: usize, const V: usize>(
    isa: I,
    sums: &[[[i32; L]; V]],
    panel: BytePanel,
    columns: usize,
    activation: impl Fn([f32; L]) -> [f32; L],
    shortcut: Shortcut,
    to: To,
    places: Places,
    row: usize,
) {
    let whole = columns == V * L;
    let [mut scale, mut bias] = [[[0f32; L]; V]; 2];
    unrolled!(V, v => {
        scale[v] = load(panel.scales.scale, v * L);
        bias[v] = load(panel.scales.bias, v * L)
    });
    let rows = sums.iter().zip(places.from(row));
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
