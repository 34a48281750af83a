//! The chain both networks' blocks are: expand, filter each channel, squeeze and excite, project, add the input.
//!
//! Trained on the CPU, it is one operation under autograd: backward calls into Candle cost a pass over memory for every
//! tensor, and the expanded tensors are large (see `mobilenet_kernels::inverted_residual`).

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Layout, Module, Result, Shape, Tensor, Var, bail};
use candle_nn::ModuleT;
use mobilenet_kernels::inverted_residual::{self as kernels, Geometry, Saved};

use crate::channels_last::{as_slice, has_kernels, to_nchw, to_nhwc, with_slices};
use crate::conv_bn_act::Conv;
use crate::parameters::Parameters;
use crate::{Activation, ConvBnAct, SqueezeExcite, Window};

/// A linear bottleneck: `project(squeeze_excite(depthwise(expand(x))))`, and `+ x` where `residual` is set.
#[derive(Clone, Debug)]
pub struct LinearBottleneck {
    expand: Option<ConvBnAct>,
    depthwise: ConvBnAct,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvBnAct,
    residual: bool,
    /// All of the above, for the fused operation; `None` where there are no kernels.
    parameters: Option<Parameters>,
}

impl LinearBottleneck {
    /// The chain of these layers; `project` should have no activation.
    pub fn new(
        expand: Option<ConvBnAct>,
        depthwise: ConvBnAct,
        squeeze_excite: Option<SqueezeExcite>,
        project: ConvBnAct,
        residual: bool,
    ) -> Result<Self> {
        let unit = |unit: &ConvBnAct| [unit.conv.weight(), &unit.norm.weight, &unit.norm.bias].map(Clone::clone);
        let mut tensors = Vec::new();
        tensors.extend(expand.iter().flat_map(unit));
        tensors.extend(unit(&depthwise));
        for fc in squeeze_excite.iter().flat_map(|se| [&se.fc1, &se.fc2]) {
            tensors.extend([Some(&fc.weight), fc.bias.as_ref()].into_iter().flatten().cloned());
        }
        tensors.extend(unit(&project));
        let parameters = tensors.iter().all(has_kernels).then(|| Parameters::new(tensors)).transpose()?;
        Ok(Self { expand, depthwise, squeeze_excite, project, residual, parameters })
    }

    /// The chain without its shortcut.
    pub fn without_residual(self) -> Self {
        Self { residual: false, ..self }
    }

    /// The sizes the fused operation needs for `xs` (`[n, h, w, c_in]`); `None` if it cannot take this chain or this tensor.
    fn geometry(&self, xs: &Tensor) -> Result<Option<Geometry>> {
        let (n, h, w, c_in) = xs.dims4()?;
        let (depthwise, project) = (&self.depthwise, &self.project);
        let (Conv::Depthwise(conv), Some(project_weight)) = (&depthwise.conv, project.pointwise_weight()) else {
            return Ok(None);
        };
        let c = conv.weight.dim(0)?;
        let eps = depthwise.norm.config.eps;
        let expands = match &self.expand {
            Some(expand) => {
                let same = expand.activation == depthwise.activation && expand.norm.config.eps == eps;
                let Some(weight) = expand.pointwise_weight().filter(|_| same) else { return Ok(None) };
                weight.dims() == [c, c_in, 1, 1]
            }
            None => c == c_in,
        };
        let (c_out, projects, ..) = project_weight.dims4()?;
        let Window { kernel, stride, dilation, padding } = conv.window;
        let (h_out, w_out) = (conv.window.output_len(h), conv.window.output_len(w));
        let fits = expands && projects == c && n * h * w * h_out * w_out > 0;
        let adds = !self.residual || (c_in, h, w) == (c_out, h_out, w_out);
        let linear = project.activation == Activation::Identity && project.norm.config.eps == eps;
        if !(has_kernels(xs) && fits && adds && linear) {
            return Ok(None);
        }
        Ok(Some(Geometry {
            n,
            c_in,
            c_out,
            has_expand: self.expand.is_some(),
            depthwise: mobilenet_kernels::depthwise::Geometry { h, w, c, kernel, stride, dilation, padding },
            squeeze: self.squeeze_excite.as_ref().map(|se| se.fc1.weight.dim(0)).transpose()?,
            activation: depthwise.activation.kernel(),
            has_residual: self.residual,
            eps,
        }))
    }

    /// One operation, with the batch's statistics.
    fn train_fused(&self, xs: &Tensor, geometry: Geometry, parameters: &Parameters) -> Result<Tensor> {
        let saved = Arc::new(Mutex::new(None));
        let op = Train { geometry, parameters: parameters.clone(), saved: saved.clone() };
        let ys = xs.apply_op2(parameters.handle(), op)?;
        let saved = saved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(saved) = saved.as_ref() {
            let Geometry { n, depthwise: d, .. } = geometry;
            let (expand, depthwise, project) = saved.statistics();
            if let (Some(layer), Some(statistics)) = (&self.expand, expand) {
                layer.norm.track(statistics, n * d.h * d.w)?;
            }
            self.depthwise.norm.track(depthwise, n * d.h_out() * d.w_out())?;
            self.project.norm.track(project, n * d.h_out() * d.w_out())?;
        }
        Ok(ys)
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors. A model that chains its
    /// layers this way spares Candle's backward two changes of layout for each.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let xs = xs.contiguous()?;
        match (self.geometry(&xs)?, &self.parameters) {
            (Some(geometry), Some(parameters)) if train => self.train_fused(&xs, geometry, parameters),
            (Some(geometry), Some(parameters)) => {
                let op = Infer { geometry, parameters: parameters.clone(), layers: self.clone() };
                xs.apply_op2(parameters.handle(), op)
            }
            _ => to_nhwc(&self.chained(&to_nchw(&xs)?, train)?),
        }
    }

    /// Layer by layer.
    fn chained(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let mut ys = match &self.expand {
            Some(expand) => expand.forward_t(xs, train)?,
            None => xs.clone(),
        };
        ys = self.depthwise.forward_t(&ys, train)?;
        if let Some(squeeze_excite) = &self.squeeze_excite {
            ys = squeeze_excite.forward(&ys)?;
        }
        let ys = self.project.forward_t(&ys, train)?;
        if self.residual { xs + ys } else { Ok(ys) }
    }
}

impl ModuleT for LinearBottleneck {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']` with `h' = (h - 1) / stride + 1`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        to_nchw(&self.forward_channels_last(&to_nhwc(xs)?, train)?)
    }
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]` in training; what the backward needs is kept in `saved`.
struct Train {
    geometry: Geometry,
    parameters: Parameters,
    saved: Arc<Mutex<Option<Saved>>>,
}

fn output_shape(g: &Geometry) -> Shape {
    (g.n, g.depthwise.h_out(), g.depthwise.w_out(), g.c_out).into()
}

impl CustomOp2 for Train {
    fn name(&self) -> &'static str {
        "linear-bottleneck"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = output_shape(&self.geometry);
        let mut ys = vec![0.; shape.elem_count()];
        let xs = as_slice(xs, layout)?;
        let saved = self.parameters.with_slices(|theta| Ok(kernels::forward(&self.geometry, xs, theta, &mut ys)))?;
        *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        Ok((CpuStorage::F32(ys), shape))
    }

    fn bwd(&self, xs: &Tensor, _: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(saved) = saved.as_ref() else { bail!("linear bottleneck: a backward without its forward") };
        let (gxs, gtheta) = with_slices([xs, gys], |[xs, gys]| {
            self.parameters.with_slices(|theta| Ok(kernels::backward(&self.geometry, xs, theta, saved, gys)))
        })?;
        Ok((Some(Tensor::from_vec(gxs, xs.shape(), xs.device())?), self.parameters.leave(gtheta)?))
    }
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with the running statistics.
struct Infer {
    geometry: Geometry,
    parameters: Parameters,
    layers: LinearBottleneck,
}

impl CustomOp2 for Infer {
    fn name(&self) -> &'static str {
        "linear-bottleneck-inference"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let shape = output_shape(&self.geometry);
        let mut ys = vec![0.; shape.elem_count()];
        let xs = as_slice(xs, layout)?;
        let units = self.layers.expand.iter().chain([&self.layers.depthwise, &self.layers.project]);
        let running = units.map(|unit| unit.norm.running()).collect::<Result<Vec<_>>>()?;
        let running: Vec<_> = running.iter().map(|s| (s.mean.as_slice(), s.var.as_slice())).collect();
        self.parameters.with_slices(|theta| {
            kernels::infer(&self.geometry, xs, theta, &running, &mut ys);
            Ok(())
        })?;
        Ok((CpuStorage::F32(ys), shape))
    }

    /// Gradients with fixed statistics are rarely asked for (fine-tuning below frozen batch norms): the chain of layers
    /// computes them.
    fn bwd(&self, xs: &Tensor, _: &Tensor, _: &Tensor, gys: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let input = Var::from_tensor(&xs.detach())?;
        let ys = to_nhwc(&self.layers.chained(&to_nchw(&input)?, false)?)?;
        let gradients = (ys * gys.detach())?.sum_all()?.backward()?;
        let gtheta = self.parameters.gradients(&gradients)?;
        Ok((gradients.get(&input).cloned(), self.parameters.leave(gtheta)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};
    use crate::{BatchNormConfig, ConvBnActConfig};
    use candle_core::{DType, Device};
    use candle_nn::{VarBuilder, VarMap};

    struct Row {
        n: usize,
        size: (usize, usize),
        c_in: usize,
        expanded: usize,
        c_out: usize,
        window: (usize, usize, usize),
        squeeze: Option<usize>,
        activation: Activation,
    }

    fn bottleneck(row: &Row, vb: &VarBuilder) -> Result<LinearBottleneck> {
        let norm = BatchNormConfig { eps: 1e-3, momentum: 0.1 };
        let (kernel, stride, dilation) = row.window;
        let unit = |c_in, c_out, config, name: &str| {
            ConvBnAct::new(c_in, c_out, config, vb.pp(name).pp("conv"), vb.pp(name).pp("norm"))
        };
        let expand = ConvBnActConfig::pointwise(norm, row.activation);
        let depthwise = ConvBnActConfig::depthwise(kernel, stride, dilation, norm, row.activation);
        let project = ConvBnActConfig::pointwise(norm, Activation::Identity);
        let c = row.expanded;
        LinearBottleneck::new(
            (c != row.c_in).then(|| unit(row.c_in, c, expand, "expand")).transpose()?,
            unit(c, c, depthwise, "depthwise")?,
            row.squeeze.map(|squeeze| SqueezeExcite::new(c, squeeze, vb.pp("se"))).transpose()?,
            unit(c, row.c_out, project, "project")?,
            stride == 1 && row.c_in == row.c_out,
        )
    }

    /// Holds the operation to the chain of layers: output, gradients of the input and of every variable, statistics.
    fn check(row: &Row, train: bool) -> Result<()> {
        let vars = VarMap::new();
        let vb = crate::seeded_var_builder(&vars, 5, DType::F32, &Device::Cpu);
        bottleneck(row, &vb)?;
        let mut variables: Vec<_> = vars.data().lock().unwrap().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        variables.sort_by(|a, b| a.0.cmp(&b.0));
        let (names, variables): (Vec<_>, Vec<_>) = variables.into_iter().unzip();
        // Batch norm's weights away from 1 and its biases away from 0, so that activations reach their kinks.
        let mut args = vec![image((row.n, row.c_in, row.size.0, row.size.1), 2., 1)?];
        for (i, (name, var)) in names.iter().zip(&variables).enumerate() {
            let value = if name.contains("norm") {
                let noise = image((var.elem_count(), 1, 1, 1), 0.5, i as u64)?.flatten_all()?;
                (var.as_detached_tensor() + noise)?
            } else {
                (var.as_detached_tensor() * 1.5)?
            };
            args.push(value);
        }
        let statistics = |fused: bool, args: &[Tensor]| -> Result<(Tensor, Vec<Tensor>)> {
            let tensors = names.iter().cloned().zip(args[1..].iter().cloned()).collect();
            let block = bottleneck(row, &VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?;
            assert!(block.geometry(&to_nhwc(&args[0])?)?.is_some(), "the fused operation takes it");
            let ys = if fused { block.forward_t(&args[0], train) } else { block.chained(&args[0], train) }?;
            let norms = block.expand.iter().chain([&block.depthwise, &block.project]).map(|unit| &unit.norm);
            let running = norms.flat_map(|n| [&n.running_mean, &n.running_var]).map(|v| v.as_detached_tensor());
            Ok((ys, running.collect()))
        };
        let detached: Vec<Tensor> = args.iter().map(Tensor::detach).collect();
        for (a, b) in statistics(true, &detached)?.1.iter().zip(&statistics(false, &detached)?.1) {
            let difference = (a - b)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(
                difference < 1e-5 * (1. + b.abs()?.max_all()?.to_scalar::<f32>()?),
                "running statistics {difference}"
            );
        }
        let args: Vec<&Tensor> = args.iter().collect();
        let compared =
            Compared::new(&args, |args| Ok(statistics(true, args)?.0), |args| Ok(statistics(false, args)?.0))?;
        let Row { n, size, c_in, expanded, c_out, window, squeeze, activation } = row;
        compared.assert_close(1e-4, (n, size, c_in, expanded, c_out, window, squeeze, activation));
        Ok(())
    }

    #[test]
    fn one_operation_agrees_with_the_chain_of_layers() -> Result<()> {
        for (n, size) in [(1, (4, 4)), (3, (5, 6)), (2, (16, 17)), (33, (2, 2))] {
            for (c_in, expanded, c_out) in [(8, 8, 16), (8, 8, 8), (16, 24, 16), (5, 11, 7), (16, 96, 24)] {
                for (window, squeeze, activation) in [
                    ((3, 1, 1), None, Activation::Relu6),
                    ((3, 2, 1), None, Activation::HSwish),
                    ((5, 1, 1), Some(8), Activation::Relu),
                    ((5, 2, 1), Some(5), Activation::HSwish),
                    ((3, 1, 2), Some(8), Activation::HSwish),
                ] {
                    let row = Row { n, size, c_in, expanded, c_out, window, squeeze, activation };
                    check(&row, true)?;
                    check(&row, false)?;
                }
            }
        }
        Ok(())
    }
}
