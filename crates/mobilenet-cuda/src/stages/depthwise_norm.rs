//! A depthwise convolution, its batch norm and its activation by themselves, as MobileNetV1 has them.
//!
//! ```text
//! forward    depthwise    x -> d            output       act(bn(d)) -> y
//! backward   activation   gy, d -> gd       depthwise    gd, d, x -> weight, gx
//! ```

use mobilenet_arch::Activation;
use mobilenet_arch::plan::ConvPlan;

use super::Builder;
use crate::backend::{Arg, Backend, Kind, View};
use crate::depthwise::{Depthwise, OutputGradient};
use crate::error::{Error, Result};
use crate::grid::{Grid, steps};
use crate::norm::{Beside, Gradient, Norm};
use crate::program::{Program, number};
use crate::rows::Rows;
use crate::run::{Role, Run};
use crate::variables::Variable;

#[derive(Clone, Debug)]
pub(crate) struct DepthwiseNorm {
    depthwise: Depthwise,
    weight: Variable,
    norm: Norm,
    act: Activation,
    d: View,
}

impl DepthwiseNorm {
    pub fn new<B: Backend>(build: &mut Builder<B>, plan: &ConvPlan, input: &Rows) -> Result<(Self, Rows)> {
        if input.origin.is_some() {
            let why = "a depthwise convolution after a block";
            return Err(Error::Unsupported { layer: plan.conv.clone(), why });
        }
        let depthwise = Depthwise::new(plan, (input.n, input.h, input.w), None, build.kind);
        let (rows, c) = (depthwise.rows_out(), plan.c_out);
        depthwise.needs(build.needs);
        Norm::needs(build.needs, rows, c);
        build.needs.at_least(Role::Filtered, rows * c);
        build.needs.at_least(Role::Expanded, depthwise.rows_in() * c);
        let (operand, exact) = build.operand_and_exact(rows * c, false)?;
        let (h, w) = (depthwise.h_out(), depthwise.w_out());
        let output = Rows { n: input.n, h, w, c, operand, exact, origin: None, sums: None };
        let stage = Self {
            depthwise,
            weight: build.variables.get(&format!("{}.weight", plan.conv))?,
            norm: Norm::new(build.backend, build.variables, plan)?,
            act: plan.config.activation,
            d: build.expanded(rows * c)?,
        };
        Ok((stage, output))
    }

    pub fn forward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, output: &Rows) -> Result<()> {
        let (rows, c) = (self.depthwise.rows_out(), self.norm.c);
        let parts = self.depthwise.forward(run, (input.operand, None), self.weight.values, None, self.d)?;
        self.norm.finish(run, parts, rows, Beside::default())?;
        let args = [
            Arg::In(self.d),
            Arg::In(self.norm.affine),
            Arg::Int(number(self.act)),
            Arg::Null,
            Arg::Int(1),
            Arg::Out(output.operand),
            Arg::Null,
            Arg::Int(rows),
            Arg::Int(c),
        ];
        run.rows(Program::norm(run.kind, run.kind), "normalize", Grid::rows(rows, c), &args)
    }

    pub fn backward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, gy: Gradient, gx: Option<View>) -> Result<()> {
        let (rows, c) = (self.depthwise.rows_out(), self.norm.c);
        let grid = Grid::rows(rows, c);
        let g = run.scratch.get(Role::Filtered, rows * c);
        let args = [
            Arg::In(gy.view),
            Arg::In(self.d),
            Arg::In(self.norm.affine),
            Arg::Int(number(self.act)),
            Arg::Null,
            Arg::Null,
            Arg::Int(1),
            Arg::Out(g),
            Arg::Out(run.scratch.get(Role::Part, 2 * grid.parts * c)),
            Arg::Int(rows),
            Arg::Int(c),
        ];
        run.rows(Program::norm(Kind::F32, run.kind), "act_backward", grid, &args)?;
        let slopes = self.norm.backward(run, grid.parts, rows)?;
        let of = OutputGradient { g, d: self.d, affine: self.norm.affine, slopes };
        let out = run.scratch.get(Role::Expanded, input.len());
        let weight = (self.weight.values, self.weight.gradients);
        self.depthwise.backward(run, of, (input.operand, None), weight, out)?;
        let Some(gx) = gx else { return Ok(()) };
        let args = [Arg::In(out), Arg::Null, Arg::Out(gx), Arg::Long(input.len())];
        run.plain(Program::new("finish").t(run.kind), "add_rows", steps(input.len()), [256, 1], &args)
    }

    #[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
    pub fn kinks(&self) -> Vec<super::Kink> {
        vec![super::Kink { pre: self.d, affine: self.norm.affine, bias: self.norm.bias(), act: self.act }]
    }
}
