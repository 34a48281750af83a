//! What follows the features: `[linear, h-swish,] dropout, linear`, on the mean over the pixels. All float32.

use mobilenet_arch::Activation;
use mobilenet_arch::plan::ClassifierPlan;

use crate::backend::{Arg, Backend, Kind, Matrix, View};
use crate::error::Result;
use crate::grid::{Grid, blocks};
use crate::program::{Program, number};
use crate::run::Run;
use crate::variables::{Variable, Variables};

/// A linear layer: `x · weightᵀ + bias`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    weight: Variable,
    bias: Variable,
    c_in: usize,
    c_out: usize,
}

impl Linear {
    fn new(variables: &Variables, path: &str, c_in: usize, c_out: usize) -> Result<Self> {
        let get = |name: &str| variables.get(&format!("{path}.{name}"));
        Ok(Self { weight: get("weight")?, bias: get("bias")?, c_in, c_out })
    }

    /// `x · weightᵀ`
    fn forward<B: Backend>(&self, run: &mut Run<B>, x: View, y: View, n: usize) -> Result<()> {
        let weight = Matrix::new(self.weight.values, self.c_in).t();
        run.product([n, self.c_out, self.c_in], Matrix::new(x, self.c_in), weight, y, false)
    }

    /// The gradients of the weight and, where it is asked for, of `x`.
    fn backward<B: Backend>(&self, run: &mut Run<B>, x: View, gy: View, gx: Option<View>, n: usize) -> Result<()> {
        let gy = Matrix::new(gy, self.c_out);
        let x = Matrix::new(x, self.c_in);
        run.product([self.c_out, self.c_in, n], gy.t(), x, self.weight.gradients, false)?;
        let Some(gx) = gx else { return Ok(()) };
        run.product([n, self.c_in, self.c_out], gy, Matrix::new(self.weight.values, self.c_in), gx, false)
    }
}

/// The classifier and the tensors that it keeps.
#[derive(Clone, Debug)]
pub(crate) struct Classifier {
    n: usize,
    /// V3's hidden layer, what it gives before the bias, and that's gradient.
    hidden: Option<(Linear, View, View)>,
    last: Linear,
    /// What the last layer takes, and its gradient.
    input: View,
    ginput: View,
    /// Dropout's, `[n, c]`: 0 or 1 / (1 - p).
    mask: Option<View>,
    /// `[n, classes]`, before the bias and after it.
    pre: View,
    pub logits: View,
}

impl Classifier {
    pub fn new<B: Backend>(
        backend: &mut B,
        variables: &Variables,
        plan: &ClassifierPlan,
        n: usize,
        train: bool,
    ) -> Result<Self> {
        let mut floats = |len: usize| backend.values(Kind::F32, len);
        let c = plan.hidden.unwrap_or(plan.c_in);
        let hidden = match plan.hidden {
            Some(units) => {
                let linear = Linear::new(variables, ClassifierPlan::HIDDEN_PATH, plan.c_in, units)?;
                Some((linear, floats(n * units)?, floats(n * units)?))
            }
            None => None,
        };
        let (input, ginput) = (floats(n * c)?, floats(n * c)?);
        let (pre, logits) = (floats(n * plan.num_classes)?, floats(n * plan.num_classes)?);
        let mask = if train && plan.dropout > 0. { Some(floats(n * c)?) } else { None };
        if let Some(mask) = mask {
            backend.write_f32(mask, &vec![1.; n * c])?;
        }
        let last = Linear::new(variables, plan.last_path(), c, plan.num_classes)?;
        Ok(Self { n, hidden, last, input, ginput, mask, pre, logits })
    }

    /// Dropout's mask, where there is a dropout.
    pub fn mask(&self) -> Option<View> {
        self.mask
    }

    /// `[n, c] -> [n, classes]`
    pub fn forward<B: Backend>(&self, run: &mut Run<B>, pooled: View) -> Result<()> {
        run.backend.enter("classifier forward");
        let n = self.n;
        let mut input = self.input;
        match &self.hidden {
            Some((linear, pre, _)) => {
                linear.forward(run, pooled, *pre, n)?;
                output(run, *pre, Some(linear.bias.values), Activation::HSwish, self.mask, self.input, n)?;
            }
            None if self.mask.is_some() => {
                output(run, pooled, None, Activation::Identity, self.mask, self.input, n)?;
            }
            None => input = pooled,
        }
        self.last.forward(run, input, self.pre, n)?;
        output(run, self.pre, Some(self.last.bias.values), Activation::Identity, None, self.logits, n)
    }

    /// The gradients of the parameters, and of `pooled`.
    pub fn backward<B: Backend>(&self, run: &mut Run<B>, pooled: View, glogits: View, gpooled: View) -> Result<()> {
        run.backend.enter("classifier backward");
        let n = self.n;
        let classes = self.last.c_out;
        let grid = Grid { parts: 1, ..Grid::rows(n, classes) };
        let args = [Arg::In(glogits), Arg::Out(self.last.bias.gradients), Arg::Int(n), Arg::Int(classes)];
        run.rows(Program::norm(Kind::F32, Kind::F32), "column_sums", grid, &args)?;
        let Some((linear, pre, gpre)) = &self.hidden else {
            if self.mask.is_none() {
                return self.last.backward(run, pooled, glogits, Some(gpooled), n);
            }
            self.last.backward(run, self.input, glogits, Some(self.ginput), n)?;
            return gradient(run, (self.ginput, pooled, None), Activation::Identity, self.mask, (gpooled, None), n);
        };
        self.last.backward(run, self.input, glogits, Some(self.ginput), n)?;
        let to = (*gpre, Some(linear.bias.gradients));
        gradient(run, (self.ginput, *pre, Some(linear.bias.values)), Activation::HSwish, self.mask, to, n)?;
        linear.backward(run, pooled, *gpre, Some(gpooled), n)
    }
}

/// `y = act(x + bias) · mask`
fn output<B: Backend>(
    run: &mut Run<B>,
    x: View,
    bias: Option<View>,
    act: Activation,
    mask: Option<View>,
    y: View,
    n: usize,
) -> Result<()> {
    let (bias, mask) = (Arg::maybe_in(bias), Arg::maybe_in(mask));
    let args = [Arg::In(x), bias, Arg::Int(number(act)), mask, Arg::Out(y), Arg::Int(n), Arg::Int(x.len / n)];
    run.plain(Program::new("classifier"), "linear_output", blocks(x.len), [256, 1], &args)
}

/// Back through it: the gradients of `x` and, where there is one, of the bias.
fn gradient<B: Backend>(
    run: &mut Run<B>,
    (gy, x, bias): (View, View, Option<View>),
    act: Activation,
    mask: Option<View>,
    (gx, gbias): (View, Option<View>),
    n: usize,
) -> Result<()> {
    let c = x.len / n;
    let args = [
        Arg::In(gy),
        Arg::In(x),
        Arg::maybe_in(bias),
        Arg::Int(number(act)),
        Arg::maybe_in(mask),
        Arg::Out(gx),
        Arg::maybe_out(gbias),
        Arg::Int(n),
        Arg::Int(c),
    ];
    run.plain(Program::new("classifier"), "linear_backward", [c.div_ceil(8), 1], [8, 32], &args)
}
