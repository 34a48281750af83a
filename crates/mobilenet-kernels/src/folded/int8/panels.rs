//! Weights of a product of bytes, laid out for it.

use super::super::aligned::Aligned;
use super::super::panels::panels;
use super::output::{Affine, Scales, is_signed, scale_and_bias, start};
use crate::simd::{Level, Set};

/// Numbers in a register, and bytes that a step of a product's sum takes.
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
fn word(step: usize, weights: [i8; 4]) -> u32 {
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
        let panels = panels(columns, lanes, 2);
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
    /// Words of a row of the left, and of a column.
    pub(super) steps: usize,
    pub(super) words: &'a [u32],
    pub(super) scales: Scales<'a>,
    pub(super) is_double: bool,
}
