//! Changes drawn from a list: `TrivialAugmentWide` (Müller & Hutter 2021, arXiv:2103.10158) and `RandAugment` (Cubuk et al.
//! 2020, arXiv:1909.13719), with the lists and magnitudes of torchvision.

use mobilenet_common::random::SplitMix64;
use mobilenet_schema::Policy;

use super::{affine, color};

/// How many steps a magnitude has.
pub(crate) const BINS: usize = 31;

/// A change, in torchvision's order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Op {
    Identity,
    ShearX(f64),
    ShearY(f64),
    /// By whole pixels.
    TranslateX(i64),
    TranslateY(i64),
    /// By degrees.
    Rotate(f64),
    Brightness(f64),
    Color(f64),
    Contrast(f64),
    Sharpness(f64),
    /// To so many bits.
    Posterize(u32),
    Solarize(f64),
    AutoContrast,
    Equalize,
}

/// Number of changes to draw from.
const OPS: usize = 14;

impl Op {
    /// Number `op` of the list at step `bin`, the other way round if `negative`, for pictures of `(height, width)`.
    pub fn new(policy: Policy, op: usize, bin: usize, negative: bool, (height, width): (usize, usize)) -> Self {
        let wide = !matches!(policy, Policy::RandAugment { .. });
        let sign = if negative { -1.0 } else { 1.0 };
        let at = |most: f64| sign * linspace(0.0, most, bin);
        let shear = if wide { 0.99 } else { 0.3 };
        let enhance = if wide { 0.99 } else { 0.9 };
        let shift = |side: usize| if wide { 32.0 } else { 150.0 / 331.0 * side as f64 };
        match op {
            1 => Self::ShearX(at(shear)),
            2 => Self::ShearY(at(shear)),
            3 => Self::TranslateX(at(shift(width)) as i64),
            4 => Self::TranslateY(at(shift(height)) as i64),
            5 => Self::Rotate(at(if wide { 135.0 } else { 30.0 })),
            6 => Self::Brightness(1.0 + at(enhance)),
            7 => Self::Color(1.0 + at(enhance)),
            8 => Self::Contrast(1.0 + at(enhance)),
            9 => Self::Sharpness(1.0 + at(enhance)),
            10 => {
                let per_bit = (BINS - 1) as f32 / if wide { 6.0 } else { 4.0 };
                Self::Posterize(8 - (bin as f32 / per_bit).round_ties_even() as u32)
            }
            11 => Self::Solarize(linspace(255.0, 0.0, bin)),
            12 => Self::AutoContrast,
            13 => Self::Equalize,
            _ => Self::Identity,
        }
    }

    /// Changes a picture `[height, width, 3]`.
    pub fn apply(self, pixels: &mut [u8], size: (usize, usize)) {
        match self {
            Self::Identity => {}
            Self::ShearX(x) => affine::shear(pixels, size, (x, 0.0)),
            Self::ShearY(y) => affine::shear(pixels, size, (0.0, y)),
            Self::TranslateX(right) => affine::translate(pixels, size, (right, 0)),
            Self::TranslateY(down) => affine::translate(pixels, size, (0, down)),
            Self::Rotate(degrees) => affine::rotate(pixels, size, degrees),
            Self::Brightness(factor) => color::brightness(pixels, factor as f32),
            Self::Color(factor) => color::saturation(pixels, factor as f32),
            Self::Contrast(factor) => color::contrast(pixels, factor as f32),
            Self::Sharpness(factor) => color::sharpness(pixels, size, factor as f32),
            Self::Posterize(bits) => color::posterize(pixels, bits),
            Self::Solarize(threshold) => color::solarize(pixels, threshold),
            Self::AutoContrast => color::autocontrast(pixels),
            Self::Equalize => color::equalize(pixels),
        }
    }
}

/// `torch.linspace(start, end, BINS)[bin]`, which is reckoned from the nearer end and in float32.
fn linspace(start: f64, end: f64, bin: usize) -> f64 {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (BINS - 1) as f32;
    let value = if bin < BINS / 2 { start + step * bin as f32 } else { end - step * (BINS - 1 - bin) as f32 };
    f64::from(value)
}

/// What is done to one picture of `size`, in this order.
pub(super) fn draw(policy: Policy, rng: &mut SplitMix64, size: (usize, usize)) -> Vec<Op> {
    let mut op = |bin: Option<usize>| {
        let (op, drawn) = (rng.below(OPS), rng.below(BINS));
        Op::new(policy, op, bin.unwrap_or(drawn), rng.below(2) == 1, size)
    };
    match policy {
        Policy::None => Vec::new(),
        Policy::TrivialAugmentWide => vec![op(None)],
        Policy::RandAugment { ops, magnitude } => (0..ops).map(|_| op(Some(magnitude))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_and_step_is_drawn() {
        let (mut ops, mut bits) = (std::collections::HashSet::new(), std::collections::HashSet::new());
        for i in 0..5000 {
            let drawn = draw(Policy::TrivialAugmentWide, &mut SplitMix64::keyed(&[i]), (20, 30));
            assert_eq!(drawn.len(), 1);
            ops.insert(std::mem::discriminant(&drawn[0]));
            if let Op::Posterize(n) = drawn[0] {
                bits.insert(n);
            }
        }
        assert_eq!((ops.len(), bits.len()), (OPS, 7));
        let rand = Policy::RandAugment { ops: 3, magnitude: 9 };
        assert_eq!(draw(rand, &mut SplitMix64::keyed(&[1]), (20, 30)).len(), 3);
        assert_eq!(draw(Policy::None, &mut SplitMix64::keyed(&[1]), (20, 30)), []);
    }

    #[test]
    fn magnitudes_are_torchs() {
        // torch.linspace(0, 0.99, 31)[9], [22]; linspace(255, 0, 31)[7]; PyTorch 2.15
        for (start, end, bin, expected) in
            [(0.0, 0.99, 9, 0.297), (0.0, 0.99, 22, 0.726), (255.0, 0.0, 7, 195.5), (0.0, 135.0, 20, 90.0)]
        {
            assert!((linspace(start, end, bin) - expected).abs() < 1e-6);
        }
    }
}
