//! Layers that run one after the other.

use candle_core::{Result, Tensor, bail};
use candle_nn::ModuleT;
use mobilenet_kernels::Precision;

use crate::channels_last::{to_nchw, to_nhwc};
use crate::fused::{self, Fusable, Part};
use crate::stages::GlobalAvgPool;
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

impl Layer {
    fn fusable(&self) -> &dyn Fusable {
        match self {
            Self::ConvBnAct(layer) => layer,
            Self::LinearBottleneck(layer) => &**layer,
        }
    }
}

/// Layers, each applied to what the one before gives. On the CPU neighboring layers, and so as a rule the whole stack,
/// are one operation under autograd, which spares Candle's backward several passes over every tensor between two
/// layers. [`operations`](Self::operations) tells which.
#[derive(Clone, Debug)]
pub struct Stack {
    layers: Vec<Layer>,
    precision: Precision,
}

/// One of the operations that a [`Stack`] consists of on the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Layers that run as one, by their paths among the variables.
    Fused(Vec<String>),
    /// A layer without a kernel, or a piece of one, which runs as smaller operations.
    NotFused {
        /// The layer's path among the variables.
        layer: String,
        /// What there is no kernel for.
        why: &'static str,
    },
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
        Ok(Self { layers, precision: Precision::F32 })
    }

    /// The same stack, trained at this precision where layers are fused; elsewhere nothing changes.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// What the stack runs as for float32 images `[n, c_in, h, w]` on the CPU.
    ///
    /// # Errors
    /// A layer does not take images of these sizes.
    pub fn operations(&self, (n, c_in, h, w): (usize, usize, usize, usize)) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        for part in fused::parts(&self.fusables(), (n, h, w, c_in), self.precision)? {
            match (part, operations.last_mut()) {
                (Part::Stage(stage), Some(Operation::Fused(layers))) => layers.push(stage.name().to_owned()),
                (Part::Stage(stage), _) => operations.push(Operation::Fused(vec![stage.name().to_owned()])),
                (Part::Own(own), _) => operations.push(Operation::NotFused { layer: own.name, why: own.why }),
            }
        }
        Ok(operations)
    }

    /// `[n, h, w, c_in] -> [n, h', w', c_out]`: [`ModuleT::forward_t`] on channels-last tensors.
    pub fn forward_channels_last(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        fused::forward(&self.fusables(), xs, train, self.precision)
    }

    /// `[n, c_in, h, w] -> [n, c_out]`: [`global_avg_pool`](crate::global_avg_pool) of [`ModuleT::forward_t`]. On the
    /// CPU it is part of the operation, so that no gradient of the last feature map goes through Candle.
    pub fn forward_pooled(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let mut layers = self.fusables();
        layers.push(&GlobalAvgPool);
        fused::forward(&layers, &to_nhwc(xs)?, train, self.precision)?.flatten_from(1)
    }

    fn fusables(&self) -> Vec<&dyn Fusable> {
        self.layers.iter().map(Layer::fusable).collect()
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
    use crate::{Activation, BatchNormConfig, ConvBnActConfig, SqueezeExcite, global_avg_pool};
    use candle_core::{DType, Device};
    use candle_nn::{VarBuilder, VarMap};

    const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.1 };

    /// A small network: stem, a block with squeeze-and-excite, one without expansion and with a shortcut, last
    /// convolution. What follows a linear output sees its borders: before a 1×1 and its batch norm, the gradient of a
    /// bias would be 0.
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
        let operations = stack.operations(args[0].dims4()?)?;
        assert!(matches!(&operations[..], [Operation::Fused(layers)] if layers.len() == stack.layers.len()));
        let mut running = Vec::new();
        let mut ys = args[0].clone();
        for layer in &stack.layers {
            let units = match layer {
                Layer::ConvBnAct(unit) => vec![unit],
                Layer::LinearBottleneck(block) => {
                    block.expand.iter().chain([&block.depthwise, &block.project]).collect()
                }
            };
            running.extend(units.iter().flat_map(|u| [u.norm.running_mean.clone(), u.norm.running_var.clone()]));
            if !fused {
                ys = layer.fusable().by_operations(&ys, train)?;
            }
        }
        ys = if fused { stack.forward_pooled(&args[0], train)? } else { global_avg_pool(&ys)? };
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

    /// A convolution and a block, a block that has no kernel as a whole, and a block and a convolution.
    fn with_a_gap(vb: &VarBuilder, residual: bool) -> Result<Stack> {
        let unit = |c_in, c_out, config, name: &str| {
            ConvBnAct::new(c_in, c_out, config, vb.pp(name).pp("conv"), vb.pp(name).pp("norm"))
        };
        let act = Activation::HSwish;
        let block = |name: &str, c, squeeze_excite, last, residual| {
            let name = |part: &str| format!("{name}.{part}");
            LinearBottleneck::new(
                (c > 8).then(|| unit(8, c, ConvBnActConfig::pointwise(NORM, act), &name("expand"))).transpose()?,
                unit(c, c, ConvBnActConfig::depthwise(3, 1, 1, NORM, act), &name("depthwise"))?,
                squeeze_excite,
                unit(c, 8, ConvBnActConfig::pointwise(NORM, last), &name("project"))?,
                residual,
            )
        };
        let squeeze_excite = Some(SqueezeExcite::new(8, 4, vb.pp("gap.se"))?);
        Stack::new(vec![
            unit(3, 8, ConvBnActConfig::dense(3, 1, NORM, act), "stem")?.into(),
            block("first", 24, None, Activation::Identity, true)?.into(),
            block("gap", 8, squeeze_excite, act, residual)?.into(),
            block("second", 24, None, Activation::Identity, true)?.into(),
            // 3×3, as the gap begins: before a 1×1 with batch norm the gradient of a bias is zero, and would be
            // compared by its rounding alone.
            unit(8, 16, ConvBnActConfig::dense(3, 1, NORM, act), "last")?.into(),
        ])
    }

    #[test]
    fn a_layer_without_a_kernel_leaves_those_beside_it_fused() -> Result<()> {
        let fused = |layers: &[&str]| Operation::Fused(layers.iter().map(|l| l.to_string()).collect());
        let gap = Operation::NotFused { layer: "gap".into(), why: "the projection has an activation" };
        for (residual, expected) in [
            (true, vec![fused(&["stem.conv", "first"]), gap.clone(), fused(&["second", "last.conv"])]),
            (
                false,
                vec![
                    fused(&["stem.conv", "first", "gap.depthwise.conv"]),
                    gap,
                    fused(&["gap.project.conv", "second", "last.conv"]),
                ],
            ),
        ] {
            let vars = VarMap::new();
            with_a_gap(&crate::seeded_var_builder(&vars, 3, DType::F32, &Device::Cpu), residual)?;
            let mut all: Vec<_> = vars.data().lock().unwrap().clone().into_iter().collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            let mut args = vec![image((5, 3, 6, 8), 2., 1)?];
            args.extend(all.iter().map(|(_, var)| var.as_detached_tensor()));
            let args: Vec<&Tensor> = args.iter().collect();
            let build = |args: &[Tensor]| -> Result<Stack> {
                let tensors = all.iter().map(|(name, _)| name.clone()).zip(args[1..].iter().cloned()).collect();
                with_a_gap(&VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), residual)
            };
            for train in [true, false] {
                let compared = Compared::new(
                    &args,
                    |args| {
                        let stack = build(args)?;
                        assert_eq!(stack.operations(args[0].dims4()?)?, expected);
                        stack.forward_t(&args[0], train)
                    },
                    |args| {
                        let layers = build(args)?.layers;
                        layers.iter().try_fold(args[0].clone(), |xs, l| l.fusable().by_operations(&xs, train))
                    },
                )?;
                compared.assert_close(1e-4, (residual, train));
            }
            // The runs beside the gap are of the precision that was asked for.
            let args: Vec<Tensor> = args.into_iter().cloned().collect();
            let exact = build(&args)?.forward_t(&args[0], true)?;
            let rounded = build(&args)?.with_precision(Precision::Bf16).forward_t(&args[0], true)?;
            let share = (exact.sub(&rounded)?.sqr()?.sum_all()? / exact.sqr()?.sum_all()?)?.to_scalar::<f32>()?.sqrt();
            assert!(share > 1e-4 && share < 0.1, "bf16 is {share} off");
        }
        Ok(())
    }

    #[test]
    fn a_stack_of_nothing_is_an_error() {
        assert!(Stack::new(Vec::new()).unwrap_err().to_string().contains("at least one layer"));
    }
}
