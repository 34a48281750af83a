//! The launches of each kind of layer.

use mobilenet_arch::Activation;

use super::{Block, Layer, Tensor};
use crate::backend::{Arg, Backend, Kind, View};
use crate::error::Result;
use crate::grid::Grid;
use crate::program::{Program, number};
use crate::run::Run;

impl Layer {
    pub(super) fn run<B: Backend>(&self, run: &mut Run<B>) -> Result<()> {
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
