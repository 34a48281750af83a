//! The chain both networks' blocks are: expand, filter each channel, squeeze and excite, project, add the input.
//!
//! Trained on the CPU, it is one operation under autograd: backward calls into Candle cost a pass over memory for every
//! tensor, and the expanded tensors are large (see `mobilenet_kernels::inverted_residual`).

use candle_core::{Module, Result, Tensor, bail};
use candle_nn::ModuleT;
use mobilenet_kernels::Precision;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::{ConvBnAct, SqueezeExcite, fused};

/// A linear bottleneck: `project(squeeze_excite(depthwise(expand(x))))`, and `+ x` where `residual` is set.
#[derive(Clone, Debug)]
pub struct LinearBottleneck {
    pub(crate) expand: Option<ConvBnAct>,
    pub(crate) depthwise: ConvBnAct,
    pub(crate) squeeze_excite: Option<SqueezeExcite>,
    pub(crate) project: ConvBnAct,
    pub(crate) residual: bool,
    /// Where it is among the variables.
    pub(crate) name: String,
}

impl LinearBottleneck {
    /// The chain of these layers. One operation on the CPU where the expansion and the depthwise convolution have the
    /// same activation, the projection has none, and all batch norms have one `eps`; otherwise one operation for each
    /// run of layers.
    ///
    /// # Errors
    /// A layer that does not take as many channels as the one before gives, or a shortcut around layers that change the
    /// shape.
    pub fn new(
        expand: Option<ConvBnAct>,
        depthwise: ConvBnAct,
        squeeze_excite: Option<SqueezeExcite>,
        project: ConvBnAct,
        residual: bool,
    ) -> Result<Self> {
        let c = depthwise.c_out();
        let widths = [
            ("depthwise convolution", expand.as_ref().map_or(depthwise.c_in(), ConvBnAct::c_out), depthwise.c_in()),
            ("squeeze-and-excite", c, squeeze_excite.as_ref().map_or(c, SqueezeExcite::channels)),
            ("projection", c, project.c_in()),
        ];
        for (layer, before, takes) in widths {
            if takes != before {
                bail!("linear bottleneck: expected a {layer} of {before} channels, found one of {takes}")
            }
        }
        let c_in = expand.as_ref().map_or(depthwise.c_in(), ConvBnAct::c_in);
        let keeps = |layer: &ConvBnAct| layer.window().stride == 1;
        let keeps_size = expand.iter().chain([&depthwise, &project]).all(keeps);
        if residual && !(keeps_size && c_in == project.c_out()) {
            bail!(
                "linear bottleneck: expected a shortcut around stride 1 and equal channels, found {c_in} to {} channels{}",
                project.c_out(),
                if keeps_size { "" } else { " and another stride" }
            )
        }
        let name = common_path(&depthwise.name, &project.name);
        Ok(Self { expand, depthwise, squeeze_excite, project, residual, name })
    }

    /// The chain without its shortcut.
    pub fn without_residual(self) -> Self {
        Self { residual: false, ..self }
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors. A model that chains
    /// its layers this way spares Candle's backward two changes of layout for each.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        fused::forward(&[self], xs, train, Precision::F32)
    }

    /// `[n, c_in, h, w] -> [n, c_out, h', w']`, layer by layer.
    pub(crate) fn by_operations(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let mut ys = match &self.expand {
            Some(expand) => expand.by_operations(xs, train)?,
            None => xs.clone(),
        };
        ys = self.depthwise.by_operations(&ys, train)?;
        if let Some(squeeze_excite) = &self.squeeze_excite {
            ys = squeeze_excite.forward(&ys)?;
        }
        let ys = self.project.by_operations(&ys, train)?;
        if self.residual { xs + ys } else { Ok(ys) }
    }

    /// In the order of the layers.
    pub(crate) fn parameters(&self) -> Vec<Tensor> {
        let mut parameters: Vec<Tensor> = self.expand.iter().flat_map(ConvBnAct::parameters).collect();
        parameters.extend(self.depthwise.parameters());
        parameters.extend(self.squeeze_excite.iter().flat_map(SqueezeExcite::parameters));
        parameters.extend(self.project.parameters());
        parameters
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
    use crate::fused::{Fusable, Part};
    use crate::testing::{Compared, image};
    use crate::{Activation, BatchNormConfig, ConvBnActConfig};
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
            let parts = block.parts(to_nhwc(&args[0])?.dims4()?, Precision::F32)?;
            assert!(matches!(parts[..], [Part::Stage(_)]), "the fused operation takes it");
            let ys = if fused { block.forward_t(&args[0], train) } else { block.by_operations(&args[0], train) }?;
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
