//! Training, backward.

use super::{Expand, InvertedResidual, SqueezeExcite};
use crate::backend::{Arg, Backend, Matrix, View};
use crate::depthwise::OutputGradient;
use crate::error::Result;
use crate::grid::{Grid, blocks, steps};
use crate::norm::Gradient;
use crate::program::{Program, number};
use crate::rows::Rows;
use crate::run::{Role, Run};
use mobilenet_arch::Activation;

impl InvertedResidual {
    pub fn backward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, gy: Gradient, gx: Option<View>) -> Result<()> {
        let slopes = self.project_backward(run, input, gy)?;
        let (rows_in, rows_out, c) = (self.depthwise.rows_in(), self.depthwise.rows_out(), self.filter.norm.c);
        let g = run.scratch.get(Role::Filtered, rows_out * c);
        let of = OutputGradient { g, d: self.filter.pre, affine: self.filter.norm.affine, slopes };
        let out = run.scratch.get(Role::Expanded, rows_in * c);
        let weight = (self.filter.weight.values, self.filter.weight.gradients);
        let parts = self.depthwise.backward(run, of, self.filtered(input), weight, out)?;
        match &self.expand {
            Some(expand) => self.input_backward(run, input, expand, parts, gy, gx),
            None => {
                let Some(gx) = gx else { return Ok(()) };
                let gy = Arg::maybe_in(self.residual.then_some(gy.view));
                let args = [Arg::In(out), gy, Arg::Out(gx), Arg::Long(input.len())];
                run.plain(Program::new("finish").t(run.kind), "add_rows", steps(input.len()), [256, 1], &args)
            }
        }
    }

    /// Back through the output's batch norm, the projection, squeeze-and-excite and the activation: leaves the gradient of
    /// `bn(d)` in [`Role::Filtered`], and returns the slopes of its batch norm.
    fn project_backward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, gy: Gradient) -> Result<View> {
        let (rows, c, c_out) = (self.depthwise.rows_out(), self.filter.norm.c, self.project.norm.c);
        let identity = Activation::Identity;
        let slopes = self.project.norm.backward_sums(run, gy, self.project.pre, identity, rows)?;
        let gp = run.scratch.get(Role::Product, rows * c_out);
        self.project.norm.backward_apply(run, (gy, self.project.pre, slopes), identity, gp, rows)?;
        let gp = Matrix::new(gp, c_out);
        run.product([c_out, c, rows], gp.t(), Matrix::new(self.a, c), self.project.weight.gradients, false)?;
        let g = run.scratch.get(Role::Filtered, rows * c);
        run.product([rows, c, c_out], gp, Matrix::new(self.project.weight.operand, c), g, false)?;

        let (d, affine, act) = (Arg::In(self.filter.pre), Arg::In(self.filter.norm.affine), Arg::Int(number(self.act)));
        let pixels = self.depthwise.pixels_out();
        let (mut gates, mut means) = (Arg::Null, Arg::Null);
        if let Some(se) = &self.squeeze_excite {
            let ggates = run.scratch.get(Role::GateGradients, input.n * c);
            let args = [Arg::In(g), d, affine, act, Arg::Int(pixels), Arg::Out(ggates), Arg::Int(c)];
            let grid = Grid::images(input.n, pixels, c);
            run.rows(Program::new("squeeze_excite").x(run.kind), "gate_gradient", grid, &args)?;
            gates = Arg::In(se.gates);
            means = Arg::In(se.backward(run, ggates, input.n, pixels, c)?);
        }
        let grid = Grid::rows(rows, c);
        let part = run.scratch.get(Role::Part, 2 * grid.parts * c);
        let (pixels, rows_arg) = (Arg::Int(pixels), Arg::Int(rows));
        let args =
            [Arg::In(g), d, affine, act, gates, means, pixels, Arg::Out(g), Arg::Out(part), rows_arg, Arg::Int(c)];
        run.rows(Program::norm(run.kind, run.kind), "act_backward", grid, &args)?;
        self.filter.norm.backward(run, grid.parts, rows)
    }

    /// The expansion's gradients: of `scale · ge` by products, the rest of its batch norm's by small matrices, and the
    /// residual's part of `gx`.
    fn input_backward<B: Backend>(
        &self,
        run: &mut Run<B>,
        input: &Rows,
        expand: &Expand,
        parts: usize,
        gy: Gradient,
        gx: Option<View>,
    ) -> Result<()> {
        let unit = &expand.unit;
        let (rows, c, c_in) = (input.rows(), unit.norm.c, input.c);
        let slopes = unit.norm.backward(run, parts, rows)?;
        let left = run.scratch.get(Role::Left, c * (c_in + 1));
        let gram = run.scratch.get(Role::Gram, (c_in + 1) * c_in);
        let args = [
            Arg::In(unit.weight.values),
            Arg::In(slopes),
            Arg::In(expand.input_sums),
            Arg::Int(rows),
            Arg::Out(left),
            Arg::Out(gram.first(c_in)),
            Arg::Int(c),
            Arg::Int(c_in),
        ];
        run.plain(Program::new("finish"), "expand_left", [c.div_ceil(8), 1], [256, 1], &args)?;
        let x = Matrix::new(input.operand, c_in);
        let ge = Matrix::new(run.scratch.get(Role::Expanded, rows * c), c);
        run.product([c_in, c_in, rows], x.t(), x, gram.part(c_in, c_in * c_in), false)?;
        run.product([c, c_in, rows], ge.t(), x, unit.weight.gradients, false)?;
        let left = Matrix::new(left, c_in + 1);
        run.product([c, c_in, c_in + 1], left, Matrix::new(gram, c_in), unit.weight.gradients, true)?;

        let Some(gx) = gx else { return Ok(()) };
        let slope = run.scratch.get(Role::SlopeMatrix, (c_in + 1) * c_in);
        let weight = Matrix::new(unit.weight.values, c_in);
        run.product([c_in + 1, c_in, c], left.t(), weight, slope, false)?;
        let m = run.scratch.get(Role::RightMatrix, c_in * c_in);
        let gy = Arg::maybe_in(self.residual.then_some(gy.view));
        let args = [Arg::In(slope), gy, Arg::Out(gx), Arg::Out(m), Arg::Int(rows), Arg::Int(c_in)];
        run.plain(Program::new("finish").t(run.kind), "input_begin", steps(rows * c_in), [256, 1], &args)?;
        run.product([rows, c_in, c_in], x, Matrix::new(m, c_in), gx, true)?;
        run.product([rows, c_in, c], ge, Matrix::new(unit.weight.operand, c_in), gx, true)
    }
}

impl SqueezeExcite {
    /// The gradients of its parameters, given those of the gates; returns that of every pixel through the means.
    fn backward<B: Backend>(&self, run: &mut Run<B>, ggates: View, n: usize, pixels: usize, c: usize) -> Result<View> {
        let (s, [w1, b1, w2, b2]) = (self.squeeze, self.weights);
        let before = run.scratch.get(Role::GateInputs, n * c);
        let hidden = run.scratch.get(Role::GateHidden, n * s);
        let means = run.scratch.get(Role::GateMeans, n * c);
        let args = [
            Arg::In(ggates),
            Arg::In(self.before),
            Arg::In(self.hidden),
            Arg::In(w1.values),
            Arg::In(w2.values),
            Arg::Out(before),
            Arg::Out(hidden),
            Arg::Out(means),
            Arg::Int(pixels),
            Arg::Int(c),
            Arg::Int(s),
        ];
        let program = Program::new("squeeze_excite");
        run.plain(program, "se_backward", [n, 1], [256, 1], &args)?;
        run.product([s, c, n], Matrix::new(hidden, s).t(), Matrix::new(self.mean, c), w1.gradients, false)?;
        run.product([c, s, n], Matrix::new(before, c).t(), Matrix::new(self.hidden, s), w2.gradients, false)?;
        let gradients = [Arg::Out(b1.gradients), Arg::Out(b2.gradients)];
        let sizes = [n, c, s].map(Arg::Int);
        let args = [Arg::In(hidden), Arg::In(before), gradients[0], gradients[1], sizes[0], sizes[1], sizes[2]];
        run.plain(program, "se_biases", blocks(c + s), [256, 1], &args)?;
        Ok(means)
    }
}
