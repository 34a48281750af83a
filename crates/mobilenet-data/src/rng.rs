//! Keyed pseudo-random numbers: SplitMix64 (Steele, Lea, Flood 2014).
//!
//! A drawn data set and the order of its batches must be the same bits for ever. Neither the
//! generators of `rand` nor its range sampling promise that over releases, so these few lines do.

/// A stream of numbers that depends on its key alone.
pub(crate) struct Rng(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Rng {
    /// The stream of a key such as `[purpose, seed, epoch, index]`.
    pub(crate) fn keyed(key: &[u64]) -> Self {
        Self(key.iter().fold(GAMMA, |state, &word| mix(state ^ word).wrapping_add(GAMMA)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Uniform in `0..n`; 0 if `n` is 0. The bias, below `n / 2^64`, is of no account here.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Uniform in `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.next() >> 40) as f32 / (1u64 << 24) as f32;
        low + (high - low) * unit
    }

    /// Fisher-Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_stream() {
        // First outputs of SplitMix64 for the seed 1234567, as in the reference C code.
        let mut rng = Rng(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn every_word_of_the_key_counts() {
        let mut seen = std::collections::HashSet::new();
        for a in 0..10 {
            for b in 0..10 {
                assert!(seen.insert(Rng::keyed(&[a, b]).next()), "key [{a}, {b}] seen before");
            }
        }
    }

    #[test]
    fn shuffle_is_a_fair_permutation() {
        let mut counts = [[0u32; 4]; 4];
        for seed in 0..4000 {
            let mut items = [0, 1, 2, 3];
            Rng::keyed(&[seed]).shuffle(&mut items);
            for (place, item) in items.into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        // Mean 1000, standard deviation 27.
        assert!(counts.iter().flatten().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
