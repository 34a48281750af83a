//! Batch normalization that can be trained.
//!
//! ```text
//! y = (x - mean) / sqrt(var + eps) · weight + bias
//! ```
//!
//! In training `mean` and `var` are the batch's (biased variance), and the running statistics move toward them by
//! `momentum` (with the unbiased variance), as in PyTorch's `BatchNorm2d`; otherwise they are the running statistics.
//! A batch of a single value per channel (n·h·w = 1) has variance 0 and leaves the unbiased variance undefined: there
//! the running variance takes the biased one, 0, instead of PyTorch's error or a NaN.

use candle_core::{CpuStorage, CustomOp3, Layout, Module, Result, Shape, Tensor, Var, bail};
use candle_nn::{Init, ModuleT, VarBuilder};
use mobilenet_kernels::batch_norm::{self as kernels, Affine, NormParameters, Statistics};

use crate::channels_last::{as_slice, has_kernels, to_nchw, to_nhwc, with_slices};
use crate::{Activate, Activation, BatchNormConfig};

/// Batch normalization over the channels of `[n, c, h, w]`.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) running_mean: Var,
    pub(crate) running_var: Var,
    pub(crate) config: BatchNormConfig,
}

impl BatchNorm {
    /// The layer with variables `weight`, `bias`, `running_mean` and `running_var`, each `[channels]`, below `vb`.
    ///
    /// # Errors
    /// No channels, an `eps` that is not positive, a `momentum` outside `[0, 1]`, or variables of another shape in
    /// `vb`.
    pub fn new(channels: usize, config: BatchNormConfig, vb: VarBuilder) -> Result<Self> {
        let BatchNormConfig { eps, momentum } = config;
        if channels == 0 {
            bail!("batch norm: expected at least one channel, found none")
        }
        if !(eps > 0. && eps.is_finite()) {
            bail!("batch norm: expected a positive eps, found {eps}")
        }
        if !(0.0..=1.0).contains(&momentum) {
            bail!("batch norm: expected a momentum in [0, 1], found {momentum}")
        }
        let get = |name, value| vb.get_with_hints(channels, name, Init::Const(value));
        Ok(Self {
            weight: get("weight", 1.)?,
            bias: get("bias", 0.)?,
            running_mean: Var::from_tensor(&get("running_mean", 0.)?)?,
            running_var: Var::from_tensor(&get("running_var", 1.)?)?,
            config,
        })
    }

    /// Batch norm and the activation after it, in one pass over memory each way.
    pub(crate) fn forward_act(&self, xs: &Tensor, activation: Activation, train: bool) -> Result<Tensor> {
        let (n, c, h, w) = xs.dims4()?;
        let channels = self.weight.dim(0)?;
        if c != channels || h * w == 0 || (train && n == 0) {
            bail!("batch norm: expected at least one value for each of {channels} channels, found {:?}", xs.shape())
        }
        if n == 0 {
            return Ok(xs.clone());
        }
        if !has_kernels(xs) {
            return Activate(activation).forward(&self.compose(xs, train)?);
        }
        let xs = to_nhwc(xs)?;
        let statistics = if train {
            let batch = with_slices([&xs], |[xs]| Ok(kernels::statistics(xs, c)))?;
            self.track(&batch, n * h * w)?;
            batch
        } else {
            self.running()?
        };
        let op = NormalizeActivate { statistics, of_batch: train, eps: self.config.eps, activation };
        to_nchw(&xs.apply_op3(&self.weight, &self.bias, op)?)
    }

    /// The definition in Candle's own ops.
    fn compose(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let (_, c, _, _) = xs.dims4()?;
        let per_channel = |t: &Tensor| t.reshape((1, c, 1, 1));
        let (mean, var) = if train {
            let mean = xs.mean_keepdim((0, 2, 3))?;
            let var = xs.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
            self.update(&mean.detach().reshape(c)?, &var.detach().reshape(c)?, xs.elem_count() / c)?;
            (mean, var)
        } else {
            (
                per_channel(&self.running_mean.as_detached_tensor())?,
                per_channel(&self.running_var.as_detached_tensor())?,
            )
        };
        let scale = ((var + self.config.eps)?.sqrt()?.recip()? * per_channel(&self.weight)?)?;
        xs.broadcast_sub(&mean)?.broadcast_mul(&scale)?.broadcast_add(&per_channel(&self.bias)?)
    }

    /// The running statistics.
    pub(crate) fn running(&self) -> Result<Statistics> {
        with_slices([&self.running_mean, &self.running_var], |[mean, var]| {
            Ok(Statistics { mean: mean.to_vec(), var: var.to_vec() })
        })
    }

    /// [`Self::update`] with the kernels' statistics: on so few values, Candle's threads would cost more than they
    /// save.
    pub(crate) fn track(&self, batch: &Statistics, count: usize) -> Result<()> {
        let [kept, of_mean, of_var] = self.shares(count);
        let running = self.running()?;
        let mix = |var: &Var, running: Vec<f32>, batch: &[f32], share: f32| -> Result<()> {
            let mixed: Vec<f32> = running.iter().zip(batch).map(|(r, b)| r * kept + b * share).collect();
            var.set(&Tensor::from_vec(mixed, var.shape(), var.device())?)
        };
        mix(&self.running_mean, running.mean, &batch.mean, of_mean)?;
        mix(&self.running_var, running.var, &batch.var, of_var)
    }

    /// Moves the running statistics toward a batch's, `count` values a channel.
    fn update(&self, mean: &Tensor, biased_var: &Tensor, count: usize) -> Result<()> {
        let [kept, of_mean, of_var] = self.shares(count).map(f64::from);
        let mix = |running: &Var, batch: &Tensor, share: f64| -> Result<()> {
            let kept = (running.as_detached_tensor() * kept)?;
            running.set(&(kept + (batch * share)?)?)
        };
        mix(&self.running_mean, mean, of_mean)?;
        mix(&self.running_var, biased_var, of_var)
    }

    /// The shares that the running statistics, a batch's mean and its biased variance of `count` values have in the
    /// next running statistics. The last makes the variance an unbiased one.
    fn shares(&self, count: usize) -> [f32; 3] {
        let momentum = self.config.momentum as f32;
        let unbiasing = if count > 1 { count as f64 / (count - 1) as f64 } else { 1. };
        [1. - momentum, momentum, momentum * unbiasing as f32]
    }
}

impl ModuleT for BatchNorm {
    /// `[n, c, h, w] -> [n, c, h, w]`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_act(xs, Activation::Identity, train)
    }
}

/// `act((xs - mean) / sqrt(var + eps) · weight + bias)` over `[n, h, w, c]`.
struct NormalizeActivate {
    statistics: Statistics,
    /// Whether the statistics are functions of `xs`, and not constants.
    of_batch: bool,
    eps: f64,
    activation: Activation,
}

impl CustomOp3 for NormalizeActivate {
    fn name(&self) -> &'static str {
        "normalize-activate"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let xs = as_slice(xs, xs_layout)?;
        let (weight, bias) = (as_slice(weight, weight_layout)?, as_slice(bias, bias_layout)?);
        let Statistics { mean, var } = &self.statistics;
        let affine = Affine { mean, scale: &kernels::scale(weight, var, self.eps), bias };
        let mut ys = vec![0.; xs.len()];
        kernels::forward(xs, affine, self.activation, &mut ys);
        Ok((CpuStorage::F32(ys), xs_layout.shape().clone()))
    }

    fn bwd(
        &self,
        xs: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gys: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradients = with_slices([xs, weight, bias, gys], |[xs, weight, bias, gys]| {
            let Statistics { mean, var } = &self.statistics;
            let parameters = NormParameters { mean, var, weight, bias, eps: self.eps };
            Ok(kernels::backward(xs, gys, parameters, self.activation, self.of_batch))
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((
            Some(tensor(gradients.xs, xs)?),
            Some(tensor(gradients.weight, weight)?),
            Some(tensor(gradients.bias, bias)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    fn norm(c: usize, config: BatchNormConfig) -> Result<(BatchNorm, VarMap)> {
        let vars = VarMap::new();
        let norm = BatchNorm::new(c, config, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
        Ok((norm, vars))
    }

    #[test]
    fn kernels_agree_with_the_composition() -> Result<()> {
        let config = BatchNormConfig { eps: 1e-3, momentum: 0.01 };
        for shape in [(4, 3, 5, 2), (1, 24, 3, 2), (5, 7, 1, 1)] {
            for train in [true, false] {
                let c = shape.1;
                let xs = image(shape, 2., 1)?;
                let (weight, bias) =
                    (image((c, 1, 1, 1), 1., 2)?.flatten_all()?, image((c, 1, 1, 1), 1., 3)?.flatten_all()?);
                let with = |args: &[Tensor]| -> Result<BatchNorm> {
                    let (norm, _) = norm(c, config)?;
                    Ok(BatchNorm { weight: args[1].clone(), bias: args[2].clone(), ..norm })
                };
                let compared = Compared::new(
                    &[&xs, &weight, &bias],
                    |args| with(args)?.forward_act(&args[0], Activation::HSwish, train),
                    |args| Activate(Activation::HSwish).compose(&with(args)?.compose(&args[0], train)?),
                )?;
                compared.assert_close(2e-5, (shape, train));
            }
        }
        Ok(())
    }

    #[test]
    fn running_statistics_move_by_the_momentum_to_the_unbiased_variance() -> Result<()> {
        let (norm, vars) = norm(1, BatchNormConfig { eps: 1e-5, momentum: 0.1 })?;
        let xs = Tensor::new(&[1f32, 2., 3., 6.], &Device::Cpu)?.reshape((4, 1, 1, 1))?;
        norm.forward_t(&xs, true)?;
        let get = |name: &str| -> Result<Vec<f32>> {
            let vars = vars.data().lock().map_err(|_| candle_core::Error::msg("poisoned"))?;
            vars[name].to_vec1()
        };
        // mean 3, squared deviations 4 + 1 + 0 + 9 = 14, unbiased variance 14 / 3
        assert!((get("running_mean")?[0] - 0.3).abs() < 1e-6);
        assert!((get("running_var")?[0] - (0.9 + 0.1 * 14. / 3.)).abs() < 1e-6);
        norm.forward_t(&xs, false)?;
        assert!((get("running_mean")?[0] - 0.3).abs() < 1e-6, "evaluation leaves the statistics alone");
        Ok(())
    }

    #[test]
    fn a_single_value_gives_the_bias_and_finite_statistics() -> Result<()> {
        let (norm, vars) = norm(2, BatchNormConfig::default())?;
        let xs = Tensor::new(&[3f32, -5.], &Device::Cpu)?.reshape((1, 2, 1, 1))?;
        assert_eq!(norm.forward_t(&xs, true)?.flatten_all()?.to_vec1::<f32>()?, [0., 0.]);
        for var in vars.all_vars() {
            assert!(var.to_vec1::<f32>()?.iter().all(|v| v.is_finite()));
        }
        Ok(())
    }

    #[test]
    fn an_empty_batch_and_a_wrong_channel_count_are_errors() -> Result<()> {
        let (norm, _) = norm(2, BatchNormConfig::default())?;
        for shape in [(0, 2, 1, 1), (1, 3, 1, 1)] {
            assert!(norm.forward_t(&Tensor::zeros(shape, DType::F32, &Device::Cpu)?, true).is_err());
        }
        Ok(())
    }
}
