//! The chain both networks' blocks are: expand, filter each channel, squeeze and excite, project, add the input.
//!
//! Trained on the CPU, it is one operation under autograd: backward calls into Candle cost a pass over memory for every
//! tensor, and the expanded tensors are large (see `mobilenet_kernels::inverted_residual`).

use candle_core::{Module, Result, Tensor};
use candle_nn::ModuleT;
use mobilenet_kernels::Precision;
use mobilenet_kernels::inverted_residual::Geometry;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::conv_bn_act::Conv;
use crate::fused::{self, Dims, Fusable, Kernel, Stage};
use crate::parameters::Parameters;
use crate::{Activation, ConvBnAct, SqueezeExcite, Window, activation};

/// A linear bottleneck: `project(squeeze_excite(depthwise(expand(x))))`, and `+ x` where `residual` is set.
#[derive(Clone, Debug)]
pub struct LinearBottleneck {
    expand: Option<ConvBnAct>,
    depthwise: ConvBnAct,
    squeeze_excite: Option<SqueezeExcite>,
    project: ConvBnAct,
    residual: bool,
    /// Where it is among the variables.
    name: String,
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
        let name = common_path(&depthwise.name, &project.name);
        let block = Self { expand, depthwise, squeeze_excite, project, residual, name, parameters: None };
        Ok(Self { parameters: Parameters::for_kernels(block.tensors())?, ..block })
    }

    /// The chain without its shortcut.
    pub fn without_residual(self) -> Self {
        Self { residual: false, ..self }
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors. A model that chains its
    /// layers this way spares Candle's backward two changes of layout for each.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        match fused::run(std::slice::from_ref(self), self.parameters.as_ref(), xs, train, Precision::F32)? {
            Some(ys) => Ok(ys),
            None => to_nhwc(&self.chained(&to_nchw(xs)?, train)?),
        }
    }
}

impl Fusable for LinearBottleneck {
    fn tensors(&self) -> Vec<Tensor> {
        let mut tensors = Vec::new();
        tensors.extend(self.expand.iter().flat_map(ConvBnAct::tensors));
        tensors.extend(self.depthwise.tensors());
        for fc in self.squeeze_excite.iter().flat_map(|se| [&se.fc1, &se.fc2]) {
            tensors.extend([Some(&fc.weight), fc.bias.as_ref()].into_iter().flatten().cloned());
        }
        tensors.extend(self.project.tensors());
        tensors
    }

    fn stage(&self, (n, h, w, c_in): Dims) -> Result<Option<Stage>> {
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
        if !(fits && adds && linear) {
            return Ok(None);
        }
        let geometry = Geometry {
            n,
            c_in,
            c_out,
            has_expand: self.expand.is_some(),
            depthwise: mobilenet_kernels::depthwise::Geometry { h, w, c, kernel, stride, dilation, padding },
            squeeze: self.squeeze_excite.as_ref().map(|se| se.fc1.weight.dim(0)).transpose()?,
            activation: activation::kernel(depthwise.activation),
            has_residual: self.residual,
            eps,
            precision: Precision::F32,
        };
        let units = self.expand.iter().chain([depthwise, project]);
        let norms = units.map(|unit| unit.norm.clone()).collect();
        Ok(Some(Stage { kernel: Kernel::Bottleneck(geometry), norms, name: self.name.clone() }))
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

/// The path above two paths: `features.3.conv` of `features.3.conv.1.0` and `features.3.conv.2`.
fn common_path(a: &str, b: &str) -> String {
    let common = a.split('.').zip(b.split('.')).take_while(|(a, b)| a == b);
    common.map(|(part, _)| part).collect::<Vec<_>>().join(".")
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
            assert!(block.stage(to_nhwc(&args[0])?.dims4()?)?.is_some(), "the fused operation takes it");
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
