//! Weights of a product, laid out for it.

use super::Epilogue;
use super::shards::Shards;
use crate::simd::{Isa, Level, Set, for_each_level, load, load_unchecked, store};

/// Where values begin: at a cache line.
const ALIGN: usize = 64;

/// Values that begin at a cache line.
#[derive(Debug, Default)]
pub struct Aligned<T = f32> {
    values: Vec<T>,
    start: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// So many zeros.
    pub fn zeroed(len: usize) -> Self {
        let room = ALIGN / size_of::<T>();
        let values = vec![T::default(); len + room];
        let start = values.as_ptr().align_offset(ALIGN).min(room);
        let mut aligned = Self { values, start };
        aligned.values.truncate(start + len);
        aligned
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.values.len() - self.start
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        &self.values[self.start..]
    }

    /// The values, to be written.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..]
    }

    /// Makes them at least so many, whatever they are.
    pub fn grow(&mut self, len: usize) {
        if self.len() < len {
            *self = Self::zeroed(len);
        }
    }
}

/// The weight and bias of a product `[rows, inner] · [inner, columns]`, in panels of as many columns as a tile of the result
/// has, each panel row by row. The last panel is filled up with zeros.
#[derive(Debug)]
pub struct Panels {
    pub(super) level: Level,
    inner: usize,
    columns: usize,
    lanes: usize,
    /// First column and width of each panel, a multiple of the lanes.
    panels: Vec<(usize, usize)>,
    weight: Aligned,
    bias: Aligned,
}

/// Float32 values in a register.
pub(super) fn lanes(level: Level) -> usize {
    match level.set() {
        Set::Baseline(_) => 4,
        #[cfg(target_arch = "x86_64")]
        Set::Avx2(_) | Set::AvxVnni(_) => 8,
        #[cfg(target_arch = "x86_64")]
        Set::Avx512(_) | Set::Avx512Vnni(_) | Set::Avx512Bf16(_) => 16,
    }
}

impl Panels {
    /// Packs `weight`, `[columns, inner]`, with a bias for each column.
    ///
    /// # Panics
    /// The slices have other lengths, or there is no column.
    pub fn new(level: Level, weight: &[f32], inner: usize, bias: &[f32]) -> Self {
        let columns = bias.len();
        assert!(columns > 0, "a product without columns");
        assert_eq!(weight.len(), columns * inner, "a {columns} × {inner} weight");
        let lanes = lanes(level);
        let panels = panels(columns, lanes);
        let width = panels.last().map_or(0, |(first, width)| first + width);
        let (mut packed, mut padded_bias) = (Aligned::zeroed(width * inner), Aligned::zeroed(width));
        padded_bias.values_mut()[..columns].copy_from_slice(bias);
        for &(first, width) in &panels {
            let panel = &mut packed.values_mut()[first * inner..(first + width) * inner];
            for (k, row) in panel.chunks_exact_mut(width).enumerate() {
                for (to, column) in row.iter_mut().zip(first..columns) {
                    *to = weight[column * inner + k];
                }
            }
        }
        Self { level, inner, columns, lanes, panels, weight: packed, bias: padded_bias }
    }

    /// Values of a row on the left.
    pub fn inner(&self) -> usize {
        self.inner
    }

    /// Values of a row of the result.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How many panels there are.
    pub(super) fn len(&self) -> usize {
        self.panels.len()
    }

    pub(super) fn panel(&self, i: usize) -> Panel<'_> {
        let (first, width) = self.panels[i];
        Panel {
            first,
            width,
            columns: width.min(self.columns - first),
            inner: self.inner,
            weight: &self.weight.values()[first * self.inner..(first + width) * self.inner],
            bias: &self.bias.values()[first..first + width],
            is_double: width == 2 * self.lanes,
        }
    }

    /// Bytes of what was packed.
    pub fn bytes(&self) -> usize {
        size_of_val(self.weight.values()) + size_of_val(self.bias.values())
    }
}

/// First column and width of panels of two registers; of one where the rest fits into it.
pub(super) fn panels(columns: usize, lanes: usize) -> Vec<(usize, usize)> {
    let mut panels = Vec::with_capacity(columns.div_ceil(2 * lanes));
    let mut first = 0;
    while first < columns {
        let width = if columns - first <= lanes { lanes } else { 2 * lanes };
        panels.push((first, width));
        first += width;
    }
    panels
}

/// Some columns of a product.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// The first column.
    pub(super) first: usize,
    /// Columns that are computed.
    pub(super) width: usize,
    /// Columns that there are.
    pub(super) columns: usize,
    pub(super) inner: usize,
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) is_double: bool,
}

/// Where the rows of a result lie: `together` of them every `stride` values, then on to `jump` values after the first.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub(super) first: usize,
    pub(super) together: usize,
    pub(super) stride: usize,
    pub(super) jump: usize,
}

impl Places {
    /// Rows one after the other.
    pub(super) fn plain(first: usize, stride: usize) -> Self {
        Self { first, together: usize::MAX, stride, jump: 0 }
    }

    /// The places of rows from `row` on: one division for all of them.
    #[inline(always)]
    pub(super) fn from(&self, row: usize) -> impl Iterator<Item = usize> {
        let Self { first, together, stride, jump } = *self;
        let (mut line, mut x) = match together {
            usize::MAX => (first + row * stride, 0),
            _ => (first + row / together * jump, row % together),
        };
        std::iter::from_fn(move || {
            let place = line + x * stride;
            x += 1;
            if x == together {
                (line, x) = (line + jump, 0);
            }
            Some(place)
        })
    }
}

for_each_level! {
    /// `to[places(row) + column] = epilogue(Σ_k a[row, k] · panel[k, column] + bias[column]) + shortcut[row, column]` for the
    /// columns of a panel; `columns` of them are written.
    pub(super) fn multiply(
        a: &[f32],
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
    a: &[f32],
    panel: Panel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
    places: Places,
) {
    if panel.is_double {
        rows::<I, L, 2>(isa, a, panel, columns, epilogue, shortcut, to, places);
    } else {
        rows::<I, L, 1>(isa, a, panel, columns, epilogue, shortcut, to, places);
    }
}

/// Rows of a tile, at most.
pub(super) const MOST_ROWS: usize = 12;

/// Tiles of almost as many rows each, as many as the registers hold.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn rows<I: Isa, const L: usize, const V: usize>(
    isa: I,
    a: &[f32],
    panel: Panel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
    places: Places,
) {
    let most = if const { L == 16 } { MOST_ROWS } else { MOST_ROWS / 2 };
    let rows = a.len().checked_div(panel.inner).unwrap_or(0);
    let mut row = 0;
    let mut tiles = rows.div_ceil(most);
    let mut sums = [[[0f32; L]; V]; MOST_ROWS];
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
        finish(isa, &mut sums[..tall], panel, columns, epilogue, shortcut, to, places, row);
        row += tall;
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

/// The sums of `R` rows of `V` registers, and the bias.
#[inline(always)]
fn tile<I: Isa, const L: usize, const V: usize, const R: usize>(
    isa: I,
    a: &[f32],
    panel: Panel,
    row: usize,
    kept: &mut [[[f32; L]; V]; MOST_ROWS],
) {
    let inner = panel.inner;
    let left = &a[row * inner..(row + R) * inner];
    assert!(panel.weight.len() == inner * V * L && panel.bias.len() == V * L);
    let mut sums = [[[0f32; L]; V]; R];
    unrolled!(V, v => {
        let bias: [f32; L] = load(panel.bias, v * L);
        unrolled!(R, r => sums[r][v] = bias)
    });
    for k in 0..inner {
        let mut right = [[0f32; L]; V];
        // SAFETY: k < inner and v < V, so that `at + L` is at most `inner * V * L`, the asserted length.
        unrolled!(V, v => right[v] = unsafe { load_unchecked(panel.weight, (k * V + v) * L) });
        unrolled!(R, r => {
            // SAFETY: r < R and k < inner: within `left`, which has `R * inner` values.
            let value = unsafe { *left.get_unchecked(r * inner + k) };
            unrolled!(V, v => isa.add_products(&mut sums[r][v], [value; L], right[v]))
        });
    }
    unrolled!(R, r => kept[r] = sums[r]);
}

/// Activates rows of sums, adds the shortcut, and writes them.
#[allow(clippy::too_many_arguments, reason = "a kernel's sizes and buffers")]
#[inline(always)]
fn finish<I: Isa, const L: usize, const V: usize>(
    isa: I,
    sums: &mut [[[f32; L]; V]],
    panel: Panel,
    columns: usize,
    epilogue: &Epilogue,
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
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
fn write<I: Isa, const L: usize, const V: usize>(
    isa: I,
    sums: &mut [[[f32; L]; V]],
    panel: Panel,
    columns: usize,
    activation: impl Fn([f32; L]) -> [f32; L],
    shortcut: Option<(&[f32], usize)>,
    to: Shards<f32>,
    places: Places,
    row: usize,
) {
    for ((r, sums), place) in sums.iter_mut().enumerate().zip(places.from(row)) {
        // SAFETY: the rows and columns of this product are this task's alone: `Shards` was divided by them.
        let to = unsafe { to.values(place, columns) };
        if columns == V * L {
            let mut values = [[0f32; L]; V];
            unrolled!(V, v => values[v] = activation(sums[v]));
            if let Some((shortcut, stride)) = shortcut {
                let from = &shortcut[(row + r) * stride + panel.first..][..V * L];
                unrolled!(V, v => values[v] = isa.add(values[v], load(from, v * L)));
            }
            unrolled!(V, v => store(to, v * L, values[v]));
        } else {
            unrolled!(V, v => sums[v] = activation(sums[v]));
            to.copy_from_slice(&sums.as_flattened()[..columns]);
            if let Some((shortcut, stride)) = shortcut {
                let from = &shortcut[(row + r) * stride + panel.first..][..columns];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
}
