//! One variable's update: formulas, the in-place pass of the CPU, the composition of other devices.
//!
//! ```text
//! AdamW   w *= 1 - lr * decay            m += (g - m)(1 - b1)      v = b2 v + (1 - b2) g^2
//!         w -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//! SGD     g += decay * w                 m = momentum * m + g      w -= lr * (nesterov ? g + momentum * m : m)
//! ```
//!
//! Muon's is in its own file.

use std::borrow::Cow;
use std::cell::RefCell;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result as CandleResult, Tensor, Var, bail};
use mobilenet_schema::OptimizerConfig;
use rayon::prelude::*;

use super::muon::Muon;
use crate::Error;
use crate::variables::host_values;

/// Elements that one task updates; a smaller variable is not split.
const CHUNK: usize = 32 * 1024;

/// State of one variable.
pub(super) enum Buffer {
    /// That of a variable on the CPU, updated in place.
    Host(Vec<f32>),
    /// That of a variable on another device, replaced by what Candle's operations return.
    Device(Tensor),
}

impl Buffer {
    pub fn zeros(var: &Var) -> CandleResult<Self> {
        if var.device().is_cpu() {
            return Ok(Self::Host(vec![0.0; var.elem_count()]));
        }
        Tensor::zeros(var.shape(), DType::F32, var.device()).map(Self::Device)
    }

    pub fn from_host(data: Vec<f32>, var: &Var) -> CandleResult<Self> {
        if var.device().is_cpu() {
            return Ok(Self::Host(data));
        }
        Tensor::from_vec(data, var.shape(), var.device()).map(Self::Device)
    }

    pub fn to_host(&self) -> Result<Cow<'_, [f32]>, Error> {
        match self {
            Self::Host(data) => Ok(Cow::Borrowed(data)),
            Self::Device(tensor) => host_values(tensor),
        }
    }
}

/// A step's scalars for one variable.
#[derive(Copy, Clone)]
pub(super) enum Rule {
    AdamW(AdamW),
    Sgd(Sgd),
    Muon(Muon),
}

#[derive(Copy, Clone)]
pub(super) struct AdamW {
    shrink: f32,
    rise1: f32,
    beta2: f32,
    rise2: f32,
    step_size: f32,
    root_scale: f32,
    eps: f32,
}

#[derive(Copy, Clone)]
pub(super) struct Sgd {
    decay: f32,
    momentum: f32,
    nesterov: bool,
    lr: f32,
}

impl Rule {
    /// The rule at step `t` (from 1) for a variable of these dimensions that decays or does not.
    pub fn new(config: &OptimizerConfig, lr: f64, t: u64, decays: bool, dims: &[usize]) -> Self {
        let if_decays = |weight_decay| if decays { weight_decay } else { 0.0 };
        match config {
            OptimizerConfig::AdamW(c) => {
                let (beta1, beta2) = c.betas;
                Self::AdamW(AdamW {
                    shrink: (1.0 - lr * if_decays(c.weight_decay)) as f32,
                    rise1: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    rise2: (1.0 - beta2) as f32,
                    step_size: (lr / (1.0 - beta1.powf(t as f64))) as f32,
                    root_scale: (1.0 / (1.0 - beta2.powf(t as f64)).sqrt()) as f32,
                    eps: c.eps as f32,
                })
            }
            OptimizerConfig::Sgd(c) => Self::Sgd(Sgd {
                decay: if_decays(c.weight_decay) as f32,
                momentum: c.momentum as f32,
                nesterov: c.nesterov,
                lr: lr as f32,
            }),
            OptimizerConfig::Muon(c) => {
                Self::Muon(Muon::new(lr, if_decays(c.weight_decay), c.momentum, c.nesterov, dims))
            }
        }
    }
}

/// Updates `var` and its buffers (as many as the rule has).
pub(super) fn apply(rule: Rule, var: &Var, grad: &Tensor, buffers: &mut [Buffer]) -> CandleResult<()> {
    if buffers.iter().all(|buffer| matches!(buffer, Buffer::Host(_))) && var.device().is_cpu() {
        // A gradient may be a transposed or broadcast view.
        let grad = grad.contiguous()?;
        return var.inplace_op2(&grad, &InPlace { rule, buffers: RefCell::new(buffers) });
    }
    let mut state = Vec::with_capacity(buffers.len());
    for buffer in buffers.iter() {
        match buffer {
            Buffer::Device(tensor) => state.push(tensor.clone()),
            Buffer::Host(_) => bail!("optimizer: the state of a variable on a device is on the host"),
        }
    }
    let next = composition(rule, var, grad, &mut state)?;
    for (buffer, tensor) in buffers.iter_mut().zip(state) {
        *buffer = Buffer::Device(tensor);
    }
    var.set(&next)
}

/// The new value of `w`, in Candle's operations; `state` is replaced by the new state.
fn composition(rule: Rule, w: &Tensor, g: &Tensor, state: &mut [Tensor]) -> CandleResult<Tensor> {
    let (w, g) = (w.detach(), g.detach());
    let times = |x: &Tensor, factor: f32| x.affine(f64::from(factor), 0.0);
    match (rule, state) {
        (Rule::AdamW(r), [m, v]) => {
            *m = (&*m + times(&(&g - &*m)?, r.rise1)?)?;
            *v = (times(v, r.beta2)? + times(&g.sqr()?, r.rise2)?)?;
            let denominator = v.sqrt()?.affine(f64::from(r.root_scale), f64::from(r.eps))?;
            times(&w, r.shrink)? - times(&m.div(&denominator)?, r.step_size)?
        }
        (Rule::Sgd(r), state) => {
            let g = if r.decay == 0.0 { g } else { (g + times(&w, r.decay)?)? };
            let direction = match state {
                [m] => {
                    *m = (times(m, r.momentum)? + &g)?;
                    if r.nesterov { (g + times(m, r.momentum)?)? } else { m.clone() }
                }
                _ => g,
            };
            w - times(&direction, r.lr)?
        }
        (Rule::Muon(rule), [m]) => {
            let (next, momentum) = rule.composition(&w, &g, m)?;
            *m = momentum;
            Ok(next)
        }
        (Rule::AdamW(_) | Rule::Muon(_), _) => bail!("optimizer: wrong number of buffers"),
    }
}

/// The update as one pass over variable, gradient and state. Large variables are split over threads; every element's
/// arithmetic is its own, so the split does not change the result.
struct InPlace<'a> {
    rule: Rule,
    /// Candle hands the operation out as `&self`.
    buffers: RefCell<&'a mut [Buffer]>,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, w_l: &Layout, g: &CpuStorage, g_l: &Layout) -> CandleResult<()> {
        let (CpuStorage::F32(w), CpuStorage::F32(g)) = (w, g) else {
            bail!("optimizer: variable and gradient must be f32")
        };
        let (Some((w0, w1)), Some((g0, g1))) = (w_l.contiguous_offsets(), g_l.contiguous_offsets()) else {
            bail!("optimizer: variable and gradient must be contiguous")
        };
        let (w, g) = (&mut w[w0..w1], &g[g0..g1]);
        let mut buffers = self.buffers.borrow_mut();
        match (self.rule, &mut **buffers) {
            (Rule::AdamW(rule), [Buffer::Host(m), Buffer::Host(v)]) => {
                let state = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
                let all = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(state);
                all.for_each(|((w, g), (m, v))| rule.update(w, g, m, v));
            }
            (Rule::Muon(rule), [Buffer::Host(m)]) => rule.update(w, g, m),
            (Rule::Sgd(rule), [Buffer::Host(m)]) => {
                let all = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(m.par_chunks_mut(CHUNK));
                all.for_each(|((w, g), m)| rule.update(w, g, m));
            }
            (Rule::Sgd(rule), []) => {
                let all = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK));
                all.for_each(|(w, g)| rule.update_plain(w, g));
            }
            _ => bail!("optimizer: wrong number of buffers"),
        }
        Ok(())
    }
}

impl AdamW {
    fn update(self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            *m += self.rise1 * (g - *m);
            *v = self.beta2 * *v + self.rise2 * g * g;
            *w = self.shrink * *w - self.step_size * (*m / (v.sqrt() * self.root_scale + self.eps));
        }
    }
}

impl Sgd {
    fn update(self, w: &mut [f32], g: &[f32], m: &mut [f32]) {
        // What the gradient and the momentum each contribute.
        let (of_g, of_m) = if self.nesterov { (1.0, self.momentum) } else { (0.0, 1.0) };
        for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
            let g = g + self.decay * *w;
            *m = self.momentum * *m + g;
            *w -= self.lr * (of_g * g + of_m * *m);
        }
    }

    fn update_plain(self, w: &mut [f32], g: &[f32]) {
        for (w, &g) in w.iter_mut().zip(g) {
            *w -= self.lr * (g + self.decay * *w);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::optimizer::rule;
    use crate::{AdamWConfig, SgdConfig};

    /// The in-place pass, on more than one chunk and a ragged end, against the composition.
    #[test]
    fn in_place_is_the_composition() {
        let sgd = SgdConfig { lr: 0.1, weight_decay: 0.05, ..SgdConfig::default() };
        let configs = [
            OptimizerConfig::AdamW(AdamWConfig { lr: 0.1, weight_decay: 0.05, ..AdamWConfig::default() }),
            OptimizerConfig::Sgd(sgd),
            OptimizerConfig::Sgd(SgdConfig { nesterov: false, ..sgd }),
            OptimizerConfig::Sgd(SgdConfig { nesterov: false, momentum: 0.0, ..sgd }),
        ];
        let n = 2 * CHUNK + 77;
        let wave = |phase: f32| (0..n).map(|i| ((i as f32) * 0.37 + phase).sin()).collect::<Vec<_>>();
        for config in configs {
            let var = Var::from_vec(wave(0.0), n, &Device::Cpu).unwrap();
            let mut buffers: Vec<_> = rule::buffers(&config).iter().map(|_| Buffer::zeros(&var).unwrap()).collect();
            let mut expected = var.as_detached_tensor().copy().unwrap();
            let mut state: Vec<_> = rule::buffers(&config).iter().map(|_| expected.zeros_like().unwrap()).collect();
            for t in 1..=4 {
                let grad = Tensor::from_vec(wave(t as f32), n, &Device::Cpu).unwrap();
                let rule = Rule::new(&config, 0.1, t, true, var.dims());
                apply(rule, &var, &grad, &mut buffers).unwrap();
                expected = composition(rule, &expected, &grad, &mut state).unwrap();
            }
            let (got, expected) = (var.to_vec1::<f32>().unwrap(), expected.to_vec1::<f32>().unwrap());
            let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-6, "{config:?}: {worst}");
        }
    }

    /// A gradient may come as a transposed view.
    #[test]
    fn strided_gradients_land_at_their_elements() {
        let config = OptimizerConfig::Sgd(SgdConfig { momentum: 0.0, nesterov: false, ..SgdConfig::default() });
        let var = Var::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        let grad = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap().t().unwrap();
        apply(Rule::new(&config, 1.0, 1, false, var.dims()), &var, &grad, &mut []).unwrap();
        assert_eq!(var.to_vec2::<f32>().unwrap(), [[-1.0, -3.0], [-2.0, -4.0]]);
    }
}
