//! The depthwise convolution: which kernel computes it, and its launches.

use mobilenet_arch::Activation;
use mobilenet_arch::plan::ConvPlan;

use crate::backend::{Arg, Backend, Kind, View};
use crate::error::Result;
use crate::grid::Grid;
use crate::program::{NONE, Program, number};
use crate::run::{Needs, Role, Run};

/// A depthwise convolution of `[n, h, w, c]`, and what its input goes through first.
#[derive(Clone, Debug)]
pub(crate) struct Depthwise {
    pub n: usize,
    h: usize,
    w: usize,
    c: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// After the batch norm of its input; `None`: the input is taken as it is.
    act: Option<Activation>,
    /// The program with a kernel for this window, if there is one.
    program: Option<Program>,
    names: [&'static str; 2],
}

/// What a backward reads: the gradient of `bn(d)`, `d`, its affine and its slopes.
#[derive(Clone, Copy)]
pub(crate) struct OutputGradient {
    pub g: View,
    pub d: View,
    pub affine: View,
    pub slopes: View,
}

impl Depthwise {
    pub fn new(plan: &ConvPlan, (n, h, w): (usize, usize, usize), act: Option<Activation>, kind: Kind) -> Self {
        let config = plan.config;
        let names = match (config.kernel, config.stride, config.dilation) {
            (3, 1, 1) => Some(["dw3_s1_forward", "dw3_s1_backward"]),
            (3, 2, 1) => Some(["dw3_s2_forward", "dw3_s2_backward"]),
            (5, 1, 1) => Some(["dw5_s1_forward", "dw5_s1_backward"]),
            (5, 2, 1) => Some(["dw5_s2_forward", "dw5_s2_backward"]),
            _ => None,
        };
        let program = Program::depthwise(kind, act).filter(|_| plan.c_out.is_multiple_of(2) && names.is_some());
        Self {
            n,
            h,
            w,
            c: plan.c_out,
            kernel: config.kernel,
            stride: config.stride,
            dilation: config.dilation,
            act,
            program,
            names: names.unwrap_or_default(),
        }
    }

    pub fn h_out(&self) -> usize {
        self.h.div_ceil(self.stride)
    }

    pub fn w_out(&self) -> usize {
        self.w.div_ceil(self.stride)
    }

    pub fn pixels_out(&self) -> usize {
        self.h_out() * self.w_out()
    }

    pub fn rows_in(&self) -> usize {
        self.n * self.h * self.w
    }

    pub fn rows_out(&self) -> usize {
        self.n * self.pixels_out()
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    fn forward_grid(&self) -> Grid {
        match self.program {
            Some(_) => self.forward_strips().0,
            None => Grid::single(self.rows_out(), self.c),
        }
    }

    fn backward_grid(&self) -> Grid {
        match self.program {
            Some(_) => Grid::strips(self.n * self.h * self.w.div_ceil(4), self.c),
            None => Grid::single(self.rows_in(), self.c),
        }
    }

    /// The grid of a pass down strips, and the rows that a thread goes down.
    fn forward_strips(&self) -> (Grid, usize) {
        let width = if self.stride == 1 { 4 } else { 2 };
        Grid::segments(self.n * self.w_out().div_ceil(width), self.h_out(), self.c)
    }

    pub fn needs(&self, needs: &mut Needs) {
        needs.parts(self.forward_grid(), 3, self.c);
        needs.parts(self.backward_grid(), 2, self.c);
        for grid in [self.backward_grid(), Grid::single(self.rows_out(), self.c)] {
            needs.at_least(Role::PartWeight, grid.parts * self.taps() * self.c);
        }
    }

    fn sizes(&self) -> [Arg; 6] {
        [self.n, self.h, self.w, self.c, self.h_out(), self.w_out()].map(Arg::Int)
    }

    fn window(&self) -> [Arg; 4] {
        [self.kernel, self.stride, self.dilation, self.dilation * (self.kernel / 2)].map(Arg::Int)
    }

    fn act(&self) -> Arg {
        Arg::Int(self.act.map_or(NONE, number))
    }

    fn any(&self, kind: Kind) -> Program {
        Program::new("depthwise_any").t(kind)
    }

    /// `d`, and its moments in [`Role::Part`]; returns how many parts. With a bias `act(d + bias)` and no moments.
    pub fn forward<B: Backend>(
        &self,
        run: &mut Run<B>,
        (e, affine): (View, Option<View>),
        weight: View,
        folded: Option<(View, Activation)>,
        d: View,
    ) -> Result<usize> {
        let grid = self.forward_grid();
        let moments = run.scratch.get(Role::Part, 3 * grid.parts * self.c);
        let part = if folded.is_none() { Arg::Out(moments) } else { Arg::Null };
        let (bias, act) = (Arg::maybe_in(folded.map(|(bias, _)| bias)), folded.map_or(0, |(_, act)| number(act)));
        let mut args = vec![Arg::In(e), Arg::maybe_in(affine)];
        match self.program {
            Some(program) => {
                args.extend([Arg::In(weight), bias, Arg::Int(act), Arg::Out(d), part]);
                args.extend(self.sizes());
                args.push(Arg::Int(self.forward_strips().1));
                run.plain(program, self.names[0], grid.grid(), grid.block, &args)?;
            }
            None => {
                args.extend([self.act(), Arg::In(weight), bias, Arg::Int(act), Arg::Out(d), part]);
                args.extend(self.sizes());
                args.extend(self.window());
                run.plain(self.any(run.kind), "dw_any_forward", grid.grid(), grid.block, &args)?;
            }
        }
        Ok(grid.parts)
    }

    /// The gradient of the input, `out`: times its batch norm's scale, of which [`Role::Part`] gets the sums, or as it is
    /// where there is none; and that of the weight. Returns how many parts the sums have.
    pub fn backward<B: Backend>(
        &self,
        run: &mut Run<B>,
        of: OutputGradient,
        (e, affine): (View, Option<View>),
        (weight, gweight): (View, View),
        out: View,
    ) -> Result<usize> {
        let OutputGradient { g, d, affine: affine_d, slopes } = of;
        let grid = self.backward_grid();
        let sums = run.scratch.get(Role::Part, 2 * grid.parts * self.c);
        let part = if self.act.is_some() { Arg::Out(sums) } else { Arg::Null };
        let mut args =
            vec![Arg::In(g), Arg::In(d), Arg::In(affine_d), Arg::In(slopes), Arg::In(e), Arg::maybe_in(affine)];
        let Some(program) = self.program else {
            args.push(self.act());
            let mut args_weight = args.clone();
            args.extend([Arg::In(weight), Arg::Out(out), part]);
            args.extend(self.sizes());
            args.extend(self.window());
            run.plain(self.any(run.kind), "dw_any_backward_input", grid.grid(), grid.block, &args)?;
            let of_weight = Grid::single(self.rows_out(), self.c);
            args_weight.push(Arg::Out(run.scratch.get(Role::PartWeight, of_weight.parts * self.taps() * self.c)));
            args_weight.extend(self.sizes());
            args_weight.extend(self.window());
            let block = of_weight.block;
            run.plain(self.any(run.kind), "dw_any_backward_weight", of_weight.grid(), block, &args_weight)?;
            run.sum_parts(of_weight.parts, gweight, self.taps(), self.c)?;
            return Ok(grid.parts);
        };
        let part_weight = run.scratch.get(Role::PartWeight, grid.parts * self.taps() * self.c);
        args.extend([Arg::In(weight), Arg::Out(out), Arg::Out(part_weight), part]);
        args.extend(self.sizes());
        run.plain(program, self.names[1], grid.grid(), grid.block, &args)?;
        run.sum_parts(grid.parts, gweight, self.taps(), self.c)?;
        Ok(grid.parts)
    }
}
