//! What is done to a product before it leaves the registers.

use crate::activation::Activation;
use crate::simd::Isa;

/// An activation, as a product applies it to its results.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Epilogue {
    /// Values are kept between two limits: ReLU, ReLU6, or nothing at all.
    Clamp {
        /// The least.
        low: f32,
        /// The greatest.
        high: f32,
    },
    /// h-swish.
    HSwish,
    /// h-sigmoid.
    HSigmoid,
    /// Straight pieces.
    Pieces(Pieces),
}

/// The most kinks of [`Pieces`].
const MAX_KINKS: usize = 8;

/// A function of straight pieces: 0 up to the first kink, and from each kink on steeper or flatter by a slope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pieces {
    count: usize,
    kinks: [f32; MAX_KINKS],
    slopes: [f32; MAX_KINKS],
}

/// Why numbers are no [`Pieces`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pieces: expected 1 to {MAX_KINKS} finite kinks in ascending order with a finite slope each, found {found}")]
pub struct PiecesError {
    found: String,
}

impl Pieces {
    /// `f(x) = Σ slopes[i] · max(x - kinks[i], 0)`
    ///
    /// # Errors
    /// No kink or more than eight, not as many slopes, kinks that do not ascend, or values that are not finite.
    pub fn new(kinks: &[f32], slopes: &[f32]) -> Result<Self, PiecesError> {
        let ascend = kinks.windows(2).all(|pair| pair[0] < pair[1]);
        let finite = kinks.iter().chain(slopes).all(|value| value.is_finite());
        if kinks.is_empty() || kinks.len() > MAX_KINKS || slopes.len() != kinks.len() || !ascend || !finite {
            return Err(PiecesError { found: format!("kinks {kinks:?} and slopes {slopes:?}") });
        }
        let mut pieces = Self { count: kinks.len(), kinks: [0.; MAX_KINKS], slopes: [0.; MAX_KINKS] };
        pieces.kinks[..kinks.len()].copy_from_slice(kinks);
        pieces.slopes[..kinks.len()].copy_from_slice(slopes);
        Ok(pieces)
    }

    /// Where the slope changes.
    pub fn kinks(&self) -> &[f32] {
        &self.kinks[..self.count]
    }

    /// By how much it changes.
    pub fn slopes(&self) -> &[f32] {
        &self.slopes[..self.count]
    }

    /// The function's value.
    #[must_use]
    pub fn value(&self, x: f32) -> f32 {
        self.kinks().iter().zip(self.slopes()).map(|(kink, slope)| slope * (x - kink).max(0.)).sum()
    }
}

impl Epilogue {
    /// Nothing.
    pub const IDENTITY: Self = Self::Clamp { low: f32::NEG_INFINITY, high: f32::INFINITY };

    /// Its value for one number.
    #[must_use]
    pub fn value(&self, x: f32) -> f32 {
        match self {
            Self::Clamp { low, high } => clamp(x, *low, *high),
            Self::HSwish => h_swish(x),
            Self::HSigmoid => h_sigmoid(x),
            Self::Pieces(pieces) => pieces.value(x),
        }
    }

    /// Applies it to a register.
    #[inline(always)]
    pub(super) fn apply<I: Isa, const L: usize>(&self, isa: I, values: [f32; L]) -> [f32; L] {
        match self {
            Self::Clamp { low, high } => isa.at_most(*high, isa.at_least(*low, values)),
            Self::HSwish => isa.mul(values, h_sigmoids(isa, values)),
            Self::HSigmoid => h_sigmoids(isa, values),
            Self::Pieces(pieces) => pieces.values(isa, values),
        }
    }
}

impl Pieces {
    #[inline(always)]
    fn values<I: Isa, const L: usize>(&self, isa: I, values: [f32; L]) -> [f32; L] {
        let mut sums = [0.; L];
        for (kink, slope) in self.kinks.iter().zip(&self.slopes).take(self.count) {
            // Not fused: what is rounded to bytes afterwards is the same at every instruction set.
            sums = isa.add(sums, isa.mul([*slope; L], isa.at_least(0., isa.add(values, [-kink; L]))));
        }
        sums
    }
}

impl From<Activation> for Epilogue {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Identity => Self::IDENTITY,
            Activation::Relu => Self::Clamp { low: 0., high: f32::INFINITY },
            Activation::Relu6 => Self::Clamp { low: 0., high: 6. },
            Activation::HSwish => Self::HSwish,
            Activation::HSigmoid => Self::HSigmoid,
        }
    }
}

#[inline(always)]
fn h_sigmoids<I: Isa, const L: usize>(isa: I, values: [f32; L]) -> [f32; L] {
    let clamped = isa.at_most(6., isa.at_least(0., isa.add(values, [3.; L])));
    isa.mul(clamped, [1. / 6.; L])
}

/// Keeps NaN.
#[inline(always)]
fn clamp(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

#[inline(always)]
fn h_sigmoid(x: f32) -> f32 {
    clamp(x + 3., 0., 6.) * (1. / 6.)
}

#[inline(always)]
fn h_swish(x: f32) -> f32 {
    x * h_sigmoid(x)
}
