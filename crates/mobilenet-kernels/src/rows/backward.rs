//! The passes of a backward.

use super::{Pass, RUN, Sums, Target, activated, add_sums, scaled, walk};
use crate::activation::{Activation, Function, Identity, with_function};
use crate::affine::Affine;
use crate::element::{Element, Place};
use crate::simd::{Isa, Level, Streamed, load};

/// The values of an activation and the gradients of its inputs, of some channels of `R` rows.
type Both<const L: usize, const R: usize> = [[[f32; L]; R]; 2];

/// Where a pass over gradients leaves more than its sums.
pub(crate) trait Sink {
    /// Whether the gradients are also to be left where they came from.
    const IN_PLACE: bool;

    /// Takes what came of the rows at `place`.
    fn put<I: Isa, const L: usize, const R: usize>(&mut self, isa: I, place: Place, rows: Both<L, R>);
}

impl Sink for () {
    const IN_PLACE: bool = true;

    #[inline(always)]
    fn put<I: Isa, const L: usize, const R: usize>(&mut self, _: I, _: Place, _: Both<L, R>) {}
}

/// Keeps the gradients, which the next phase reads.
pub(crate) struct Gradients<'a, E>(pub(crate) Streamed<'a, E>);

impl<E: Element> Sink for Gradients<'_, E> {
    const IN_PLACE: bool = false;

    #[inline(always)]
    fn put<I: Isa, const L: usize, const R: usize>(&mut self, isa: I, place: Place, [_, gradients]: Both<L, R>) {
        place.stream(isa, &mut self.0, gradients);
    }
}

/// Keeps the values.
pub(crate) struct Values<'a, E>(pub(crate) &'a mut [E]);

impl<E: Element> Sink for Values<'_, E> {
    const IN_PLACE: bool = true;

    #[inline(always)]
    fn put<I: Isa, const L: usize, const R: usize>(&mut self, isa: I, place: Place, [values, _]: Both<L, R>) {
        place.store(isa, self.0, values);
    }
}

/// Two of them, one after the other.
impl<A: Sink, B: Sink> Sink for (A, B) {
    const IN_PLACE: bool = A::IN_PLACE && B::IN_PLACE;

    #[inline(always)]
    fn put<I: Isa, const L: usize, const R: usize>(&mut self, isa: I, place: Place, rows: Both<L, R>) {
        self.0.put(isa, place, rows);
        self.1.put(isa, place, rows);
    }
}

/// Keeps the gradients as the left side of a product over channels, and for one over rows. Of float32, what the pass
/// leaves behind is both.
pub(crate) struct Operands<'a, E>(pub(crate) &'a mut [E], pub(crate) &'a mut [E]);

impl<E: Element> Sink for Operands<'_, E> {
    const IN_PLACE: bool = E::WIDTH == 1;

    #[inline(always)]
    fn put<I: Isa, const L: usize, const R: usize>(&mut self, isa: I, place: Place, [_, gradients]: Both<L, R>) {
        if E::WIDTH > 1 {
            place.store_left(isa, self.0, gradients);
            place.store(isa, self.1, gradients);
        }
    }
}

/// Turns the gradient `gs` of the activation into that of its input, `g = g · act'`, with the sums `sum[c] += Σ g` and
/// `dot[c] += Σ g · (x - mean)`; hands values and gradients to `sink`.
pub(crate) fn through_activation<E: Element, S: Sink>(
    level: Level,
    (xs, affine, act): (&[E], Affine, Activation),
    gs: &mut [f32],
    [sum, dot]: [&mut [f64]; 2],
    sink: S,
) {
    let c = sum.len();
    with_function!(act, F => walk::<F, _>(level, gs.len() / c, c, ThroughActivation { xs, affine, gs, sum, dot, sink }));
}

struct ThroughActivation<'a, E, S> {
    xs: &'a [E],
    affine: Affine<'a>,
    gs: &'a mut [f32],
    sum: &'a mut [f64],
    dot: &'a mut [f64],
    sink: S,
}

impl<E: Element, S: Sink> Pass for ThroughActivation<'_, E, S> {
    const PAIRS: bool = E::WIDTH > 1;

    fn strip(&self) -> usize {
        RUN
    }

    type State<const L: usize> = ([[f32; L]; 3], Sums<L>);

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        (self.affine.load(at), [[[0.; L]; 2]; 2])
    }

    #[inline(always)]
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        ([mean, scale, bias], sums): &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        let mut g: [[f32; L]; R] = place.load(self.gs);
        let mut values = [[0.; L]; R];
        for r in 0..R {
            for l in 0..L {
                let d = x[r][l] - mean[l];
                let z = isa.mul_add(d, scale[l], bias[l]);
                values[r][l] = F::value(z);
                g[r][l] *= F::derivative(z);
                sums[r][0][l] += g[r][l];
                sums[r][1][l] = isa.mul_add(g[r][l], d, sums[r][1][l]);
            }
        }
        if S::IN_PLACE {
            place.store(isa, self.gs, g);
        }
        self.sink.put(isa, place, [values, g]);
    }

    #[inline(always)]
    fn end<const L: usize>(&mut self, (_, sums): Self::State<L>, at: usize) {
        add_sums(sums, &mut self.sum[at..at + L], &mut self.dot[at..at + L]);
    }
}

/// With `a = act((xs - mean) · scale + bias)` and the gradient `gs` of `a · gate`: the gate's gradient `dots[c] += Σ a
/// · g`. Keeps `a · gate` in `values` and `gs` in `kept`.
pub(crate) fn gate_gradient<E: Element>(
    level: Level,
    (xs, affine, act): (&[E], Affine, Activation),
    gate: &[f32],
    gs: &[f32],
    dots: &mut [f32],
    [values, kept]: [&mut [E]; 2],
) {
    let c = gate.len();
    let pass = GateGradient { xs, affine, gate, gs, dots, values, kept };
    with_function!(act, F => walk::<F, _>(level, gs.len() / c, c, pass));
}

struct GateGradient<'a, E> {
    xs: &'a [E],
    affine: Affine<'a>,
    gate: &'a [f32],
    gs: &'a [f32],
    dots: &'a mut [f32],
    values: &'a mut [E],
    kept: &'a mut [E],
}

impl<E: Element> Pass for GateGradient<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    fn strip(&self) -> usize {
        RUN
    }

    type State<const L: usize> = ([[f32; L]; 3], [f32; L], [[f32; L]; 2]);

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        (self.affine.load(at), load(self.gate, at), [[0.; L]; 2])
    }

    #[inline(always)]
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        (affine, gate, totals): &mut Self::State<L>,
        place: Place,
    ) {
        let x = activated::<I, F, L, R>(isa, place.load_ahead(self.xs), affine);
        let g: [[f32; L]; R] = place.load(self.gs);
        for r in 0..R {
            for l in 0..L {
                totals[r][l] = isa.mul_add(x[r][l], g[r][l], totals[r][l]);
            }
        }
        place.store(isa, self.values, scaled(x, gate));
        place.store(isa, self.kept, g);
    }

    #[inline(always)]
    fn end<const L: usize>(&mut self, (_, _, [even, odd]): Self::State<L>, at: usize) {
        for l in 0..L {
            self.dots[at + l] += even[l] + odd[l];
        }
    }
}

/// `ys = xs · gate + shift`, channel by channel.
pub(crate) fn scale_shift<E: Element>(level: Level, xs: &[E], gate: &[f32], shift: &[f32], ys: &mut [f32]) {
    let c = gate.len();
    walk::<Identity, _>(level, ys.len() / c, c, ScaleShift { xs, gate, shift, ys });
}

struct ScaleShift<'a, E> {
    xs: &'a [E],
    gate: &'a [f32],
    shift: &'a [f32],
    ys: &'a mut [f32],
}

impl<E: Element> Pass for ScaleShift<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    type State<const L: usize> = [[f32; L]; 2];

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        [load(self.gate, at), load(self.shift, at)]
    }

    #[inline(always)]
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        [gate, shift]: &mut Self::State<L>,
        place: Place,
    ) {
        let mut x: [[f32; L]; R] = place.load_ahead(self.xs);
        for x in &mut x {
            for l in 0..L {
                x[l] = isa.mul_add(x[l], gate[l], shift[l]);
            }
        }
        place.store(isa, self.ys, x);
    }
}

/// `gxs = scale · gs + slope · (xs - mean) + offset`, `gs` being the gradient of the batch norm's output.
pub(crate) fn input_gradient<E: Element>(
    level: Level,
    xs: &[E],
    gs: &[E],
    affine: Affine,
    [slope, offset]: [&[f32]; 2],
    gxs: &mut [f32],
) {
    input_gradient_to(level, xs, gs, affine, [slope, offset], Target::dense(gxs, slope.len()));
}

/// [`input_gradient`], written elsewhere.
pub(crate) fn input_gradient_to<E: Element>(
    level: Level,
    xs: &[E],
    gs: &[E],
    affine: Affine,
    [slope, offset]: [&[f32]; 2],
    gxs: Target,
) {
    walk::<Identity, _>(level, gxs.rows, slope.len(), InputGradient { xs, gs, affine, slope, offset, gxs });
}

struct InputGradient<'a, E> {
    xs: &'a [E],
    gs: &'a [E],
    affine: Affine<'a>,
    slope: &'a [f32],
    offset: &'a [f32],
    gxs: Target<'a>,
}

impl<E: Element> Pass for InputGradient<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    fn strip(&self) -> usize {
        self.gxs.together
    }

    type State<const L: usize> = [[f32; L]; 4];

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        let [mean, scale, _] = self.affine.load(at);
        [mean, scale, load(self.slope, at), load(self.offset, at)]
    }

    #[inline(always)]
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        [mean, scale, slope, offset]: &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        let mut g: [[f32; L]; R] = place.load_ahead(self.gs);
        for r in 0..R {
            for l in 0..L {
                g[r][l] = isa.mul_add(g[r][l], scale[l], isa.mul_add(x[r][l] - mean[l], slope[l], offset[l]));
            }
        }
        self.gxs.store(isa, place, g);
    }
}
