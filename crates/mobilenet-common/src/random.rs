//! Keyed pseudo-random numbers: SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators",
//! 2014), and hashes that make keys.
//!
//! A drawn data set, the order of its batches and a network's initial weights must be the same bits for ever. Neither
//! the generators of `rand` nor its range sampling promise that over releases; the tests here pin every value.

/// A stream of numbers that depends on its key alone.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SplitMix64 {
    /// The published generator's stream of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of a key such as `[purpose, seed, epoch, index]`: every word counts, and so does their order.
    #[must_use]
    pub fn keyed(key: &[u64]) -> Self {
        Self(key.iter().fold(GAMMA, |state, &word| finalize(state ^ word).wrapping_add(GAMMA)))
    }

    /// Uniform in all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        finalize(self.0)
    }

    /// Uniform in `0..n`; 0 if `n` is 0. The bias, below `n / 2^64`, is of no account here.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next_u64()) * n as u128) >> 64) as usize
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.next_u64() >> 40) as f32 / (1u64 << 24) as f32;
        low + (high - low) * unit
    }

    /// Uniform in `(0, 1]`.
    pub fn unit(&mut self) -> f64 {
        ((self.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `(low, high]`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        box_muller(1.0, u, v)
    }

    /// Beta(alpha, alpha) for an alpha above 0: the share of one of two Gamma draws in their sum.
    pub fn beta(&mut self, alpha: f64) -> f64 {
        let (a, b) = (self.ln_gamma_draw(alpha), self.ln_gamma_draw(alpha));
        1.0 / (1.0 + (b - a).exp())
    }

    /// The logarithm (a small shape's draws are too small to be numbers themselves) of one draw from Gamma(shape, 1):
    /// Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000.
    fn ln_gamma_draw(&mut self, shape: f64) -> f64 {
        // Their method is for shapes of 1 or more; a smaller one is the next larger times a power.
        let (shape, ln_boost) = if shape < 1.0 { (shape + 1.0, self.unit().ln() / shape) } else { (shape, 0.0) };
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return (d.ln() + v.ln() + ln_boost).max(f64::MIN);
            }
        }
    }

    /// Puts `items` in a random order, each as likely as any other (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn finalize(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One well-mixed number from several, such as a generator's seed from `[seed, epoch, step]`.
#[must_use]
pub fn mix(words: &[u64]) -> u64 {
    words.iter().fold(0, |state, word| SplitMix64::new(state ^ word).next_u64())
}

/// A normal number of mean 0 and standard deviation `std` from two uniform ones, `u` in `(0, 1]` and `v` in `0..=1`
/// (Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958). The same on every platform but for
/// its `ln` and `cos`.
#[must_use]
pub fn box_muller(std: f64, u: f64, v: f64) -> f64 {
    std * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a of 64 bits (Fowler, Noll and Vo): spreads names over seeds. Not a cryptographic hash.
///
/// ```
/// assert_eq!(mobilenet_common::random::fnv1a(b"foobar"), 0x85944171f73967e8);
/// ```
#[must_use]
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// A number that tells large contents apart: FNV-1a's steps over whole words, each followed by a rotation, which
/// carries the upper bits of a word down to the lower ones. Not a cryptographic hash.
#[derive(Clone, Debug)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(FNV_OFFSET)
    }

    /// Adds a word.
    pub fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(FNV_PRIME).rotate_left(29);
    }

    /// Adds bytes, eight to a little-endian word; a last word is filled with zeros.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }

    /// The fingerprint of what was added so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_stream() {
        // First outputs of SplitMix64 for the seed 1234567, as in the reference C code.
        let mut rng = SplitMix64::new(1_234_567);
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
    }

    /// Runs that were trained before must be repeatable: none of these may change.
    #[test]
    fn every_draw_is_pinned() {
        let mut rng = SplitMix64::keyed(&[3, 42, u64::MAX]);
        assert_eq!([rng.next_u64(), rng.next_u64()], [1_200_583_726_824_108_945, 13_622_070_103_274_237_563]);
        assert_eq!([rng.below(10), rng.below(50_000)], [6, 8521]);
        assert_eq!(rng.between(-1.0, 3.0).to_bits(), 0x3fcb_e322);
        assert_eq!(rng.unit().to_bits(), 0x3fcc_597a_c65e_fe08);
        assert_eq!(rng.uniform(-2.0, 5.0).to_bits(), 0x4012_dacf_4fd3_a8f8);
        let mut items: Vec<u8> = (0..10).collect();
        rng.shuffle(&mut items);
        assert_eq!(items, [4, 7, 0, 5, 2, 1, 8, 3, 6, 9]);
        // Logarithms and cosines may differ in the last bit from one platform's library to another's.
        for (alpha, bits) in [(0.2, 0x3fef_f340_0a9b_d2b9), (2.0, 0x3fcd_85a9_83a8_8a0d)] {
            let (found, expected) = (rng.beta(alpha), f64::from_bits(bits));
            assert!((found / expected - 1.0).abs() < 1e-12, "{found}, expected {expected}");
        }
    }

    #[test]
    fn every_hash_is_pinned() {
        assert_eq!([mix(&[42, 1, 7]), mix(&[])], [1_952_419_378_684_700_410, 0]);
        // The first two are published with the algorithm.
        for (name, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("features.0.0.weight", 0xdc61_ac3b_f102_0d2c)]
        {
            assert_eq!(fnv1a(name.as_bytes()), hash, "{name}");
        }
        let mut fingerprint = Fingerprint::new();
        [32, 32, 7].into_iter().for_each(|word| fingerprint.add(word));
        fingerprint.add_bytes(b"hello, pixels");
        assert_eq!(fingerprint.value(), 0xc2d6_efe9_5a8e_f6df);
    }

    #[test]
    fn every_word_of_the_key_counts() {
        let mut seen = std::collections::HashSet::new();
        for a in 0..10 {
            for b in 0..10 {
                assert!(seen.insert(SplitMix64::keyed(&[a, b]).next_u64()), "key [{a}, {b}] seen before");
                assert!(seen.insert(mix(&[a, b])), "words [{a}, {b}] seen before");
            }
        }
    }

    #[test]
    fn normal_numbers_have_their_moments() {
        let n = 100_000;
        let mut rng = SplitMix64::keyed(&[4]);
        let draws: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let moment = |power: i32| draws.iter().map(|x| x.powi(power)).sum::<f64>() / f64::from(n);
        // Five standard errors of each: the variances of x, x^2, x^3 and x^4 are 1, 2, 15 and 96.
        for (power, expected, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
            let (found, error) = (moment(power), (variance / f64::from(n)).sqrt());
            assert!((found - expected).abs() < 5.0 * error, "moment {power}: {found}, expected {expected}");
        }
        assert_eq!(box_muller(2.0, 0.3, 0.1), 2.0 * box_muller(1.0, 0.3, 0.1));
    }

    #[test]
    fn beta_has_its_moments() {
        for alpha in [0.05, 0.2, 1.0, 4.0, 1000.0] {
            let n = 20_000;
            let mut rng = SplitMix64::keyed(&[5]);
            let draws: Vec<f64> = (0..n).map(|_| rng.beta(alpha)).collect();
            assert!(draws.iter().all(|x| (0.0..=1.0).contains(x)), "{alpha}");
            let moment = |power: i32| draws.iter().map(|x| (x - 0.5).powi(power)).sum::<f64>() / f64::from(n);
            let variance = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // The fourth moment tells apart distributions of the same variance: 3 v^2 (2a + 1) / (2a + 3).
            let fourth = 3.0 * variance * variance * (2.0 * alpha + 1.0) / (2.0 * alpha + 3.0);
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            assert!((mean - 0.5).abs() < 5.0 * (variance / f64::from(n)).sqrt(), "{alpha}: mean {mean}");
            assert!((moment(2) / variance - 1.0).abs() < 0.05, "{alpha}: variance {}, {variance}", moment(2));
            assert!((moment(4) / fourth - 1.0).abs() < 0.12, "{alpha}: fourth moment {}, {fourth}", moment(4));
        }
    }

    #[test]
    fn beta_of_extremes_is_a_number() {
        let mut rng = SplitMix64::keyed(&[6]);
        for alpha in [f64::MIN_POSITIVE, 1e-300, 1e-3, 1e9, 1e300, f64::MAX] {
            for _ in 0..100 {
                let x = rng.beta(alpha);
                assert!((0.0..=1.0).contains(&x), "{alpha}: {x}");
            }
        }
    }

    #[test]
    fn shuffle_is_a_fair_permutation() {
        let mut counts = [[0u32; 4]; 4];
        for seed in 0..4000 {
            let mut items = [0, 1, 2, 3];
            SplitMix64::keyed(&[seed]).shuffle(&mut items);
            for (place, item) in items.into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        // Mean 1000, standard deviation 27.
        assert!(counts.iter().flatten().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
