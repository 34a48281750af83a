//! A pass over memory that computes next to nothing: what bandwidth is measured with.

use crate::simd::{Isa, Level, for_each_level};

/// `values[i] = 1 - values[i]`, in place and on the calling thread, a register at a time: each value is read and
/// written once, and after two passes all are what they were.
pub fn complement(values: &mut [f32]) {
    complement_at(Level::best(), values);
}

for_each_level! {
    fn complement_at(values: &mut [f32]) = complement_body
}

#[inline(always)]
fn complement_body<I: Isa>(_: I, values: &mut [f32]) {
    for value in values {
        *value = 1. - *value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passes_leave_the_values_as_they_were() {
        for level in Level::available() {
            for len in [0, 1, 37, 1000] {
                let before: Vec<f32> = (0..len).map(|i| i as f32 / 1024.).collect();
                let mut values = before.clone();
                complement_at(level, &mut values);
                assert!(values.iter().zip(&before).all(|(v, b)| *v == 1. - b), "{level} {len}");
                complement_at(level, &mut values);
                assert_eq!(values, before, "{level} {len}");
            }
        }
    }
}
