//! What follows a convolution's sums, as one operation under autograd.
//!
//! ```text
//! y = kept(activation(scale · sum + bias) + shortcut)
//! ```
//!
//! That is the order in which mobilenet-runtime applies them on the way out of a product. In 8 bits sums, shortcut and `y` are
//! in steps, and float32 operations are the runtime's, one by one; where the activation is a clamp and there is no shortcut,
//! one scale and bias take sums to `y`. In float32 there are no scales. Tensors are `[n, h, w, c]`; one pass forward and one
//! backward, where Candle's own operations would take a dozen.

mod sums;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::fake::{Kept, as_slice, with_slices};
use crate::function::Function;
pub(crate) use sums::Sums;

/// Numbers of a task, about: what it needs lies in a core's cache.
const PART: usize = 1 << 14;

/// What follows the sums.
#[derive(Clone, Debug)]
pub(crate) struct Finish {
    pub(crate) function: Function,
    pub(crate) sums: Option<Sums>,
    /// What a step of the shortcut stands for.
    pub(crate) shortcut: Option<f32>,
    pub(crate) kept: Option<Kept>,
}

impl Finish {
    /// `[n, h, w, c]`, a bias `[c]`, and a shortcut of the same shape if there is one.
    pub(crate) fn apply(self, sums: &Tensor, bias: &Tensor, shortcut: Option<&Tensor>) -> Result<Tensor> {
        let (sums, bias) = (sums.contiguous()?, bias.contiguous()?);
        match shortcut {
            Some(shortcut) => sums.apply_op3(&bias, &shortcut.contiguous()?, self),
            None => sums.apply_op2(&bias, self),
        }
    }

    /// What the activation is applied to.
    fn scaled(&self, sums: &[f32], bias: &[f32]) -> Vec<f32> {
        let mut xs = Vec::with_capacity(sums.len());
        let Some(parts) = &self.sums else {
            for row in sums.chunks_exact(bias.len().max(1)) {
                xs.extend(row.iter().zip(bias).map(|(sum, bias)| sum + bias));
            }
            return xs;
        };
        let channels: Vec<(f32, f32)> = parts.scale.iter().copied().zip(parts.bias(bias)).collect();
        xs.extend(parts.scaled(sums, &channels));
        xs
    }

    /// The result where nothing but a clamp is between sums and steps; else there is none.
    fn clamped(&self, sums: &[f32], bias: &[f32], ys: &mut [f32]) -> Option<()> {
        let (parts, kept, limits) = (self.sums.as_ref()?, self.kept?, self.function.clamp()?);
        if self.shortcut.is_some() {
            return None;
        }
        let channels = parts.scale.iter().zip(parts.bias(bias));
        let channels: Vec<(f32, f32)> = channels.map(|(scale, bias)| kept.scale_and_bias(*scale, bias)).collect();
        let limits = kept.limits(limits);
        ys.iter_mut().zip(parts.scaled(sums, &channels)).for_each(|(y, byte)| *y = kept.steps_between(byte, limits));
        Some(())
    }

    /// Adds the shortcut.
    fn add(&self, ys: &mut [f32], shortcut: Option<&[f32]>) {
        let step = self.shortcut.unwrap_or(1.);
        if let Some(shortcut) = shortcut {
            ys.iter_mut().zip(shortcut).for_each(|(y, added)| *y += step * added);
        }
    }

    fn forward(&self, sums: &[f32], bias: &[f32], shortcut: Option<&[f32]>) -> Vec<f32> {
        let part = part(bias.len());
        let mut ys = vec![0.; sums.len()];
        ys.par_chunks_mut(part).enumerate().for_each(|(i, ys)| {
            let sums = &sums[i * part..i * part + ys.len()];
            if self.clamped(sums, bias, ys).is_some() {
                return;
            }
            self.function.forward(&self.scaled(sums, bias), ys);
            self.add(ys, shortcut.map(|shortcut| &shortcut[i * part..]));
            if let Some(kept) = self.kept {
                ys.iter_mut().for_each(|y| *y = kept.steps(*y));
            }
        });
        ys
    }

    /// The gradients of sums, bias, and shortcut.
    fn backward(&self, sums: &[f32], bias: &[f32], shortcut: Option<&[f32]>, gys: &[f32]) -> [Vec<f32>; 3] {
        let part = part(bias.len());
        let mut gsums = vec![0.; sums.len()];
        // Of the shortcut: what passes through `kept`.
        let mut passed = gys.to_vec();
        let parts = gsums.par_chunks_mut(part).zip(passed.par_chunks_mut(part)).enumerate();
        let of_bias: Vec<Vec<f32>> = parts
            .map(|(i, (gsums, passed))| {
                let range = i * part..i * part + gsums.len();
                let xs = self.scaled(&sums[range.clone()], bias);
                if let Some(kept) = self.kept {
                    self.function.forward(&xs, gsums);
                    self.add(gsums, shortcut.map(|shortcut| &shortcut[range]));
                    passed.iter_mut().zip(&*gsums).for_each(|(gradient, y)| *gradient = kept.gradient(*y, *gradient));
                }
                self.function.backward(&xs, passed, gsums);
                let mut of_bias = vec![0.; bias.len()];
                for row in gsums.chunks_exact_mut(bias.len()) {
                    of_bias.iter_mut().zip(&*row).for_each(|(sum, gradient)| *sum += gradient);
                    if let Some(Sums { scale, .. }) = &self.sums {
                        row.iter_mut().zip(scale).for_each(|(gradient, scale)| *gradient *= scale);
                    }
                }
                if let Some(step) = self.shortcut {
                    passed.iter_mut().for_each(|gradient| *gradient *= step);
                }
                of_bias
            })
            .collect();
        let mut gbias = vec![0.; bias.len()];
        for of_part in of_bias {
            gbias.iter_mut().zip(of_part).for_each(|(sum, gradient)| *sum += gradient);
        }
        [gsums, gbias, passed]
    }

    /// The gradients as tensors.
    fn gradients(&self, sums: &Tensor, bias: &Tensor, shortcut: Option<&Tensor>, gys: &Tensor) -> Result<[Tensor; 3]> {
        let [gsums, gbias, passed] = match shortcut {
            Some(shortcut) => with_slices([sums, bias, shortcut, gys], |[sums, bias, shortcut, gys]| {
                self.backward(sums, bias, Some(shortcut), gys)
            })?,
            None => with_slices([sums, bias, gys], |[sums, bias, gys]| self.backward(sums, bias, None, gys))?,
        };
        let device = sums.device();
        Ok([
            Tensor::from_vec(gsums, sums.shape(), device)?,
            Tensor::from_vec(gbias, bias.shape(), device)?,
            Tensor::from_vec(passed, sums.shape(), device)?,
        ])
    }
}

/// Numbers of a task: whole pixels of so many channels.
fn part(channels: usize) -> usize {
    PART.div_ceil(channels.max(1)) * channels.max(1)
}

impl CustomOp2 for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    fn cpu_fwd(&self, sums: &CpuStorage, l1: &Layout, bias: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let ys = self.forward(as_slice(sums, l1)?, as_slice(bias, l2)?, None);
        Ok((CpuStorage::F32(ys), l1.shape().clone()))
    }

    fn bwd(&self, sums: &Tensor, bias: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [gsums, gbias, _] = self.gradients(sums, bias, None, gys)?;
        Ok((Some(gsums), Some(gbias)))
    }
}

impl CustomOp3 for Finish {
    fn name(&self) -> &'static str {
        "finish-with-shortcut"
    }

    fn cpu_fwd(
        &self,
        sums: &CpuStorage,
        l1: &Layout,
        bias: &CpuStorage,
        l2: &Layout,
        shortcut: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ys = self.forward(as_slice(sums, l1)?, as_slice(bias, l2)?, Some(as_slice(shortcut, l3)?));
        Ok((CpuStorage::F32(ys), l1.shape().clone()))
    }

    fn bwd(
        &self,
        sums: &Tensor,
        bias: &Tensor,
        shortcut: &Tensor,
        _: &Tensor,
        gys: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [gsums, gbias, gshortcut] = self.gradients(sums, bias, Some(shortcut), gys)?;
        Ok((Some(gsums), Some(gbias), Some(gshortcut)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use candle_nn::Module;
    use mobilenet_layers::Activate;
    use mobilenet_runtime::{Activation, Quantization};
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::fake::{self, Steps};

    /// Values, not at a kink, from -5 to 5.
    fn random(shape: &[usize], seed: u64) -> Result<Var> {
        let mut random = StdRng::seed_from_u64(seed);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.random::<f32>() * 10. - 5.).collect();
        Var::from_vec(values, shape, &Device::Cpu)
    }

    /// The definition in operations of Candle.
    fn compose(activation: &Activation, kept: Option<Kept>, [sums, bias, shortcut]: [&Tensor; 3]) -> Result<Tensor> {
        let xs = sums.broadcast_add(bias)?;
        let ys = match activation {
            Activation::Pieces { kinks, slopes } => {
                let mut sum = xs.zeros_like()?;
                for (kink, slope) in kinks.iter().zip(slopes) {
                    sum = (sum + ((&xs - f64::from(*kink))?.relu()? * f64::from(*slope))?)?;
                }
                sum
            }
            other => match Function::new(other)? {
                // Tested against Candle's own operations where it is.
                Function::Named(name) => Activate(name).forward(&xs.flatten_to(2)?)?.reshape(xs.shape())?,
                Function::Pieces(_) => xs,
            },
        };
        let ys = (ys + shortcut)?;
        kept.map_or(Ok(ys.clone()), |kept| fake::values(&ys, kept))
    }

    /// What was found and what was expected differ by 1e-5 of the largest value at most.
    fn assert_close(pairs: &[(Tensor, Tensor)], case: &str) -> Result<()> {
        for (i, (found, expected)) in pairs.iter().enumerate() {
            let largest = expected.abs()?.max_all()?.to_scalar::<f32>()?;
            let error = (found - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(error < 1e-5 * largest, "{case}, {i}: {error} of {largest}");
        }
        Ok(())
    }

    #[test]
    fn agrees_with_the_composition_and_its_gradients() -> Result<()> {
        let pieces = Activation::Pieces { kinks: vec![-3., 0.1, 3.], slopes: vec![-0.1, 0.7, 0.4] };
        // More than a task's numbers, and a number of channels that divides them not.
        let (shape, channels) = ([3, 19, 13, 37], 37);
        for activation in [Activation::Identity, Activation::Relu, Activation::Relu6, Activation::HSwish, pieces] {
            for kept in [None, Some(Kept::from(Quantization { scale: 0.03, zero_point: 90 }))] {
                let [sums, shortcut] = [random(&shape, 1)?, random(&shape, 2)?];
                let bias = random(&[channels], 3)?;
                let gys = random(&shape, 4)?;
                let finish = Finish { function: Function::new(&activation)?, sums: None, shortcut: None, kept };
                let found = finish.clone().apply(&sums, &bias, Some(&shortcut))?;
                let expected = compose(&activation, kept, [&sums, &bias, &shortcut])?;
                let gradients = |ys: &Tensor| (ys * gys.as_tensor())?.sum_all()?.backward();
                let (of_found, of_expected) = (gradients(&found)?, gradients(&expected)?);
                let mut pairs = vec![(found, expected)];
                for var in [&sums, &bias, &shortcut] {
                    pairs.push((of_found.get(var).unwrap().clone(), of_expected.get(var).unwrap().clone()));
                }
                assert_close(&pairs, &format!("{activation:?}, {kept:?}"))?;
                let plain = finish.apply(&sums, &bias, None)?;
                let none = shortcut.zeros_like()?;
                let expected = compose(&activation, kept, [&sums, &bias, &none])?;
                let error = (&plain - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
                assert!(error < 1e-5, "{activation:?}, {kept:?}: {error}");
                let of_plain = gradients(&plain)?;
                assert!(of_plain.get(&sums).is_some() && of_plain.get(&shortcut).is_none());
            }
        }
        Ok(())
    }

    /// The gradient is the slope of the function, measured.
    #[test]
    fn gradients_are_finite_differences() -> Result<()> {
        for activation in [Activation::Relu6, Activation::HSwish, Activation::HSigmoid] {
            let finish = Finish { function: Function::new(&activation)?, sums: None, shortcut: None, kept: None };
            let (sums, bias) = (random(&[1, 2, 3, 5], 5)?, random(&[5], 6)?);
            let of = |shift: f64| -> Result<Vec<f32>> {
                finish.clone().apply(&(sums.as_tensor() + shift)?, &bias, None)?.flatten_all()?.to_vec1()
            };
            let gradients = finish.clone().apply(&sums, &bias, None)?.sum_all()?.backward()?;
            let slopes = gradients.get(&sums).unwrap().flatten_all()?.to_vec1::<f32>()?;
            let xs = sums.broadcast_add(&bias)?.flatten_all()?.to_vec1::<f32>()?;
            let mut compared = 0;
            for (((high, low), slope), x) in of(1e-2)?.iter().zip(of(-1e-2)?).zip(slopes).zip(xs) {
                // At a kink there are two slopes.
                if [-3., 0., 3., 6.].iter().all(|kink| (x - kink).abs() > 0.02) {
                    assert!(((high - low) / 2e-2 - slope).abs() < 2e-3, "{activation:?} at {x}: {high} {low} {slope}");
                    compared += 1;
                }
            }
            assert!(compared > 20, "{activation:?}: {compared}");
        }
        Ok(())
    }

    /// Steps and scales change no value and no gradient of what they stand for.
    #[test]
    fn sums_of_steps_are_scaled_and_so_are_their_gradients() -> Result<()> {
        let (shape, channels) = ([2, 5, 4, 6], 6);
        let whole = |var: Var| -> Result<Var> { Var::from_tensor(&(var.as_tensor() * 20.)?.round()?) };
        let [sums, shortcut, gys] = [whole(random(&shape, 7)?)?, whole(random(&shape, 8)?)?, random(&shape, 9)?];
        let (weight, bias) = (random(&[channels, 3], 10)?, random(&[channels], 11)?);
        let (input, steps) = (Kept::from(Quantization { scale: 0.02, zero_point: 7 }), Steps::new(&weight)?);
        let scale = Tensor::from_vec(Sums::new(input, &steps).scale, channels, &Device::Cpu)?;
        let (function, step) = (Function::new(&Activation::HSwish)?, 0.3f32);
        let finish = Finish { function, sums: Some(Sums::new(input, &steps)), shortcut: Some(step), kept: None };
        let found = finish.apply(&sums, &bias, Some(&shortcut))?;
        let added = (shortcut.as_tensor() * f64::from(step))?;
        let expected = compose(&Activation::HSwish, None, [&sums.broadcast_mul(&scale)?, &bias, &added])?;
        let gradients = |ys: &Tensor| (ys * gys.as_tensor())?.sum_all()?.backward();
        let (of_found, of_expected) = (gradients(&found)?, gradients(&expected)?);
        let mut pairs = vec![(found, expected)];
        for var in [&sums, &bias, &shortcut] {
            pairs.push((of_found.get(var).unwrap().clone(), of_expected.get(var).unwrap().clone()));
        }
        assert_close(&pairs, "steps")
    }
}
