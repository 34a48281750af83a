//! What range each value has on calibration images, and where it is cut off.

use std::fmt;

use mobilenet_runtime::{Model, Network, Quantization, Session};

use crate::Result;

/// Bins of a value's histogram.
const BINS: usize = 2048;

/// Ends of a range that the least error is looked for among, on each side.
const ENDS: usize = 64;

/// Where a value's range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Calibration {
    /// At the least and the greatest that was seen.
    MinMax,
    /// Where one of 10,000 that were seen lies outside.
    Percentile,
    /// Where rounding and cutting off together make the least square error.
    Mse,
}

impl Calibration {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MinMax, Self::Percentile, Self::Mse];
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::MinMax => "min-max",
            Self::Percentile => "percentile",
            Self::Mse => "mse",
        })
    }
}

/// The values that were seen: of the image first, then of each operation.
pub(super) struct Ranges {
    values: Vec<Seen>,
}

/// What was seen of a value.
struct Seen {
    low: f32,
    high: f32,
    /// How many lie in each of as many equal bins from `low` to `high`.
    bins: Vec<u64>,
    /// Sums of each channel, then means.
    means: Vec<f64>,
    /// The greatest distance from 0 of each channel.
    peaks: Vec<f32>,
    pixels: u64,
}

impl Seen {
    fn new(channels: usize) -> Self {
        Self { low: 0., high: 0., bins: vec![0; BINS], means: vec![0.; channels], peaks: vec![0.; channels], pixels: 0 }
    }

    /// The first time: the range, which holds 0, and the channels' sums.
    fn measure(&mut self, values: &[f32]) {
        let channels = self.means.len();
        for pixel in values.chunks_exact(channels) {
            for ((sum, peak), value) in self.means.iter_mut().zip(&mut self.peaks).zip(pixel) {
                *sum += f64::from(*value);
                *peak = peak.max(value.abs());
                self.low = self.low.min(*value);
                self.high = self.high.max(*value);
            }
        }
        self.pixels += (values.len() / channels) as u64;
    }

    /// The second time: the histogram.
    fn count(&mut self, values: &[f32]) {
        let factor = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for value in values {
            let bin = ((value - self.low) * factor) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
        }
    }

    /// The middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        f64::from(self.low) + (bin as f64 + 0.5) * f64::from(self.high - self.low) / BINS as f64
    }

    fn range(&self, calibration: Calibration) -> (f32, f32) {
        match calibration {
            Calibration::MinMax => (self.low, self.high),
            Calibration::Percentile => self.percentile(),
            Calibration::Mse => self.least_error(),
        }
    }

    /// Without the outermost ten-thousandth on each side that does not begin at 0.
    fn percentile(&self) -> (f32, f32) {
        let outside = self.bins.iter().sum::<u64>() / 10_000;
        let find = |mut bins: Box<dyn Iterator<Item = (usize, &u64)> + '_>| {
            let mut seen = 0;
            bins.by_ref().find_map(|(bin, count)| {
                seen += count;
                (seen > outside).then_some(bin)
            })
        };
        let last = find(Box::new(self.bins.iter().enumerate().rev())).unwrap_or(BINS - 1);
        let first = find(Box::new(self.bins.iter().enumerate())).unwrap_or(0);
        let edge = |bin: usize| self.low + bin as f32 * (self.high - self.low) / BINS as f32;
        (edge(first).min(0.), edge(last + 1).max(0.))
    }

    /// The ends with the least sum of squares of what is rounded and cut off, one side after the other.
    fn least_error(&self) -> (f32, f32) {
        let (mut low, mut high) = (self.low, self.high);
        for _ in 0..2 {
            let shares = || (ENDS / 8..=ENDS).map(|i| i as f32 / ENDS as f32);
            let error = |low: f32, high: f32| (self.error(low, high), low, high);
            let least = |(a, ..): &(f64, f32, f32), (b, ..): &(f64, f32, f32)| a.total_cmp(b);
            if let Some((_, _, found)) = shares().map(|share| error(low, self.high * share)).min_by(least) {
                high = found;
            }
            if let Some((_, found, _)) = shares().map(|share| error(self.low * share, high)).min_by(least) {
                low = found;
            }
        }
        (low, high)
    }

    fn error(&self, low: f32, high: f32) -> f64 {
        let (low, high) = (f64::from(low), f64::from(high));
        let step = (high - low) / 255.;
        let squares = self.bins.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, &count)| {
            let value = self.middle(bin);
            let outside = (value - high).max(low - value).max(0.);
            count as f64 * (outside * outside + if outside > 0. { 0. } else { step * step / 12. })
        });
        squares.sum()
    }
}

impl Ranges {
    /// Runs the network on these images twice: for ranges and means, then for histograms.
    pub(super) fn observe(network: &Network, images: &[f32], batch: usize) -> Result<Self> {
        let shapes = network.shapes()?;
        let mut ranges = Self { values: shapes.iter().map(|shape| Seen::new(shape.c)).collect() };
        let mut session = Session::new(&Model::observable(network)?, 0)?;
        for counts in [false, true] {
            for images in images.chunks(batch * shapes[0].len()) {
                let values = &mut ranges.values;
                let mut take = |value: usize, numbers: &[f32]| {
                    let seen = &mut values[value];
                    if counts { seen.count(numbers) } else { seen.measure(numbers) }
                };
                take(0, images);
                session.observe(images, &mut |operation, numbers| take(operation + 1, numbers))?;
            }
        }
        for seen in &mut ranges.values {
            let pixels = seen.pixels.max(1) as f64;
            seen.means.iter_mut().for_each(|mean| *mean /= pixels);
        }
        Ok(ranges)
    }

    /// How a value is kept. Its range holds 0, which a byte stands for exactly.
    pub(super) fn quantization(&self, value: usize, calibration: Calibration) -> Quantization {
        let (low, high) = self.values[value].range(calibration);
        let scale = ((high - low) / 255.).max(f32::MIN_POSITIVE * 1e6);
        Quantization { scale, zero_point: (-low / scale).round_ties_even() as u8 }
    }

    /// The greatest distance from 0 of each channel of a value.
    pub(super) fn peaks(&self, value: usize) -> &[f32] {
        &self.values[value].peaks
    }

    /// The mean of each channel of a value.
    pub(super) fn means(&self, value: usize) -> Vec<f32> {
        self.values[value].means.iter().map(|mean| *mean as f32).collect()
    }
}
