//! A batch norm's variables, and what is made of its sums.

use mobilenet_arch::BatchNormConfig;
use mobilenet_arch::plan::ConvPlan;

use crate::backend::{Arg, Backend, Kind, View};
use crate::error::Result;
use crate::grid::Grid;
use crate::program::{Program, number};
use crate::rows::Rows;
use crate::run::{Needs, Role, Run};
use crate::variables::{Variable, Variables};
use mobilenet_arch::Activation;

/// Blocks of the small kernels of `finish.cu`.
const FINISH: [usize; 2] = [8, 32];

/// A batch norm, its statistics of the last batch, and its running ones.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub c: usize,
    gamma: Variable,
    beta: Variable,
    running_mean: View,
    running_var: View,
    config: BatchNormConfig,
    /// `[4, c]`: mean, scale, bias, and what rounding took from the mean
    pub affine: View,
    inverse_std: View,
}

/// What else is computed where the statistics are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beside<'a> {
    /// An expansion's or other 1×1's weight and its input, of whose values' origin the running mean knows.
    pub input: Option<(View, &'a Rows)>,
    /// Where the input's sums go.
    pub input_sums: Option<View>,
    /// The origin of a block's output, and that of what is added to it.
    pub origin: Option<(View, Option<View>)>,
}

impl Norm {
    pub fn new<B: Backend>(backend: &mut B, variables: &Variables, plan: &ConvPlan) -> Result<Self> {
        let name = |name: &str| format!("{}.{name}", plan.norm);
        let c = plan.c_out;
        Ok(Self {
            c,
            gamma: variables.get(&name("weight"))?,
            beta: variables.get(&name("bias"))?,
            running_mean: variables.statistic(&name("running_mean"))?,
            running_var: variables.statistic(&name("running_var"))?,
            config: plan.config.norm,
            affine: backend.values(Kind::F32, 4 * c)?,
            inverse_std: backend.values(Kind::F32, c)?,
        })
    }

    /// The bias, where a pass takes it by itself.
    pub fn bias(&self) -> View {
        self.beta.values
    }

    /// The moments of `pre`, `[rows, c]`, and the statistics that they make.
    pub fn measure<B: Backend>(&self, run: &mut Run<B>, pre: View, rows: usize, beside: Beside) -> Result<()> {
        let grid = Grid::rows(rows, self.c);
        let part = run.scratch.get(Role::Part, 3 * grid.parts * self.c);
        let args = [Arg::In(pre), Arg::Out(part), Arg::Int(rows), Arg::Int(self.c)];
        run.rows(Program::norm(pre.kind, pre.kind), "column_stats", grid, &args)?;
        self.finish(run, grid.parts, rows, beside)
    }

    /// The statistics of what so many parts' moments say, and the running ones.
    pub fn finish<B: Backend>(&self, run: &mut Run<B>, parts: usize, rows: usize, beside: Beside) -> Result<()> {
        let momentum = self.config.momentum as f32;
        let unbiasing = if rows > 1 { rows as f64 / (rows - 1) as f64 } else { 1. } as f32;
        let part = run.scratch.get(Role::Part, 3 * parts * self.c);
        let input = beside.input.filter(|(_, rows)| rows.origin.is_some() || beside.input_sums.is_some());
        let origin = input.and_then(|(_, rows)| rows.origin);
        let (origin_out, origin_in) = beside.origin.map_or((None, None), |(out, from)| (Some(out), from));
        let sums = beside.input_sums.and(input).and_then(|(_, rows)| rows.sums);
        let args = [
            Arg::In(part),
            Arg::Int(parts),
            Arg::Int(self.c),
            Arg::In(self.gamma.values),
            Arg::In(self.beta.values),
            Arg::Float(self.config.eps as f32),
            Arg::Float(1. - momentum),
            Arg::Float(momentum),
            Arg::Float(momentum * unbiasing),
            Arg::Out(self.affine),
            Arg::Out(self.inverse_std),
            Arg::InOut(self.running_mean),
            Arg::InOut(self.running_var),
            origin.and(input).map_or(Arg::Null, |(weight, _)| Arg::In(weight)),
            Arg::maybe_in(origin),
            Arg::Int(input.map_or(0, |(_, rows)| rows.c)),
            Arg::maybe_in(origin_in),
            Arg::maybe_out(origin_out),
            Arg::maybe_in(sums.map(|(part, _)| part)),
            Arg::Int(sums.map_or(0, |(_, parts)| parts)),
            Arg::maybe_out(beside.input_sums),
        ];
        let columns = self.c.max(input.map_or(0, |(_, rows)| rows.c));
        run.plain(Program::new("finish"), "norm_finish", [columns.div_ceil(FINISH[0]), 1], FINISH, &args)
    }

    /// The gradients of weight and bias from so many parts' sums over rows; returns the slopes, `[3, c]`.
    pub fn backward<B: Backend>(&self, run: &mut Run<B>, parts: usize, rows: usize) -> Result<View> {
        let part = run.scratch.get(Role::Part, 2 * parts * self.c);
        let slopes = run.scratch.get(Role::Slopes, 3 * self.c);
        let args = [
            Arg::In(part),
            Arg::Int(parts),
            Arg::Int(self.c),
            Arg::Int(rows),
            Arg::In(self.affine),
            Arg::In(self.inverse_std),
            Arg::Out(slopes),
            Arg::Out(self.gamma.gradients),
            Arg::Out(self.beta.gradients),
        ];
        run.plain(Program::new("finish"), "norm_backward_finish", [self.c.div_ceil(FINISH[0]), 1], FINISH, &args)?;
        Ok(slopes)
    }

    /// [`backward`](Self::backward) of `act(bn(pre))`, whose gradient is given for every row or every image: first the
    /// sums.
    pub fn backward_sums<B: Backend>(
        &self,
        run: &mut Run<B>,
        gy: Gradient,
        pre: View,
        act: Activation,
        rows: usize,
    ) -> Result<View> {
        let grid = Grid::rows(rows, self.c);
        let part = run.scratch.get(Role::Part, 2 * grid.parts * self.c);
        let args = [
            Arg::In(gy.view),
            Arg::In(pre),
            Arg::In(self.affine),
            Arg::Int(number(act)),
            Arg::Int(gy.pixels),
            Arg::Out(part),
            Arg::Int(rows),
            Arg::Int(self.c),
        ];
        run.rows(Program::norm(pre.kind, pre.kind), "norm_backward_sums", grid, &args)?;
        self.backward(run, grid.parts, rows)
    }

    /// Then the gradient of `pre`.
    pub fn backward_apply<B: Backend>(
        &self,
        run: &mut Run<B>,
        (gy, pre, slopes): (Gradient, View, View),
        act: Activation,
        gx: View,
        rows: usize,
    ) -> Result<()> {
        let args = [
            Arg::In(gy.view),
            Arg::In(pre),
            Arg::In(self.affine),
            Arg::In(slopes),
            Arg::Int(number(act)),
            Arg::Int(gy.pixels),
            Arg::Out(gx),
            Arg::Int(rows),
            Arg::Int(self.c),
        ];
        run.rows(Program::norm(pre.kind, gx.kind), "norm_backward_apply", Grid::rows(rows, self.c), &args)
    }

    pub fn needs(needs: &mut Needs, rows: usize, c: usize) {
        needs.parts(Grid::rows(rows, c), 3, c);
        needs.at_least(Role::Slopes, 3 * c);
    }
}

/// The gradient of a stage's output, float32: `[n, h, w, c]`, or `[n, c]` of the mean over so many pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gradient {
    pub view: View,
    /// 0 where it is given for every row.
    pub pixels: usize,
}
