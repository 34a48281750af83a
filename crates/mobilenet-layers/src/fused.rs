//! Layers as one operation under autograd.
//!
//! Between two operations Candle's backward fills a tensor with zeros and adds the gradient to it, and every operation
//! costs a few allocations: nothing for one layer, a tenth of the time for a network. So neighboring layers run as one
//! operation, which hands on activations and gradients itself.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, Var, bail};
use mobilenet_kernels::inverted_residual;
use mobilenet_kernels::{Buffer, Precision, batch_norm::Statistics, conv_norm, profile};

use crate::BatchNorm;
use crate::channels_last::{as_slice, has_kernels, to_nchw, to_nhwc, with_slices};
use crate::parameters::Parameters;

/// `(n, h, w, c)`
pub(crate) type Dims = (usize, usize, usize, usize);

/// A layer that kernels compute whole.
pub(crate) trait Fusable {
    /// The parameters, in the order of the kernels.
    fn tensors(&self) -> Vec<Tensor>;

    /// What computes it for float32 images of these sizes on the CPU; `None` if no kernel can.
    fn stage(&self, dims: Dims) -> Result<Option<Stage>>;

    /// `[n, c, h, w] -> [n, c', h', w']` by smaller operations.
    fn chained(&self, xs: &Tensor, train: bool) -> Result<Tensor>;
}

/// A layer with the sizes of its input.
pub(crate) struct Stage {
    pub(crate) kernel: Kernel,
    /// In the order of the kernel's statistics
    pub(crate) norms: Vec<BatchNorm>,
    /// The layer's, in a profile
    pub(crate) name: String,
}

pub(crate) enum Kernel {
    ConvNorm(conv_norm::Geometry),
    Bottleneck(inverted_residual::Geometry),
}

/// What a stage's backward needs, with the sizes it was computed for.
enum Saved {
    ConvNorm(conv_norm::Geometry, conv_norm::Saved),
    Bottleneck(inverted_residual::Geometry, Box<inverted_residual::Saved>),
}

impl Stage {
    pub(crate) fn output(&self) -> Dims {
        match &self.kernel {
            Kernel::ConvNorm(g) => (g.n, g.conv.h_out(), g.conv.w_out(), g.conv.c_out),
            Kernel::Bottleneck(g) => (g.n, g.depthwise.h_out(), g.depthwise.w_out(), g.c_out),
        }
    }

    fn set_precision(&mut self, precision: Precision) {
        match &mut self.kernel {
            Kernel::ConvNorm(g) => g.precision = precision,
            Kernel::Bottleneck(g) => g.precision = precision,
        }
    }

    fn output_len(&self) -> usize {
        let (n, h, w, c) = self.output();
        n * h * w * c
    }

    fn inference_work(&self) -> profile::Work {
        match &self.kernel {
            Kernel::ConvNorm(g) => g.inference_work(),
            Kernel::Bottleneck(g) => g.inference_work(),
        }
    }

    fn parameters(&self) -> usize {
        match &self.kernel {
            Kernel::ConvNorm(g) => g.parameter_lengths().len(),
            Kernel::Bottleneck(g) => g.parameter_lengths().len(),
        }
    }

    /// Computes `y` and moves the running statistics.
    fn forward(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Result<Saved> {
        let saved = profile::scope(&self.name, || match &self.kernel {
            Kernel::ConvNorm(g) => Saved::ConvNorm(*g, conv_norm::forward(g, x, theta, y)),
            Kernel::Bottleneck(g) => Saved::Bottleneck(*g, inverted_residual::forward(g, x, theta, y).into()),
        });
        let statistics: Vec<&Statistics> = match &saved {
            Saved::ConvNorm(_, saved) => vec![saved.statistics()],
            Saved::Bottleneck(_, saved) => {
                let (expand, depthwise, project) = saved.statistics();
                expand.into_iter().chain([depthwise, project]).collect()
            }
        };
        let (n, h, w, _) = self.output();
        for (i, (norm, statistics)) in self.norms.iter().zip(statistics).enumerate() {
            let count = match &self.kernel {
                Kernel::Bottleneck(g) if g.has_expand && i == 0 => g.n * g.depthwise.h * g.depthwise.w,
                _ => n * h * w,
            };
            norm.track(statistics, count)?;
        }
        Ok(saved)
    }

    /// The gradients of the parameters, and that of the input in `gx`, if it is asked for. Uses up `gy`.
    fn backward(&self, saved: &Saved, x: &[f32], theta: &[&[f32]], gy: &mut [f32], wants_gx: bool) -> Gradients {
        profile::scope(&self.name, || match saved {
            Saved::ConvNorm(g, saved) => {
                let mut gx = wants_gx.then(|| Buffer::new(x.len()));
                let gtheta = conv_norm::backward(g, x, theta, saved, gy, gx.as_deref_mut());
                (gx.unwrap_or_default(), gtheta.into())
            }
            Saved::Bottleneck(g, saved) => inverted_residual::backward(g, x, theta, saved, gy),
        })
    }

    /// One phase of a profile: what is between a layer's convolutions never leaves the cache.
    fn infer(&self, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Result<()> {
        let whole = || {
            let running = self.norms.iter().map(BatchNorm::running).collect::<Result<Vec<_>>>()?;
            let running: Vec<_> = running.iter().map(|s| (s.mean.as_slice(), s.var.as_slice())).collect();
            match &self.kernel {
                Kernel::ConvNorm(g) => conv_norm::infer(g, x, theta, &running, y),
                Kernel::Bottleneck(g) => inverted_residual::infer(g, x, theta, &running, y),
            }
            Ok(())
        };
        profile::scope(&self.name, || profile::phase("inference", self.inference_work(), whole))
    }
}

/// Of the input and of the parameters.
type Gradients = (Buffer, Vec<Vec<f32>>);

/// `[n, h, w, c] -> [n, h', w', c']` through all `layers` as one operation; `None` if one of them has no kernel for it.
/// `parameters` are those of all layers, in
/// order, if there are kernels for them.
pub(crate) fn run<L: Fusable + Clone + Send + Sync + 'static>(
    layers: &[L],
    parameters: Option<&Parameters>,
    xs: &Tensor,
    train: bool,
    precision: Precision,
) -> Result<Option<Tensor>> {
    let Some(parameters) = parameters.filter(|_| has_kernels(xs)) else { return Ok(None) };
    let mut dims = xs.dims4()?;
    let mut stages = Vec::with_capacity(layers.len());
    for layer in layers {
        let Some(mut stage) = layer.stage(dims)? else { return Ok(None) };
        stage.set_precision(precision);
        dims = stage.output();
        stages.push(stage);
    }
    let (xs, parameters) = (xs.contiguous()?, parameters.clone());
    let handle = parameters.handle().clone();
    let ys = if train {
        xs.apply_op2(&handle, Train { stages, parameters, saved: Arc::default() })
    } else {
        xs.apply_op2(&handle, Infer { stages, parameters, layers: layers.to_vec() })
    };
    ys.map(Some)
}

fn output_shape(stages: &[Stage], input: &Layout) -> Result<Shape> {
    Ok(match stages.last() {
        Some(stage) => stage.output().into(),
        None => input.shape().clone(),
    })
}

/// Runs `f` on one of rayon's threads: from there, work is shared without putting the caller to sleep and waking it again
/// for every loop.
fn on_the_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| f())
}

/// In training; what the backward needs is kept in `saved`.
struct Train {
    stages: Vec<Stage>,
    parameters: Parameters,
    saved: Arc<Mutex<Vec<Step>>>,
}

/// A stage's memory, and its output where another stage follows.
struct Step {
    saved: Saved,
    output: Buffer,
}

impl CustomOp2 for Train {
    fn name(&self) -> &'static str {
        "layers"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = as_slice(xs, layout)?;
        let mut steps: Vec<Step> = Vec::with_capacity(self.stages.len());
        let mut ys = Vec::new();
        self.parameters.with_slices(|mut theta| {
            on_the_pool(|| {
                for (i, stage) in self.stages.iter().enumerate() {
                    let (own, rest) = theta.split_at(stage.parameters());
                    theta = rest;
                    let input = steps.last().map_or(xs, |step| &step.output);
                    let step = if i + 1 < self.stages.len() {
                        let mut output = Buffer::new(stage.output_len());
                        Step { saved: stage.forward(input, own, &mut output)?, output }
                    } else {
                        ys = vec![0.; stage.output_len()];
                        Step { saved: stage.forward(input, own, &mut ys)?, output: Buffer::default() }
                    };
                    steps.push(step);
                }
                Ok(())
            })
        })?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = steps;
        Ok((CpuStorage::F32(ys), output_shape(&self.stages, layout)?))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let steps = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if steps.len() != self.stages.len() {
            bail!("layers: a backward without its forward")
        }
        let tracked = xs.track_op();
        let (gx, gtheta) = with_slices([xs, gys], |[xs, gys]| {
            self.parameters.with_slices(|theta| {
                on_the_pool(|| {
                    let mut end = theta.len();
                    let mut gradient = Buffer::copy_of(gys);
                    let mut gthetas = Vec::with_capacity(self.stages.len());
                    for (i, stage) in self.stages.iter().enumerate().rev() {
                        let start = end - stage.parameters();
                        let input = if i == 0 { xs } else { &steps[i - 1].output };
                        let wants_gx = i > 0 || tracked;
                        let (gx, gtheta) =
                            stage.backward(&steps[i].saved, input, &theta[start..end], &mut gradient, wants_gx);
                        gradient = gx;
                        gthetas.push(gtheta);
                        end = start;
                    }
                    Ok((gradient, gthetas.into_iter().rev().flatten().collect::<Vec<_>>()))
                })
            })
        })?;
        let gx = tracked.then(|| Tensor::from_slice(&gx, xs.shape(), xs.device())).transpose()?;
        Ok((gx, self.parameters.leave(gtheta)?))
    }
}

/// With the running statistics.
struct Infer<L> {
    stages: Vec<Stage>,
    parameters: Parameters,
    layers: Vec<L>,
}

impl<L: Fusable + Send + Sync> CustomOp2 for Infer<L> {
    fn name(&self) -> &'static str {
        "layers-inference"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = as_slice(xs, layout)?;
        let mut ys = Vec::new();
        self.parameters.with_slices(|mut theta| {
            on_the_pool(|| {
                let mut before: Option<Buffer> = None;
                for (i, stage) in self.stages.iter().enumerate() {
                    let (own, rest) = theta.split_at(stage.parameters());
                    theta = rest;
                    let input = before.as_deref().unwrap_or(xs);
                    if i + 1 < self.stages.len() {
                        let mut output = Buffer::new(stage.output_len());
                        stage.infer(input, own, &mut output)?;
                        before = Some(output);
                    } else {
                        ys = vec![0.; stage.output_len()];
                        stage.infer(input, own, &mut ys)?;
                    }
                }
                Ok(())
            })
        })?;
        Ok((CpuStorage::F32(ys), output_shape(&self.stages, layout)?))
    }

    /// Gradients with fixed statistics are rarely asked for (fine-tuning below frozen batch norms): the smaller operations
    /// compute them.
    fn bwd(&self, xs: &Tensor, _: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let input = Var::from_tensor(&xs.detach())?;
        let mut ys = to_nchw(&input)?;
        for layer in &self.layers {
            ys = layer.chained(&ys, false)?;
        }
        let gradients = (to_nhwc(&ys)? * gys.detach())?.sum_all()?.backward()?;
        let gtheta = self.parameters.gradients(&gradients)?;
        Ok((gradients.get(&input).cloned(), self.parameters.leave(gtheta)?))
    }
}
