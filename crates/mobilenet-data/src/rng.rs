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

    /// Uniform in `(0, 1]`.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `(low, high]`.
    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Beta(alpha, alpha) for an alpha above 0: the share of one of two Gamma draws in their sum.
    pub(crate) fn beta(&mut self, alpha: f64) -> f64 {
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

    /// Standard normal (Box and Muller 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
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
    fn beta_has_its_moments() {
        for alpha in [0.05, 0.2, 1.0, 4.0, 1000.0] {
            let n = 20_000;
            let mut rng = Rng::keyed(&[5]);
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
        let mut rng = Rng::keyed(&[6]);
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
            Rng::keyed(&[seed]).shuffle(&mut items);
            for (place, item) in items.into_iter().enumerate() {
                counts[place][item] += 1;
            }
        }
        // Mean 1000, standard deviation 27.
        assert!(counts.iter().flatten().all(|c| (850..1150).contains(c)), "{counts:?}");
    }
}
