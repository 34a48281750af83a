//! A network's inference: batch norm is folded into the convolutions, activations into the passes that are left.

use mobilenet_arch::graph::operations;
use mobilenet_arch::plan::{BottleneckPlan, ConvPlan, LayerPlan, Plan};
use mobilenet_arch::{Activation, ModelConfig, Precision};

use crate::backend::{Arg, Backend, Kind, Matrix, View};
use crate::classifier::Classifier;
use crate::depthwise::Depthwise;
use crate::error::{Error, Result};
use crate::grid::{Grid, blocks};
use crate::network::kind_of;
use crate::program::{Program, number};
use crate::run::{Needs, Run, Scratch};
use crate::stages::{CONV_TAPS, squeeze_excite_weights};
use crate::variables::{Variable, Variables};

/// A network for batches of one size, its folded weights and all tensors that it needs.
#[derive(Debug)]
pub struct Inference {
    kind: Kind,
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

/// Makes layers.
struct Builder<'a, B> {
    backend: &'a mut B,
    variables: &'a Variables,
    kind: Kind,
}

impl<B: Backend> Builder<'_, B> {
    fn tensor(&mut self, [n, h, w, c]: [usize; 4], exact: bool) -> Result<Tensor> {
        let operand = self.backend.values(self.kind, n * h * w * c)?;
        let exact = match (self.kind, exact) {
            (Kind::F32, _) => Some(operand),
            (_, true) => Some(self.backend.values(Kind::F32, n * h * w * c)?),
            (_, false) => None,
        };
        Ok(Tensor { n, h, w, c, operand, exact })
    }

    /// A layer below `path`; `exact` if its output is added to a later one, `pooled` if its mean over the pixels is.
    fn layer(
        &mut self,
        (layer, path): (&LayerPlan, &str),
        x: Tensor,
        exact: bool,
        pooled: bool,
    ) -> Result<(Layer, Tensor)> {
        let plan = match layer {
            LayerPlan::Bottleneck(block) => return self.block(block, path, x, exact, pooled),
            LayerPlan::Conv(conv) => conv.clone().below(path),
        };
        let config = plan.config;
        let (h, w, c, act) = (x.h.div_ceil(config.stride), x.w.div_ceil(config.stride), plan.c_out, config.activation);
        let unsupported = |why| Err(Error::Unsupported { layer: plan.conv.clone(), why });
        if config.kernel == 1 && config.stride == 1 && !config.depthwise {
            let conv = Folded::new(self.backend, self.variables, &plan, Some(self.kind))?;
            let p = self.backend.values(Kind::F32, x.rows() * c)?;
            let y = match pooled {
                true => {
                    let mean = self.backend.values(Kind::F32, x.n * c)?;
                    Tensor { n: x.n, h: 1, w: 1, c, operand: mean, exact: Some(mean) }
                }
                false => self.tensor([x.n, h, w, c], exact)?,
            };
            return Ok((Layer::Pointwise { conv, act, x, y, p, pooled }, y));
        }
        if pooled {
            return unsupported("the mean over the pixels of what is not a 1×1 convolution's output");
        }
        let conv = Folded::new(self.backend, self.variables, &plan, None)?;
        let y = self.tensor([x.n, h, w, c], exact)?;
        if config.depthwise {
            let depthwise = Depthwise::new(&plan, (x.n, x.h, x.w), None, self.kind);
            return Ok((Layer::Depthwise { conv, depthwise, act, x, y }, y));
        }
        if plan.c_in * config.kernel * config.kernel > CONV_TAPS || x.exact.is_none() {
            return unsupported("a dense convolution of more than 75 taps, or after others in bf16");
        }
        Ok((Layer::Stem { conv, config: [config.kernel, config.stride], act, x, y }, y))
    }

    fn block(
        &mut self,
        plan: &BottleneckPlan,
        path: &str,
        x: Tensor,
        exact: bool,
        pooled: bool,
    ) -> Result<(Layer, Tensor)> {
        let (filter, project) = (plan.depthwise.clone().below(path), plan.project.clone().below(path));
        let act = filter.config.activation;
        if pooled || project.config.activation != Activation::Identity || plan.residual && x.exact.is_none() {
            let why = "a block with an activation at its end, or whose mean over the pixels is next";
            return Err(Error::Unsupported { layer: path.to_owned(), why });
        }
        let prologue = plan.expand.as_ref().map(|expand| expand.config.activation);
        let depthwise = Depthwise::new(&filter, (x.n, x.h, x.w), prologue, self.kind);
        let (c, rows) = (filter.c_out, depthwise.rows_out());
        let expand = match &plan.expand {
            Some(expand) => {
                let conv = Folded::new(self.backend, self.variables, &expand.clone().below(path), Some(self.kind))?;
                Some((conv, self.backend.values(self.kind, x.rows() * c)?))
            }
            None => None,
        };
        let squeeze_excite = match &plan.squeeze_excite {
            Some(se) => {
                let mut floats = |len: usize| self.backend.values(Kind::F32, len);
                let tensors = [floats(x.n * c)?, floats(x.n * se.squeeze)?, floats(x.n * c)?, floats(x.n * c)?];
                let unit = floats(4 * c)?;
                let weights = squeeze_excite_weights(self.variables, path, se)?;
                Some(Gates { weights, squeeze: se.squeeze, tensors, unit })
            }
            None => None,
        };
        let y = self.tensor([x.n, depthwise.h_out(), depthwise.w_out(), project.c_out], exact)?;
        let block = Block {
            act,
            expand,
            filter: Folded::new(self.backend, self.variables, &filter, None)?,
            a: self.backend.values(self.kind, rows * c)?,
            squeeze_excite,
            p: self.backend.values(Kind::F32, rows * project.c_out)?,
            project: Folded::new(self.backend, self.variables, &project, Some(self.kind))?,
            depthwise,
            residual: plan.residual,
            x,
            y,
        };
        Ok((Layer::Block(Box::new(block)), y))
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
        Ok(Self { kind, images, layers, classifier, pooled: x.operand, variables, scratch })
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
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind };
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
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind };
        for (name, layer) in &self.layers {
            run.backend.enter(name);
            layer.run(&mut run)?;
        }
        self.classifier.forward(&mut run, self.pooled)
    }
}

impl Layer {
    fn run<B: Backend>(&self, run: &mut Run<B>) -> Result<()> {
        match self {
            Self::Stem { conv, config: [kernel, stride], act, x, y } => {
                let mut args = vec![Arg::maybe_in(x.exact), Arg::maybe_in(conv.filter), Arg::In(conv.bias())];
                let exact = y.exact.filter(|exact| *exact != y.operand);
                args.extend([Arg::Int(number(*act)), Arg::maybe_out(exact), Arg::Out(y.operand), Arg::Null]);
                let sizes = [x.n, x.h, x.w, x.c, y.c, y.h, y.w, *kernel, *stride, kernel / 2];
                args.extend(sizes.map(Arg::Int));
                run.rows(Program::new("conv").t(run.kind), "stem_forward", Grid::stem(y.rows(), y.c), &args)
            }
            Self::Pointwise { conv, act, x, y, p, pooled } => {
                conv.multiply(run, x.operand, x.rows(), *p)?;
                let act = Arg::Int(number(*act));
                if *pooled {
                    let pixels = x.h * x.w;
                    let (mean, c) = (Arg::Out(y.operand), Arg::Int(y.c));
                    let args = [Arg::In(*p), Arg::In(conv.affine), act, Arg::Int(pixels), mean, c];
                    let grid = Grid::images(x.n, pixels, y.c);
                    return run.rows(Program::new("squeeze_excite"), "pool_forward", grid, &args);
                }
                normalize(run, *p, (conv.affine, act), (Arg::Null, 1), y)
            }
            Self::Depthwise { conv, depthwise, act, x, y } => {
                let filter = conv.filter.unwrap_or(conv.weight.values);
                let folded = Some((conv.bias(), *act));
                depthwise.forward(run, (x.operand, None), filter, folded, y.operand).map(drop)
            }
            Self::Block(block) => block.run(run),
        }
    }
}

impl Block {
    fn run<B: Backend>(&self, run: &mut Run<B>) -> Result<()> {
        let (n, c, rows) = (self.x.n, self.filter.c, self.depthwise.rows_out());
        let mut input = (self.x.operand, None);
        if let Some((conv, e)) = &self.expand {
            conv.multiply(run, self.x.operand, self.x.rows(), *e)?;
            input = (*e, Some(conv.affine));
        }
        let filter = self.filter.filter.unwrap_or(self.filter.weight.values);
        self.depthwise.forward(run, input, filter, Some((self.filter.bias(), self.act)), self.a)?;
        if let Some(gates) = &self.squeeze_excite {
            let pixels = self.depthwise.pixels_out();
            let [mean, hidden, before, gate] = gates.tensors;
            let identity = Arg::Int(number(Activation::Identity));
            let args = [Arg::In(self.a), Arg::In(gates.unit), identity, Arg::Int(pixels), Arg::Out(mean), Arg::Int(c)];
            let grid = Grid::images(n, pixels, c);
            run.rows(Program::new("squeeze_excite").x(run.kind), "pool_forward", grid, &args)?;
            let mut args = vec![Arg::In(mean)];
            args.extend(gates.weights.map(|weight| Arg::In(weight.values)));
            args.extend([hidden, before, gate].map(Arg::Out));
            args.extend([c, gates.squeeze].map(Arg::Int));
            run.plain(Program::new("squeeze_excite"), "se_forward", [n, 1], [256, 1], &args)?;
            let a = Tensor { n, h: pixels, w: 1, c, operand: self.a, exact: None };
            normalize(run, self.a, (gates.unit, identity), (Arg::In(gate), pixels), &a)?;
        }
        self.project.multiply(run, self.a, rows, self.p)?;
        let (y, exact) = (&self.y, self.y.exact.filter(|exact| *exact != self.y.operand));
        let args = [
            Arg::In(self.p),
            Arg::In(self.project.affine),
            Arg::In(self.project.bias()),
            Arg::maybe_in(self.x.exact.filter(|_| self.residual)),
            Arg::Out(y.operand),
            Arg::maybe_out(exact),
            Arg::Null,
            Arg::Int(rows),
            Arg::Int(y.c),
        ];
        run.rows(Program::norm(Kind::F32, run.kind), "output", Grid::rows(rows, y.c), &args)
    }
}

/// `y = act(x + bias) · gate`
fn normalize<B: Backend>(
    run: &mut Run<B>,
    x: View,
    (affine, act): (View, Arg),
    (gate, pixels): (Arg, usize),
    y: &Tensor,
) -> Result<()> {
    let exact = y.exact.filter(|exact| *exact != y.operand);
    let mut args = vec![Arg::In(x), Arg::In(affine), act, gate, Arg::Int(pixels), Arg::Out(y.operand)];
    args.extend([Arg::maybe_out(exact), Arg::Int(y.rows()), Arg::Int(y.c)]);
    run.rows(Program::norm(x.kind, run.kind), "normalize", Grid::rows(y.rows(), y.c), &args)
}
