//! bf16: the upper half of a float32's bits, and two such values in a word.

/// Two bf16 values, the first in the lower half.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(transparent)]
pub struct Pair(pub(crate) u32);

impl Pair {
    /// The nearest bf16 values.
    #[inline(always)]
    pub(crate) fn new(first: f32, second: f32) -> Self {
        Self(rounded_bits(first) >> 16 | rounded_bits(second) & 0xffff_0000)
    }

    /// As float32, which holds every bf16 exactly.
    #[inline(always)]
    pub(crate) fn values(self) -> [f32; 2] {
        [f32::from_bits(self.0 << 16), f32::from_bits(self.0 & 0xffff_0000)]
    }
}

/// A word whose upper half is the bf16 nearest to `x`: of two as near, the even one.
#[inline(always)]
pub(crate) fn rounded_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    // A NaN must not be rounded to an infinity. As numbers, its bits are above those of the infinities.
    let nan = bits & 0x7fff_ffff > 0x7f80_0000;
    let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    if nan { bits | 0x0040_0000 } else { up }
}

/// The bits of the bf16 nearest to `x`, of two as near the even one: what is too large becomes an infinity, a NaN stays one.
#[inline]
#[must_use]
pub fn f32_to_bf16(x: f32) -> u16 {
    (rounded_bits(x) >> 16) as u16
}

/// The value of a bf16, given by its bits: float32 holds every one exactly.
#[inline]
#[must_use]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_the_nearest_and_ties_to_the_even_one() {
        let ulp = 1. / 128.;
        for (x, expected) in [
            (1., 1.),
            (-1., -1.),
            (1. + 0.5 * ulp, 1.),
            (1. + 1.5 * ulp, 1. + 2. * ulp),
            (1. + 0.51 * ulp, 1. + ulp),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(Pair::new(x, 0.).values(), [expected, 0.], "{x}");
            assert_eq!(Pair::new(0., x).values(), [0., expected], "{x}");
        }
        for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001] {
            let [first, second] = Pair::new(f32::from_bits(bits), f32::from_bits(bits)).values();
            assert!(first.is_nan() && second.is_nan(), "{bits:x}");
        }
    }
}
