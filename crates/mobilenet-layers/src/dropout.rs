//! Dropout whose masks can be reproduced.
//!
//! Candle's CPU generator cannot be seeded, so the mask is drawn here and uploaded. The generator's state is a value
//! the trainer sets before each step (as a function of its seed and the step), so that a resumed run draws the same
//! masks without any state to save.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The seed of the next dropout mask, shared by a model's dropout layers and whoever trains it.
#[derive(Clone, Debug, Default)]
pub struct DropoutRng(Arc<AtomicU64>);

impl DropoutRng {
    /// A generator seeded with 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the following masks a function of `seed`.
    pub fn reseed(&self, seed: u64) {
        self.0.store(seed, Ordering::Relaxed);
    }

    /// The next mask, of `len` elements: 0 with probability `p`, else `1 / (1 - p)`.
    pub fn mask(&self, p: f64, len: usize) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(self.0.fetch_add(1, Ordering::Relaxed));
        let keep = (1.0 / (1.0 - p)) as f32;
        (0..len).map(|_| if rng.random::<f64>() < p { 0. } else { keep }).collect()
    }
}

/// Zeroes each element with probability `p` in training and scales the others by `1 / (1 - p)`; the identity otherwise.
#[derive(Clone, Debug)]
pub struct Dropout {
    p: f64,
    rng: DropoutRng,
}

impl Dropout {
    /// Dropout with probability `p`, drawing from `rng`.
    ///
    /// # Errors
    /// `p` outside `[0, 1)`.
    pub fn new(p: f64, rng: DropoutRng) -> Result<Self> {
        if !(0.0..1.0).contains(&p) {
            bail!("dropout: expected a probability in [0, 1), found {p}")
        }
        Ok(Self { p, rng })
    }
}

impl ModuleT for Dropout {
    /// Any shape, kept.
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if !train || self.p == 0. {
            return Ok(xs.clone());
        }
        let mask = self.rng.mask(self.p, xs.elem_count());
        xs * Tensor::from_vec(mask, xs.shape(), xs.device())?.to_dtype(xs.dtype())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn keeps_the_mean_and_repeats_with_the_seed() -> Result<()> {
        let rng = DropoutRng::new();
        let dropout = Dropout::new(0.2, rng.clone())?;
        let xs = Tensor::ones(50_000, DType::F32, &Device::Cpu)?;
        let run = |seed| -> Result<Vec<f32>> {
            rng.reseed(seed);
            dropout.forward_t(&xs, true)?.to_vec1()
        };
        let (a, b, c) = (run(7)?, run(7)?, run(8)?);
        assert_eq!(a, b);
        assert_ne!(a, c);
        let mean = a.iter().sum::<f32>() / a.len() as f32;
        assert!((mean - 1.0).abs() < 0.01, "mean {mean}");
        assert!(a.iter().all(|v| *v == 0.0 || *v == 1.25));
        assert_eq!(dropout.forward_t(&xs, false)?.to_vec1::<f32>()?, vec![1.0; 50_000]);
        Ok(())
    }

    #[test]
    fn refuses_what_is_no_probability() {
        for p in [-0.1, 1.0, f64::NAN] {
            assert!(Dropout::new(p, DropoutRng::new()).is_err(), "{p}");
        }
    }
}
