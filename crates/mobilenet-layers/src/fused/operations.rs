//! A run of stages as one custom op of Candle's: in training, and in evaluation.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, Var, bail};
use mobilenet_kernels::Buffer;

use super::handle::{Handle, Sender};
use super::parameters::Parameters;
use super::stage::{AnyStage, Ran};
use crate::channels_last::{as_slice, to_nchw, to_nhwc, with_slices};

/// `[n, h, w, c] -> [n, h', w', c']` through all `stages`, of which there is one at least, as one operation.
pub(super) fn apply(stages: Vec<AnyStage>, xs: &Tensor, train: bool) -> Result<Tensor> {
    let of_stage: Vec<Vec<Tensor>> = stages.iter().map(|stage| stage.parameters()).collect();
    let counts = of_stage.iter().map(Vec::len).collect();
    let parameters = Parameters::new(of_stage.into_iter().flatten().collect());
    let handle = Handle::new(parameters.tensors())?;
    let tensor = handle.tensor().clone();
    let run = Chain { stages, counts, parameters, sender: handle.into_sender() };
    let xs = xs.contiguous()?;
    if train {
        xs.apply_op2(&tensor, Train { run, memory: OnceLock::new() })
    } else {
        xs.apply_op2(&tensor, Infer { run })
    }
}

/// Stages, and how many of the parameters each has.
struct Chain {
    stages: Vec<AnyStage>,
    counts: Vec<usize>,
    parameters: Parameters,
    sender: Sender,
}

impl Chain {
    /// Calls `f` for each stage with its input, its parameters and its output, and returns the last one's output.
    ///
    /// It works on one of rayon's threads: from there, work is shared without putting the caller to sleep and waking it
    /// again for every loop.
    fn forward(
        &self,
        xs: &CpuStorage,
        layout: &Layout,
        mut f: impl FnMut(&AnyStage, &[f32], &[&[f32]], &mut [f32]) -> Result<()> + Send,
        mut keep: impl FnMut(Buffer) + Send,
    ) -> Result<(CpuStorage, Shape)> {
        let xs = as_slice(xs, layout)?;
        let mut shape = layout.shape().clone();
        let mut ys = Vec::new();
        self.parameters.with_slices(|mut theta| {
            rayon::scope(|_| {
                let mut before: Option<Buffer> = None;
                for (i, (stage, count)) in self.stages.iter().zip(&self.counts).enumerate() {
                    let (own, rest) = theta.split_at(*count);
                    theta = rest;
                    let (n, h, w, c) = stage.output();
                    let len = n * h * w * c;
                    let input = before.as_deref().unwrap_or(xs);
                    if i + 1 < self.stages.len() {
                        let mut output = Buffer::new(len);
                        f(stage, input, own, &mut output)?;
                        if let Some(input) = before.replace(output) {
                            keep(input);
                        }
                    } else {
                        ys = vec![0.; len];
                        f(stage, input, own, &mut ys)?;
                        shape = (n, h, w, c).into();
                    }
                }
                before.into_iter().for_each(&mut keep);
                Ok(())
            })
        })?;
        Ok((CpuStorage::F32(ys), shape))
    }
}

/// With the batch's statistics.
struct Train {
    run: Chain,
    memory: OnceLock<Memory>,
}

/// What a forward keeps for its backward.
struct Memory {
    ran: Vec<Box<dyn Ran>>,
    /// Of every stage but the last
    outputs: Vec<Buffer>,
}

impl CustomOp2 for Train {
    fn name(&self) -> &'static str {
        "layers"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (mut ran, mut outputs) = (Vec::new(), Vec::new());
        let forward = |stage: &AnyStage, x: &[f32], theta: &[&[f32]], y: &mut [f32]| {
            ran.push(stage.clone().forward(x, theta, y)?);
            Ok(())
        };
        let ys = self.run.forward(xs, layout, forward, |output| outputs.push(output))?;
        if self.memory.set(Memory { ran, outputs }).is_err() {
            bail!("layers: a second forward of one operation")
        }
        Ok(ys)
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(Memory { ran, outputs }) = self.memory.get() else { bail!("layers: a backward without its forward") };
        let Chain { counts, parameters, sender, .. } = &self.run;
        let tracked = xs.track_op();
        let (gx, gtheta) = with_slices([xs, gys], |[xs, gys]| {
            parameters.with_slices(|theta| {
                rayon::scope(|_| {
                    let mut end = theta.len();
                    let mut gradient = Buffer::copy_of(gys);
                    let mut gthetas = Vec::with_capacity(ran.len());
                    for (i, (ran, count)) in ran.iter().zip(counts).enumerate().rev() {
                        let own = &theta[end - count..end];
                        let input = if i == 0 { xs } else { &outputs[i - 1] };
                        let (gx, gtheta) = ran.backward(input, own, &mut gradient, i > 0 || tracked);
                        gradient = gx;
                        gthetas.push(gtheta);
                        end -= count;
                    }
                    Ok((gradient, gthetas.into_iter().rev().flatten().collect()))
                })
            })
        })?;
        let gx = tracked.then(|| Tensor::from_slice(&gx, xs.shape(), xs.device())).transpose()?;
        Ok((gx, sender.send(parameters.tensors(), gtheta)?))
    }
}

/// With the running statistics.
struct Infer {
    run: Chain,
}

impl CustomOp2 for Infer {
    fn name(&self) -> &'static str {
        "layers-inference"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run.forward(xs, layout, |stage, x, theta, y| stage.infer(x, theta, y), drop)
    }

    /// Gradients with fixed statistics are rarely asked for (fine-tuning below frozen batch norms): the smaller
    /// operations compute them.
    fn bwd(&self, xs: &Tensor, _: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Chain { stages, parameters, sender, .. } = &self.run;
        let input = Var::from_tensor(&xs.detach())?;
        let mut ys = to_nchw(&input)?;
        for stage in stages {
            ys = stage.by_operations(&ys)?;
        }
        let gradients = (to_nhwc(&ys)? * gys.detach())?.sum_all()?.backward()?;
        let gtheta = parameters.gradients(&gradients)?;
        Ok((gradients.get(&input).cloned(), sender.send(parameters.tensors(), gtheta)?))
    }
}
