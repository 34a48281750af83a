//! A network's inference: batch norm is folded into the convolutions, activations into the passes that are left.

mod build;
mod layers;

use mobilenet_arch::graph::operations;
use mobilenet_arch::plan::{ConvPlan, LayerPlan, Plan};
use mobilenet_arch::{Activation, ModelConfig, Precision};

use crate::backend::{Arg, Backend, Kind, Matrix, View};
use crate::classifier::Classifier;
use crate::depthwise::Depthwise;
use crate::error::Result;
use crate::grid::blocks;
use crate::network::{kind_of, rounds_to_tf32};
use crate::program::Program;
use crate::run::{Needs, Run, Scratch};
use crate::variables::{Variable, Variables};
use build::Builder;

/// A network for batches of one size, its folded weights and all tensors that it needs.
#[derive(Debug)]
pub struct Inference {
    kind: Kind,
    tf32: bool,
    images: View,
    layers: Vec<(String, Layer)>,
    classifier: Classifier,
    pooled: View,
    variables: Variables,
    scratch: Scratch,
}

/// A convolution into which its batch norm is folded.
#[derive(Clone, Debug)]
struct Folded {
    /// What it is made of: the weight, batch norm's weight and bias, its running mean and variance, and eps.
    weight: Variable,
    norm: [View; 4],
    eps: f32,
    c: usize,
    /// The weight as the operand of a product, or as a filter.
    product: Option<View>,
    filter: Option<View>,
    /// `[4, c]`: 0, 1, bias, 0
    affine: View,
}

/// Of `[n, h, w, c]`, as the operand of a product, and as float32 where it is added to a later output.
#[derive(Clone, Copy, Debug)]
struct Tensor {
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    operand: View,
    exact: Option<View>,
}

#[derive(Clone, Debug)]
enum Layer {
    Stem { conv: Folded, config: [usize; 2], act: Activation, x: Tensor, y: Tensor },
    Pointwise { conv: Folded, act: Activation, x: Tensor, y: Tensor, p: View, pooled: bool },
    Depthwise { conv: Folded, depthwise: Depthwise, act: Activation, x: Tensor, y: Tensor },
    Block(Box<Block>),
}

#[derive(Clone, Debug)]
struct Block {
    act: Activation,
    expand: Option<(Folded, View)>,
    filter: Folded,
    depthwise: Depthwise,
    a: View,
    squeeze_excite: Option<Gates>,
    project: Folded,
    p: View,
    residual: bool,
    x: Tensor,
    y: Tensor,
}

#[derive(Clone, Debug)]
struct Gates {
    weights: [Variable; 4],
    squeeze: usize,
    /// Mean, hidden, before, gates
    tensors: [View; 4],
    unit: View,
}

impl Tensor {
    fn rows(&self) -> usize {
        self.n * self.h * self.w
    }
}

impl Folded {
    /// As the operand of a product, else as a filter.
    fn new<B: Backend>(backend: &mut B, variables: &Variables, plan: &ConvPlan, product: Option<Kind>) -> Result<Self> {
        let norm = |name: &str| format!("{}.{name}", plan.norm);
        let weight = variables.get(&format!("{}.weight", plan.conv))?;
        let (gamma, beta) = (variables.get(&norm("weight"))?.values, variables.get(&norm("bias"))?.values);
        let (mean, var) = (variables.statistic(&norm("running_mean"))?, variables.statistic(&norm("running_var"))?);
        let len = weight.values.len;
        Ok(Self {
            weight,
            norm: [gamma, beta, mean, var],
            eps: plan.config.norm.eps as f32,
            c: plan.c_out,
            product: product.map(|kind| backend.values(kind, len)).transpose()?,
            filter: if product.is_none() { Some(backend.values(Kind::F32, len)?) } else { None },
            affine: backend.values(Kind::F32, 4 * plan.c_out)?,
        })
    }

    fn bias(&self) -> View {
        self.affine.part(2 * self.c, self.c)
    }

    /// Folds.
    fn prepare<B: Backend>(&self, run: &mut Run<B>) -> Result<()> {
        let mut args = vec![Arg::In(self.weight.values)];
        args.extend(self.norm.map(Arg::In));
        args.extend([Arg::Float(self.eps), Arg::maybe_out(self.product), Arg::maybe_out(self.filter)]);
        args.extend([Arg::Out(self.affine), Arg::Int(self.c), Arg::Int(self.weight.values.len / self.c)]);
        run.plain(Program::new("fold").t(run.kind), "fold", [self.c, 1], [256, 1], &args)
    }

    /// `x · weightᵀ`
    fn multiply<B: Backend>(&self, run: &mut Run<B>, x: View, rows: usize, y: View) -> Result<()> {
        let (weight, c_in) = (self.product.unwrap_or(self.weight.values), self.weight.values.len / self.c);
        run.product([rows, self.c, c_in], Matrix::new(x, c_in), Matrix::new(weight, c_in).t(), y, false)
    }
}

impl Inference {
    /// The network of `config` for batches of `n` images of `(height, width)` pixels, its variables 0.
    ///
    /// # Errors
    /// A configuration that does not hold, layers that there is no kernel for, and those of the back end.
    pub fn new<B: Backend>(
        backend: &mut B,
        config: &ModelConfig,
        (n, (h, w)): (usize, (usize, usize)),
        precision: Precision,
    ) -> Result<Self> {
        let plan = Plan::new(config)?;
        let kind = kind_of(precision);
        let variables = Variables::new(backend, &operations(&plan, (h, w))?, Kind::F32, false)?;
        let images = backend.values(Kind::F32, n * h * w * 3)?;
        let mut x = Tensor { n, h, w, c: 3, operand: images, exact: Some(images) };
        let placed = plan.layers();
        let mut layers = Vec::with_capacity(placed.len());
        for (i, layer) in placed.iter().enumerate() {
            let next = placed.get(i + 1).map(|next| &next.layer);
            let exact = matches!(next, Some(LayerPlan::Bottleneck(block)) if block.residual);
            let mut build = Builder { backend: &mut *backend, variables: &variables, kind };
            let (made, y) = build.layer((&layer.layer, &layer.path), x, exact, next.is_none())?;
            layers.push((layer.path.clone(), made));
            x = y;
        }
        let classifier = Classifier::new(backend, &variables, &plan.classifier, n, false)?;
        let scratch = Scratch::new(backend, &Needs::default(), kind)?;
        Ok(Self {
            kind,
            tf32: rounds_to_tf32(precision),
            images,
            layers,
            classifier,
            pooled: x.operand,
            variables,
            scratch,
        })
    }

    /// Where the images are written, float32 `[n, h, w, 3]`.
    pub fn images(&self) -> View {
        self.images
    }

    /// The variables.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Where the logits are, float32 `[n, classes]`.
    pub fn logits(&self) -> View {
        self.classifier.logits
    }

    /// Folds the variables as they are now.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn prepare<B: Backend>(&self, backend: &mut B) -> Result<()> {
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind, tf32: self.tf32 };
        run.backend.enter("folding");
        for (_, layer) in &self.layers {
            match layer {
                Layer::Stem { conv, .. } | Layer::Pointwise { conv, .. } | Layer::Depthwise { conv, .. } => {
                    conv.prepare(&mut run)?;
                }
                Layer::Block(block) => {
                    let expand = block.expand.iter().map(|(conv, _)| conv);
                    expand.chain([&block.filter, &block.project]).try_for_each(|conv| conv.prepare(&mut run))?;
                    let Some(gates) = &block.squeeze_excite else { continue };
                    let args = [Arg::Out(gates.unit), Arg::Int(block.filter.c)];
                    let grid = blocks(block.filter.c);
                    run.plain(Program::new("fold").t(run.kind), "unit_affine", grid, [256, 1], &args)?;
                }
            }
        }
        Ok(())
    }

    /// Computes the logits, with what was folded last.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn run<B: Backend>(&self, backend: &mut B) -> Result<()> {
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind, tf32: self.tf32 };
        for (name, layer) in &self.layers {
            run.backend.enter(name);
            layer.run(&mut run)?;
        }
        self.classifier.forward(&mut run, self.pooled)
    }
}
