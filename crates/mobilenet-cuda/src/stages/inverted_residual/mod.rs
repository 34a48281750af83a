//! A whole block: expand, batch norm, activation, depthwise, batch norm, activation, squeeze-and-excite, project, batch
//! norm, residual. The phases are the CPU's:
//!
//! ```text
//! forward    expand      x -> e                     depthwise   act(bn(e)) -> d
//!            project     act(bn(d)) · gate -> a, a -> p         output      bn(p) + x
//! backward   project     gy, p -> gp, a -> weight, gp -> ga, d -> gd (the gradient of bn(d))
//!            depthwise   gd, d, e -> weight, scale · ge (the gradient of bn(e) times its scale)
//!            input       scale · ge -> gx and weight, the rest of bn(e)'s gradient, and gy -> gx
//! ```
//!
//! Kept of the forward are `e`, `d`, `a` (which the projection's product needs in memory anyway) and `p`. The rest of
//! `bn(e)`'s gradient is a product with small matrices (`finish.cu`), as on the CPU, whose `inverted_residual` derives
//! it. So the expanded tensors are passed over 3 times before the depthwise convolution and 4 times after it in the forward
//! (5 with squeeze-and-excite), and 4 and 7 times (9) in the backward.

mod backward;

use mobilenet_arch::Activation;
use mobilenet_arch::plan::{BottleneckPlan, ConvPlan, SqueezeExcitePlan};

use super::Builder;
use crate::backend::{Arg, Backend, Kind, Matrix, View};
use crate::depthwise::Depthwise;
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::norm::{Beside, Norm};
use crate::program::{Program, number};
use crate::rows::{Rows, Wants};
use crate::run::{Role, Run};
use crate::variables::{Variable, Variables};

/// A block.
#[derive(Clone, Debug)]
pub(crate) struct InvertedResidual {
    act: Activation,
    expand: Option<Expand>,
    depthwise: Depthwise,
    filter: Unit,
    squeeze_excite: Option<SqueezeExcite>,
    /// `act(bn(d)) · gate`
    a: View,
    project: Unit,
    /// What is added to the output.
    residual: bool,
    /// Whether the output is kept about an origin.
    centered: bool,
}

/// A convolution's weight, its output, and the batch norm after it.
#[derive(Clone, Debug)]
struct Unit {
    weight: Variable,
    norm: Norm,
    pre: View,
}

#[derive(Clone, Debug)]
struct Expand {
    unit: Unit,
    /// Of the input's rows, `[c_in]`
    input_sums: View,
    /// Where the input comes without parts' sums: those.
    own_sums: Option<(View, usize)>,
}

#[derive(Clone, Debug)]
struct SqueezeExcite {
    weights: [Variable; 4],
    squeeze: usize,
    mean: View,
    hidden: View,
    before: View,
    gates: View,
}

impl Unit {
    fn new<B: Backend>(build: &mut Builder<B>, plan: &ConvPlan, pre: View) -> Result<Self> {
        let weight = build.variables.get(&format!("{}.weight", plan.conv))?;
        Ok(Self { weight, norm: Norm::new(build.backend, build.variables, plan)?, pre })
    }
}

impl SqueezeExcite {
    fn new<B: Backend>(build: &mut Builder<B>, plan: &SqueezeExcitePlan, path: &str, n: usize) -> Result<Self> {
        let SqueezeExcitePlan { channels: c, squeeze, .. } = *plan;
        for (role, len) in [
            (Role::GateGradients, n * c),
            (Role::GateInputs, n * c),
            (Role::GateHidden, n * squeeze),
            (Role::GateMeans, n * c),
        ] {
            build.needs.at_least(role, len);
        }
        Ok(Self {
            weights: squeeze_excite_weights(build.variables, path, plan)?,
            squeeze,
            mean: build.floats(n * c)?,
            hidden: build.floats(n * squeeze)?,
            before: build.floats(n * c)?,
            gates: build.floats(n * c)?,
        })
    }
}

/// Weight and bias of both layers, first to last.
pub(crate) fn squeeze_excite_weights(
    variables: &Variables,
    path: &str,
    plan: &SqueezeExcitePlan,
) -> Result<[Variable; 4]> {
    let of = |name: &str| variables.get(&format!("{path}.{}.{name}", plan.path));
    Ok([of("fc1.weight")?, of("fc1.bias")?, of("fc2.weight")?, of("fc2.bias")?])
}

impl InvertedResidual {
    pub fn new<B: Backend>(
        build: &mut Builder<B>,
        plan: &BottleneckPlan,
        path: &str,
        input: &Rows,
        wants: Wants,
    ) -> Result<(Self, Rows)> {
        let unsupported = |why| Err(Error::Unsupported { layer: path.to_owned(), why });
        let filter = plan.depthwise.clone().below(path);
        let project = plan.project.clone().below(path);
        let act = filter.config.activation;
        if project.config.activation != Activation::Identity {
            return unsupported("the projection has an activation");
        }
        if plan.expand.iter().any(|expand| expand.config.activation != act) {
            return unsupported("two activations in one block");
        }
        if plan.expand.is_none() && input.origin.is_some() {
            return unsupported("no expansion after a block");
        }
        if plan.residual && input.exact.is_none() {
            return unsupported("a shortcut from what is not kept as float32");
        }
        if plan.residual && input.origin.is_some() && !wants.centered {
            return unsupported("a shortcut from a block to what is not a 1×1 convolution");
        }
        if wants.pooled {
            return unsupported("the mean over the pixels of a block's output");
        }
        let Rows { n, h, w, c: c_in, .. } = *input;
        let (c, c_out) = (filter.c_out, project.c_out);
        let prologue = plan.expand.is_some().then_some(act);
        let depthwise = Depthwise::new(&filter, (n, h, w), prologue, build.kind);
        let (rows_in, rows_out) = (depthwise.rows_in(), depthwise.rows_out());

        let needs = &mut *build.needs;
        depthwise.needs(needs);
        Norm::needs(needs, rows_in, c);
        Norm::needs(needs, rows_out, c);
        Norm::needs(needs, rows_out, c_out);
        needs.at_least(Role::Filtered, rows_out * c);
        needs.at_least(Role::Expanded, rows_in * c);
        needs.at_least(Role::Product, rows_out * c_out);
        if plan.expand.is_some() {
            needs.at_least(Role::Left, c * (c_in + 1));
            needs.at_least(Role::Gram, (c_in + 1) * c_in);
            needs.at_least(Role::SlopeMatrix, (c_in + 1) * c_in);
            needs.at_least(Role::RightMatrix, c_in * c_in);
        }

        let expand = match &plan.expand {
            Some(expand) => {
                let pre = build.expanded(rows_in * c)?;
                let unit = Unit::new(build, &expand.clone().below(path), pre)?;
                let own_sums = match input.sums {
                    Some(_) => None,
                    None => {
                        let parts = Grid::rows(rows_in, c_in).parts;
                        Some((build.floats(parts * c_in)?, parts))
                    }
                };
                Some(Expand { unit, input_sums: build.floats(c_in)?, own_sums })
            }
            None => None,
        };
        let (d, a, p) = (build.expanded(rows_out * c)?, build.expanded(rows_out * c)?, build.floats(rows_out * c_out)?);
        let squeeze_excite = plan.squeeze_excite.as_ref();
        let (operand, exact) = build.operand_and_exact(rows_out * c_out, wants.exact)?;
        let origin = if wants.centered { Some(build.floats(c_out)?) } else { None };
        let parts = Grid::rows(rows_out, c_out).parts;
        let sums = if wants.sums { Some((build.floats(parts * c_out)?, parts)) } else { None };
        let (h, w) = (depthwise.h_out(), depthwise.w_out());
        let output = Rows { n, h, w, c: c_out, operand, exact, origin, sums };
        let stage = Self {
            act,
            expand,
            filter: Unit::new(build, &filter, d)?,
            squeeze_excite: squeeze_excite.map(|se| SqueezeExcite::new(build, se, path, n)).transpose()?,
            depthwise,
            a,
            project: Unit::new(build, &project, p)?,
            residual: plan.residual,
            centered: wants.centered,
        };
        Ok((stage, output))
    }

    pub fn forward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, output: &Rows) -> Result<()> {
        self.expand_forward(run, input)?;
        let (e, affine) = self.filtered(input);
        let rows = self.depthwise.rows_out();
        let parts = self.depthwise.forward(run, (e, affine), self.filter.weight.values, None, self.filter.pre)?;
        self.filter.norm.finish(run, parts, rows, Beside::default())?;
        self.project_forward(run, output, input)?;
        self.output(run, input, output)
    }

    /// `e = x · weightᵀ`
    fn expand_forward<B: Backend>(&self, run: &mut Run<B>, input: &Rows) -> Result<()> {
        let Some(Expand { unit, input_sums, own_sums }) = &self.expand else { return Ok(()) };
        let (rows, c_in, c) = (input.rows(), input.c, unit.norm.c);
        let input = Rows { sums: own_sums.or(input.sums), ..input.clone() };
        if let Some((part, _)) = own_sums {
            let args = [Arg::In(input.operand), Arg::Out(*part), Arg::Int(rows), Arg::Int(c_in)];
            run.rows(Program::norm(run.kind, run.kind), "column_sums", Grid::rows(rows, c_in), &args)?;
        }
        let x = Matrix::new(input.operand, c_in);
        run.product([rows, c, c_in], x, Matrix::new(unit.weight.operand, c_in).t(), unit.pre, false)?;
        let beside =
            Beside { input: Some((unit.weight.values, &input)), input_sums: Some(*input_sums), ..Beside::default() };
        unit.norm.measure(run, unit.pre, rows, beside)
    }

    /// What the depthwise convolution sees, and the batch norm of it.
    fn filtered(&self, input: &Rows) -> (View, Option<View>) {
        match &self.expand {
            Some(Expand { unit, .. }) => (unit.pre, Some(unit.norm.affine)),
            None => (input.operand, None),
        }
    }

    /// `p = (act(bn(d)) · gate) · weightᵀ`
    fn project_forward<B: Backend>(&self, run: &mut Run<B>, output: &Rows, input: &Rows) -> Result<()> {
        let (rows, c, c_out) = (self.depthwise.rows_out(), self.filter.norm.c, self.project.norm.c);
        let (pixels, act) = (self.depthwise.pixels_out(), Arg::Int(number(self.act)));
        let (d, affine) = (Arg::In(self.filter.pre), Arg::In(self.filter.norm.affine));
        if let Some(se) = &self.squeeze_excite {
            let args = [d, affine, act, Arg::Int(pixels), Arg::Out(se.mean), Arg::Int(c)];
            let grid = Grid::images(input.n, pixels, c);
            run.rows(Program::new("squeeze_excite").x(run.kind), "pool_forward", grid, &args)?;
            let [w1, b1, w2, b2] = se.weights.map(|weight| Arg::In(weight.values));
            let kept = [se.hidden, se.before, se.gates].map(Arg::Out);
            let args = [Arg::In(se.mean), w1, b1, w2, b2, kept[0], kept[1], kept[2], Arg::Int(c), Arg::Int(se.squeeze)];
            run.plain(Program::new("squeeze_excite"), "se_forward", [input.n, 1], [256, 1], &args)?;
        }
        let gates = Arg::maybe_in(self.squeeze_excite.as_ref().map(|se| se.gates));
        let args = [d, affine, act, gates, Arg::Int(pixels), Arg::Out(self.a), Arg::Null, Arg::Int(rows), Arg::Int(c)];
        run.rows(Program::norm(run.kind, run.kind), "normalize", Grid::rows(rows, c), &args)?;
        let weight = Matrix::new(self.project.weight.operand, c).t();
        run.product([rows, c_out, c], Matrix::new(self.a, c), weight, self.project.pre, false)?;
        let of_shortcut = input.origin.filter(|_| self.residual);
        let beside = Beside { origin: output.origin.map(|origin| (origin, of_shortcut)), ..Beside::default() };
        self.project.norm.measure(run, self.project.pre, rows, beside)
    }

    /// `y = bn(p) + x`
    fn output<B: Backend>(&self, run: &mut Run<B>, input: &Rows, output: &Rows) -> Result<()> {
        let (rows, c) = (output.rows(), output.c);
        let exact = output.exact.filter(|exact| *exact != output.operand);
        let args = [
            Arg::In(self.project.pre),
            Arg::In(self.project.norm.affine),
            Arg::maybe_in((!self.centered).then(|| self.project.norm.bias())),
            Arg::maybe_in(input.exact.filter(|_| self.residual)),
            Arg::Out(output.operand),
            Arg::maybe_out(exact),
            Arg::maybe_out(output.sums.map(|(part, _)| part)),
            Arg::Int(rows),
            Arg::Int(c),
        ];
        run.rows(Program::norm(Kind::F32, run.kind), "output", Grid::rows(rows, c), &args)
    }

    #[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
    pub fn kinks(&self) -> Vec<super::Kink> {
        let units = self.expand.iter().map(|expand| &expand.unit).chain([&self.filter]);
        let kink = |unit: &Unit| super::Kink {
            pre: unit.pre,
            affine: unit.norm.affine,
            bias: unit.norm.bias(),
            act: self.act,
        };
        units.map(kink).collect()
    }
}
