//! Initial values: torchvision's distributions, and a variable builder that can be seeded.

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::init::{FanInOut, Init, NormalOrUniform};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{VarBuilder, VarMap};
use mobilenet_common::random::{box_muller, fnv1a};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Kaiming normal, fan-out, for a convolution weight `[c_out, c_in / groups, k, k]`, as torchvision initializes it.
///
/// The fan-out is `c_out * k * k / groups`: Candle's own `FanInOut::FanOut` leaves out the division by the groups.
pub(crate) fn kaiming_normal_fan_out(c_out: usize, kernel: usize, groups: usize) -> Init {
    let fan_out = (c_out * kernel * kernel) as f64 / groups as f64;
    Init::Randn { mean: 0., stdev: (2.0 / fan_out).sqrt() }
}

/// A builder of trainable variables in `vars` whose initial values are a function of `seed` and each variable's name.
///
/// `VarBuilder::from_varmap` draws from Candle's CPU generator, which cannot be seeded. Variables that `vars` already
/// holds are returned as they are, so that two modules can share a weight.
///
/// # Errors
/// Asking the builder for a variable that exists with another shape is an error.
pub fn seeded_var_builder(vars: &VarMap, seed: u64, dtype: DType, device: &Device) -> VarBuilder<'static> {
    let backend = SeededVars { vars: vars.clone(), seed };
    VarBuilder::from_backend(Box::new(backend), dtype, device.clone())
}

struct SeededVars {
    vars: VarMap,
    seed: u64,
}

impl SimpleBackend for SeededVars {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let Ok(mut vars) = self.vars.data().lock() else { bail!("the variable map is poisoned") };
        if let Some(var) = vars.get(name) {
            if var.shape() != &shape {
                bail!("variable {name}: expected shape {shape:?}, found {:?}", var.shape())
            }
            return Ok(var.as_tensor().clone());
        }
        let values = draw(init, &shape, self.seed ^ fnv1a(name.as_bytes()));
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)?;
        let tensor = var.as_tensor().clone();
        vars.insert(name.to_string(), var);
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        bail!("variable {name}: a shape is needed to create it")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.vars.data().lock().is_ok_and(|vars| vars.contains_key(name))
    }
}

fn draw(init: Init, shape: &Shape, seed: u64) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(seed);
    let n = shape.elem_count();
    match init {
        Init::Const(value) => vec![value as f32; n],
        Init::Uniform { lo, up } => uniform(&mut rng, n, lo, up),
        Init::Randn { mean, stdev } => normal(&mut rng, n, mean, stdev),
        Init::Kaiming { dist, fan, non_linearity } => {
            let fan = match fan {
                FanInOut::FanIn => FanInOut::FanIn.for_shape(shape),
                FanInOut::FanOut => FanInOut::FanOut.for_shape(shape),
            };
            let std = non_linearity.gain() / (fan as f64).sqrt();
            match dist {
                NormalOrUniform::Uniform => uniform(&mut rng, n, -3f64.sqrt() * std, 3f64.sqrt() * std),
                NormalOrUniform::Normal => normal(&mut rng, n, 0., std),
            }
        }
    }
}

fn uniform(rng: &mut StdRng, n: usize, lo: f64, up: f64) -> Vec<f32> {
    (0..n).map(|_| (lo + (up - lo) * rng.random::<f64>()) as f32).collect()
}

/// Two uniform draws make a value.
fn normal(rng: &mut StdRng, n: usize, mean: f64, std: f64) -> Vec<f32> {
    let mut value = || {
        let (u, v) = (1.0 - rng.random::<f64>(), rng.random::<f64>());
        (mean + box_muller(std, u, v)) as f32
    };
    (0..n).map(|_| value()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u64, name: &str) -> Result<Vec<f32>> {
        let vb = seeded_var_builder(&VarMap::new(), seed, DType::F32, &Device::Cpu);
        vb.get_with_hints(10_000, name, Init::Randn { mean: 1., stdev: 2. })?.to_vec1()
    }

    #[test]
    fn values_are_a_function_of_seed_and_name() -> Result<()> {
        assert_eq!(values(1, "a")?, values(1, "a")?);
        assert_ne!(values(1, "a")?, values(2, "a")?);
        assert_ne!(values(1, "a")?, values(1, "b")?);
        Ok(())
    }

    /// Trainings that were run before must be repeatable: the values of a seed and a name may not change.
    #[test]
    fn values_are_pinned() -> Result<()> {
        let vb = seeded_var_builder(&VarMap::new(), 42, DType::F32, &Device::Cpu);
        for (name, init, expected) in [
            ("normal", Init::Randn { mean: 0.25, stdev: 0.5 }, [0.50574267, -0.03650646, -0.15640348, 0.39472207]),
            ("uniform", Init::Uniform { lo: -1., up: 2. }, [1.8426253, 1.7864671, -0.9435612, 0.568462]),
        ] {
            let found: Vec<f32> = vb.get_with_hints(4, name, init)?.to_vec1()?;
            // Logarithms and cosines may differ in the last bit from one platform's library to another's.
            let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
            assert!(close, "{name}: {found:?}, expected {expected:?}");
        }
        Ok(())
    }

    #[test]
    fn normal_has_the_mean_and_deviation_asked_for() -> Result<()> {
        let v = values(3, "w")?;
        let mean = v.iter().sum::<f32>() / v.len() as f32;
        let var = v.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / v.len() as f32;
        assert!((mean - 1.0).abs() < 0.1, "mean {mean}");
        assert!((var.sqrt() - 2.0).abs() < 0.1, "std {}", var.sqrt());
        Ok(())
    }

    #[test]
    fn a_second_shape_for_the_same_name_is_an_error() -> Result<()> {
        let vb = seeded_var_builder(&VarMap::new(), 0, DType::F32, &Device::Cpu);
        vb.get_with_hints(3, "w", Init::Const(0.))?;
        assert!(vb.get_with_hints(4, "w", Init::Const(0.)).is_err());
        Ok(())
    }

    #[test]
    fn fan_out_of_a_grouped_convolution_is_divided_by_the_groups() {
        let Init::Randn { stdev, .. } = kaiming_normal_fan_out(96, 3, 96) else { panic!("a normal") };
        assert!((stdev - (2.0f64 / 9.0).sqrt()).abs() < 1e-12);
    }
}
