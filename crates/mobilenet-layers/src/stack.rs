//! Layers that run one after the other.

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;
use mobilenet_kernels::Precision;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::fused::{self, Dims, Fusable, Stage};
use crate::parameters::Parameters;
use crate::{ConvBnAct, LinearBottleneck};

/// A layer of a [`Stack`].
#[derive(Clone, Debug)]
pub enum Layer {
    /// Convolution, batch norm, activation.
    ConvBnAct(ConvBnAct),
    /// The block of both networks.
    LinearBottleneck(Box<LinearBottleneck>),
}

impl From<ConvBnAct> for Layer {
    fn from(layer: ConvBnAct) -> Self {
        Self::ConvBnAct(layer)
    }
}

impl From<LinearBottleneck> for Layer {
    fn from(layer: LinearBottleneck) -> Self {
        Self::LinearBottleneck(layer.into())
    }
}

impl Fusable for Layer {
    fn tensors(&self) -> Vec<Tensor> {
        match self {
            Self::ConvBnAct(layer) => layer.tensors(),
            Self::LinearBottleneck(layer) => layer.tensors(),
        }
    }

    fn stage(&self, dims: Dims) -> Result<Option<Stage>> {
        match self {
            Self::ConvBnAct(layer) => layer.stage(dims),
            Self::LinearBottleneck(layer) => layer.stage(dims),
        }
    }

    fn chained(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        match self {
            Self::ConvBnAct(layer) => layer.chained(xs, train),
            Self::LinearBottleneck(layer) => layer.chained(xs, train),
        }
    }
}

/// Layers, each applied to what the one before gives. On the CPU the whole stack is one operation under autograd, which
/// spares Candle's backward several passes over every tensor between two layers.
#[derive(Clone, Debug)]
pub struct Stack {
    layers: Vec<Layer>,
    /// Of all layers, for the fused operation; `None` where there are no kernels.
    parameters: Option<Parameters>,
    precision: Precision,
}

impl Stack {
    /// The stack of `layers`.
    ///
    /// # Errors
    /// There is no layer.
    pub fn new(layers: Vec<Layer>) -> Result<Self> {
        if layers.is_empty() {
            bail!("stack: expected at least one layer, found none")
        }
        let parameters = Parameters::for_kernels(layers.iter().flat_map(Fusable::tensors).collect())?;
        Ok(Self { layers, parameters, precision: Precision::F32 })
    }

    /// The same stack, trained at this precision where it runs as one operation; elsewhere nothing changes.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if let Some(ys) = fused::run(&self.layers, self.parameters.as_ref(), xs, train, self.precision)? {
            return Ok(ys);
        }
        let mut ys = xs.clone();
        for layer in &self.layers {
            ys = match layer {
                Layer::ConvBnAct(layer) => layer.forward_channels_last(&ys, train)?,
                Layer::LinearBottleneck(layer) => layer.forward_channels_last(&ys, train)?,
            };
        }
        Ok(ys)
    }
}

impl ModuleT for Stack {
    /// `[n, c_in, h, w] -> [n, c_out, h', w']`
    fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        to_nchw(&self.forward_channels_last(&to_nhwc(xs)?, train)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Compared, image};
    use crate::{Activation, BatchNormConfig, ConvBnActConfig, SqueezeExcite};
    use candle_core::{DType, Device};
    use candle_nn::{VarBuilder, VarMap};

    const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.1 };

    /// A small network: stem, a block with squeeze-and-excite, one without expansion and with a shortcut, last convolution.
    /// What follows a linear output sees its borders: before a 1×1 and its batch norm, the gradient of a bias would be 0.
    fn stack(vb: &VarBuilder) -> Result<Stack> {
        let act = Activation::HSwish;
        let unit = |c_in, c_out, config, name: &str| {
            ConvBnAct::new(c_in, c_out, config, vb.pp(name).pp("conv"), vb.pp(name).pp("norm"))
        };
        let pointwise = |act| ConvBnActConfig::pointwise(NORM, act);
        let first = LinearBottleneck::new(
            Some(unit(8, 20, pointwise(act), "a.0")?),
            unit(20, 20, ConvBnActConfig::depthwise(5, 2, 1, NORM, act), "a.1")?,
            Some(SqueezeExcite::new(20, 8, vb.pp("a.2"))?),
            unit(20, 12, pointwise(Activation::Identity), "a.3")?,
            false,
        )?;
        let second = LinearBottleneck::new(
            None,
            unit(12, 12, ConvBnActConfig::depthwise(3, 1, 1, NORM, act), "b.0")?,
            None,
            unit(12, 12, pointwise(Activation::Identity), "b.1")?,
            true,
        )?;
        let stem = unit(3, 8, ConvBnActConfig::dense(3, 1, NORM, act), "stem")?;
        let last = unit(12, 16, ConvBnActConfig::dense(3, 1, NORM, act), "last")?;
        Stack::new(vec![stem.into(), first.into(), second.into(), last.into()])
    }

    /// The stack's output and its running statistics, as one operation or by each layer's smaller ones.
    fn outcome(names: &[String], args: &[Tensor], train: bool, fused: bool) -> Result<(Tensor, Vec<Tensor>)> {
        let tensors = names.iter().cloned().zip(args[1..].iter().cloned()).collect();
        let stack = stack(&VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?;
        let mut dims = to_nhwc(&args[0])?.dims4()?;
        let mut running = Vec::new();
        let mut ys = args[0].clone();
        for layer in &stack.layers {
            let Some(stage) = layer.stage(dims)? else { bail!("a layer without a kernel") };
            dims = stage.output();
            running.extend(stage.norms.iter().flat_map(|n| [n.running_mean.clone(), n.running_var.clone()]));
            if !fused {
                ys = layer.chained(&ys, train)?;
            }
        }
        if fused {
            ys = stack.forward_t(&args[0], train)?;
        }
        Ok((ys, running.iter().map(|var| var.as_detached_tensor()).collect()))
    }

    #[test]
    fn one_operation_agrees_with_its_layers() -> Result<()> {
        for (n, size) in [(1, (8, 8)), (5, (6, 7)), (33, (4, 4))] {
            for train in [true, false] {
                let vars = VarMap::new();
                stack(&crate::seeded_var_builder(&vars, 3, DType::F32, &Device::Cpu))?;
                let mut all: Vec<_> = vars.data().lock().unwrap().clone().into_iter().collect();
                all.sort_by(|a, b| a.0.cmp(&b.0));
                let mut args = vec![image((n, 3, size.0, size.1), 2., 1)?];
                args.extend(all.iter().map(|(_, var)| var.as_detached_tensor()));
                let names: Vec<String> = all.into_iter().map(|(name, _)| name).collect();

                let [(_, fused), (_, chained)] =
                    [outcome(&names, &args, train, true)?, outcome(&names, &args, train, false)?];
                assert_eq!(fused.len(), 2 * 7);
                for (a, b) in fused.iter().zip(&chained) {
                    let difference = (a - b)?.abs()?.max_all()?.to_scalar::<f32>()?;
                    let largest = b.abs()?.max_all()?.to_scalar::<f32>()?;
                    assert!(difference < 1e-5 * (1. + largest), "running statistics {difference}");
                }
                let args: Vec<&Tensor> = args.iter().collect();
                let compared = Compared::new(
                    &args,
                    |args| Ok(outcome(&names, args, train, true)?.0),
                    |args| Ok(outcome(&names, args, train, false)?.0),
                )?;
                compared.assert_close(1e-4, (n, size, train));
            }
        }
        Ok(())
    }

    #[test]
    fn images_without_a_gradient_get_none_and_parameters_do() -> Result<()> {
        let vars = VarMap::new();
        let stack = stack(&crate::seeded_var_builder(&vars, 3, DType::F32, &Device::Cpu))?;
        let xs = image((2, 3, 8, 8), 1., 1)?;
        let gradients = stack.forward_t(&xs, true)?.sum_all()?.backward()?;
        assert!(gradients.get(&xs).is_none());
        let data = vars.data().lock().unwrap();
        assert!(gradients.get(&data["stem.conv.weight"]).is_some() && gradients.get(&data["last.norm.bias"]).is_some());
        Ok(())
    }

    #[test]
    fn a_stack_of_nothing_is_an_error() {
        assert!(Stack::new(Vec::new()).unwrap_err().to_string().contains("at least one layer"));
    }
}
