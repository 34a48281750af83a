//! Weights of a product, laid out for it.

use std::convert::Infallible;

use super::aligned::Aligned;
use crate::simd::{Level, Set};

/// The weight and bias of a product `[rows, inner] · [inner, columns]`, in panels of as many columns as a tile of the result
/// has, each panel row by row. The last panel is filled up with zeros.
#[derive(Debug)]
pub struct Panels {
    pub(super) level: Level,
    inner: usize,
    columns: usize,
    /// First column and width of each panel: some registers, or, where they hold 16 values, some halves.
    panels: Vec<(usize, usize)>,
    weight: Aligned,
    bias: Aligned,
}

/// Values of half a register, where whole ones hold 16: a quarter of a panel is not worth a whole one.
pub(super) const HALF: usize = 8;

/// Float32 values in a register.
pub(super) fn lanes(level: Level) -> usize {
    match level.set() {
        Set::Baseline(_) => 4,
        #[cfg(target_arch = "aarch64")]
        Set::NeonDot(_) => 4,
        #[cfg(target_arch = "x86_64")]
        Set::Avx2(_) | Set::AvxVnni(_) => 8,
        #[cfg(target_arch = "x86_64")]
        Set::Avx512(_) | Set::Avx512Vnni(_) | Set::Avx512Bf16(_) => 16,
    }
}

/// Registers of a panel of float32 values, at most, at any level.
pub(super) const MOST_REGISTERS: usize = 3;

/// Registers of a panel of float32 values, at most. With 16 registers that hold 8 values, tiles of four rows by three are
/// those that load least for what they multiply.
pub(super) fn registers(level: Level) -> usize {
    if lanes(level) == 8 { 3 } else { 2 }
}

impl Panels {
    /// Packs `weight`, `[columns, inner]`, with a bias for each column.
    ///
    /// # Panics
    /// The slices have other lengths, or there is no column.
    pub fn new(level: Level, weight: &[f32], inner: usize, bias: &[f32]) -> Self {
        assert_eq!(weight.len(), bias.len() * inner, "a {} × {inner} weight", bias.len());
        let read = |column: usize, rows: &mut [f32]| {
            rows.copy_from_slice(&weight[column * inner..][..rows.len()]);
            Ok::<(), Infallible>(())
        };
        match Self::read(level, inner, bias, read) {
            Ok(panels) => panels,
            Err(never) => match never {},
        }
    }

    /// [`new`](Self::new) of a weight that is read panel by panel: `read(column, to)` gets the rows of some columns from
    /// `column` on, `[columns, inner]`.
    ///
    /// # Errors
    /// Those of `read`.
    ///
    /// # Panics
    /// There is no column.
    pub fn read<E>(
        level: Level,
        inner: usize,
        bias: &[f32],
        mut read: impl FnMut(usize, &mut [f32]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let columns = bias.len();
        assert!(columns > 0, "a product without columns");
        let lanes = lanes(level);
        let mut panels = panels(columns, lanes, registers(level));
        if lanes == 2 * HALF
            && let Some((first, width)) = panels.last_mut()
        {
            *width = (columns - *first).next_multiple_of(HALF);
        }
        let width = panels.last().map_or(0, |(first, width)| first + width);
        let (mut packed, mut padded_bias) = (Aligned::zeroed(width * inner), Aligned::zeroed(width));
        padded_bias.values_mut()[..columns].copy_from_slice(bias);
        let mut rows = vec![0.; panels.first().map_or(0, |(_, width)| columns.min(*width)) * inner];
        for &(first, width) in &panels {
            let rows = &mut rows[..width.min(columns - first) * inner];
            read(first, rows)?;
            let panel = &mut packed.values_mut()[first * inner..(first + width) * inner];
            for (k, to) in panel.chunks_exact_mut(width).enumerate() {
                to.iter_mut().zip(rows[k..].iter().step_by(inner)).for_each(|(to, value)| *to = *value);
            }
        }
        Ok(Self { level, inner, columns, panels, weight: packed, bias: padded_bias })
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
            weight: &self.weight.values()[first * self.inner..(first + width) * self.inner],
            bias: &self.bias.values()[first..first + width],
        }
    }

    /// Bytes of what was packed.
    pub fn bytes(&self) -> usize {
        size_of_val(self.weight.values()) + size_of_val(self.bias.values())
    }
}

/// First column and width of panels of `most` registers, and of fewer where the rest fits into them.
pub(super) fn panels(columns: usize, lanes: usize, most: usize) -> Vec<(usize, usize)> {
    let mut panels = Vec::with_capacity(columns.div_ceil(most * lanes));
    let mut first = 0;
    while first < columns {
        let width = (columns - first).next_multiple_of(lanes).min(most * lanes);
        panels.push((first, width));
        first += width;
    }
    panels
}

/// Rows of a product, or neighboring pixels, in tiles of almost as many each.
#[derive(Clone, Copy)]
pub(super) struct Tiles {
    len: usize,
    /// Tiles that have one more, which come first.
    longer: usize,
    count: usize,
}

impl Tiles {
    /// Divides `len` into tiles of at most `most`.
    #[inline(always)]
    pub(super) fn new(len: usize, most: usize) -> Self {
        let count = len.div_ceil(most);
        Self { len: len / count.max(1), longer: len % count.max(1), count }
    }

    /// How many there are.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The length of the next one.
    #[inline(always)]
    pub(super) fn take(&mut self) -> usize {
        let is_longer = self.longer > 0;
        self.longer -= usize::from(is_longer);
        self.len + usize::from(is_longer)
    }
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
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
}

/// Rows on the left of a product: a row's values lie in `parts` of `len` each, `jump` apart.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    /// Values from one row to the next.
    pub(super) stride: usize,
    pub(super) parts: usize,
    pub(super) len: usize,
    pub(super) jump: usize,
}

impl<'a> Left<'a> {
    /// Rows one after the other.
    pub(super) fn plain(values: &'a [f32], inner: usize) -> Self {
        let rows = values.len().checked_div(inner).unwrap_or(0);
        Self { values, rows, stride: inner, parts: 1, len: inner, jump: 0 }
    }
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
