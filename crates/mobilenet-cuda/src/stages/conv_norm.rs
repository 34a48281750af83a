//! A dense convolution, its batch norm and its activation: `y = act(bn(p))` with `p = conv(x)`; only `p` is kept, as
//! float32.
//!
//! ```text
//! forward    convolution   x -> p             a product of rows, or the stem's own kernel
//!            output        act(bn(p)) -> y    or only its mean over the pixels
//! backward   activation    gy, p -> sums
//!            convolution   gp -> weight, gx   gp is made where it is read (stem), or is an operand
//! ```

use mobilenet_arch::Activation;
use mobilenet_arch::plan::ConvPlan;

use super::Builder;
use crate::backend::{Arg, Backend, Kind, Matrix, View};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::norm::{Beside, Gradient, Norm};
use crate::program::{Program, number};
use crate::rows::{Rows, Wants};
use crate::run::{Role, Run};
use crate::variables::Variable;

/// Taps of a window over all channels, at most, where it is not a 1×1.
pub(crate) const CONV_TAPS: usize = 75;

#[derive(Clone, Debug)]
pub(crate) struct ConvNorm {
    weight: Variable,
    norm: Norm,
    act: Activation,
    kernel: usize,
    stride: usize,
    /// The convolution's output
    p: View,
    wants: Wants,
}

impl ConvNorm {
    pub fn new<B: Backend>(
        build: &mut Builder<B>,
        plan: &ConvPlan,
        input: &Rows,
        wants: Wants,
    ) -> Result<(Self, Rows)> {
        let config = plan.config;
        let pointwise = config.kernel == 1 && config.stride == 1;
        let unsupported = |why| Err(Error::Unsupported { layer: plan.conv.clone(), why });
        if !pointwise && plan.c_in * config.kernel * config.kernel > CONV_TAPS {
            return unsupported("a dense convolution of more than 75 taps");
        }
        if !pointwise && (input.origin.is_some() || input.exact.is_none()) {
            return unsupported("a dense convolution after a block");
        }
        let (h, w, c) = (input.h.div_ceil(config.stride), input.w.div_ceil(config.stride), plan.c_out);
        let rows = input.n * h * w;
        Norm::needs(build.needs, rows, c);
        if pointwise {
            build.needs.at_least(Role::Product, rows * c);
        } else {
            let (taps, grid) = (plan.c_in * config.kernel * config.kernel, Grid::stem(rows, c));
            build.needs.parts(grid, 3, c);
            build.needs.at_least(Role::PartWeight, stem_parts(rows, c) * taps * c);
        }
        let stage = Self {
            weight: build.variables.get(&format!("{}.weight", plan.conv))?,
            norm: Norm::new(build.backend, build.variables, plan)?,
            act: config.activation,
            kernel: config.kernel,
            stride: config.stride,
            p: build.floats(rows * c)?,
            wants,
        };
        let output = if wants.pooled {
            let mean = build.floats(input.n * c)?;
            Rows { n: input.n, h: 1, w: 1, c, operand: mean, exact: Some(mean), origin: None, sums: None }
        } else {
            let (operand, exact) = build.operand_and_exact(rows * c, wants.exact)?;
            let sums = if wants.sums {
                let parts = Grid::rows(rows, c).parts;
                Some((build.floats(parts * c)?, parts))
            } else {
                None
            };
            Rows { n: input.n, h, w, c, operand, exact, origin: None, sums }
        };
        Ok((stage, output))
    }

    fn pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1
    }

    fn sizes(&self, input: &Rows) -> [Arg; 10] {
        let (h, w) = (input.h.div_ceil(self.stride), input.w.div_ceil(self.stride));
        let sizes = [input.n, input.h, input.w, input.c, self.norm.c, h, w, self.kernel, self.stride, self.kernel / 2];
        sizes.map(Arg::Int)
    }

    fn rows(&self, input: &Rows) -> usize {
        input.n * input.h.div_ceil(self.stride) * input.w.div_ceil(self.stride)
    }

    pub fn forward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, output: &Rows) -> Result<()> {
        let (rows, c) = (self.rows(input), self.norm.c);
        if self.pointwise() {
            let x = Matrix::new(input.operand, input.c);
            let weight = Matrix::new(self.weight.operand, input.c).t();
            run.product([rows, c, input.c], x, weight, self.p, false)?;
            let beside = Beside { input: Some((self.weight.values, input)), ..Beside::default() };
            self.norm.measure(run, self.p, rows, beside)?;
        } else {
            let grid = Grid::stem(rows, c);
            let part = run.scratch.get(Role::Part, 3 * grid.parts * c);
            let mut args = vec![
                Arg::maybe_in(input.exact),
                Arg::In(self.weight.values),
                Arg::Null,
                Arg::Int(0),
                Arg::Out(self.p),
                Arg::Null,
                Arg::Out(part),
            ];
            args.extend(self.sizes(input));
            run.rows(Program::new("conv").t(run.kind), "stem_forward", grid, &args)?;
            self.norm.finish(run, grid.parts, rows, Beside::default())?;
        }
        let act = Arg::Int(number(self.act));
        if self.wants.pooled {
            let pixels = rows / input.n;
            let args = [
                Arg::In(self.p),
                Arg::In(self.norm.affine),
                act,
                Arg::Int(pixels),
                Arg::Out(output.operand),
                Arg::Int(c),
            ];
            let grid = Grid::images(input.n, pixels, c);
            return run.rows(Program::new("squeeze_excite"), "pool_forward", grid, &args);
        }
        let exact = output.exact.filter(|exact| *exact != output.operand);
        let args = [
            Arg::In(self.p),
            Arg::In(self.norm.affine),
            act,
            Arg::Null,
            Arg::Int(1),
            Arg::Out(output.operand),
            Arg::maybe_out(exact),
            Arg::Int(rows),
            Arg::Int(c),
        ];
        run.rows(Program::norm(Kind::F32, run.kind), "normalize", Grid::rows(rows, c), &args)?;
        let Some((part, _)) = output.sums else { return Ok(()) };
        let args = [Arg::In(output.operand), Arg::Out(part), Arg::Int(rows), Arg::Int(c)];
        run.rows(Program::norm(run.kind, run.kind), "column_sums", Grid::rows(rows, c), &args)
    }

    pub fn backward<B: Backend>(&self, run: &mut Run<B>, input: &Rows, gy: Gradient, gx: Option<View>) -> Result<()> {
        let (rows, c) = (self.rows(input), self.norm.c);
        let slopes = self.norm.backward_sums(run, gy, self.p, self.act, rows)?;
        if !self.pointwise() {
            if gx.is_some() {
                return Err(Error::Unsupported {
                    layer: String::from("a dense convolution"),
                    why: "the gradient of its input",
                });
            }
            let parts = stem_parts(rows, c);
            let taps = input.c * self.kernel * self.kernel;
            let mut args = vec![
                Arg::In(gy.view),
                Arg::In(self.p),
                Arg::In(self.norm.affine),
                Arg::In(slopes),
                Arg::Int(number(self.act)),
                Arg::maybe_in(input.exact),
                Arg::Out(run.scratch.get(Role::PartWeight, parts * taps * c)),
            ];
            args.extend(self.sizes(input));
            let grid = [c.div_ceil(32), parts];
            run.plain(Program::new("conv").t(run.kind), "stem_backward_weight", grid, [256, 1], &args)?;
            return run.sum_parts(parts, self.weight.gradients, taps, c);
        }
        let gp = run.scratch.get(Role::Product, rows * c);
        self.norm.backward_apply(run, (gy, self.p, slopes), self.act, gp, rows)?;
        let (gp, x) = (Matrix::new(gp, c), Matrix::new(input.operand, input.c));
        run.product([c, input.c, rows], gp.t(), x, self.weight.gradients, false)?;
        let Some(gx) = gx else { return Ok(()) };
        run.product([rows, input.c, c], gp, Matrix::new(self.weight.operand, input.c), gx, false)
    }

    #[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
    pub fn kinks(&self) -> Vec<super::Kink> {
        vec![super::Kink { pre: self.p, affine: self.norm.affine, bias: self.norm.bias(), act: self.act }]
    }
}

/// Parts of the stem's weight gradient.
fn stem_parts(rows: usize, c: usize) -> usize {
    rows.div_ceil(64).clamp(1, 1056 / c.div_ceil(32).min(1056))
}
