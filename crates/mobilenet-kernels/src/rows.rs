//! The passes over rows of channels: each is a [`Pass`], written once for every instruction set and every kind of
//! [`Element`].
//!
//! Rows are walked in strips: down a register's worth of channels, two rows at a time, with the channels' mean, scale and sums
//! in registers; then down the next channels, while the strip is in the L1. The loads ask for the next strip in time.

use std::ops::Range;

use crate::activation::{Activation, Function, Identity, with_function};
use crate::batch_norm::Affine;
use crate::buffer::Elements;
use crate::element::Element;
use crate::matmul::Matrix;
use crate::simd::{Arithmetic, Level, for_each_level, for_lanes, load, prefetch, store};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx512Bf16, Set};

/// How many rows are walked over before the next channels: few enough that they are still in the L1 then.
const STRIP: usize = 16;

/// How many rows are summed in float32.
const RUN: usize = 64;

/// What happens to rows of `c` channels.
trait Pass {
    /// Whether it reads or writes bf16.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no instruction set here converts it by itself"))]
    const PAIRS: bool;

    /// Rows of a strip. Of passes that sum up, how many rows are summed in float32: more would cost digits.
    fn strip(&self) -> usize {
        STRIP
    }

    /// What stays in registers on the way down `L` channels.
    type State<const L: usize>;

    /// Before the way down the channels from `at` on.
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L>;

    /// Rows `row` to `row + R`: two, or the last of an odd number.
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        state: &mut Self::State<L>,
        place: Place,
    );

    /// After the way down.
    #[inline(always)]
    fn end<const L: usize>(&mut self, _: Self::State<L>, _at: usize) {}
}

/// Some rows' channels from `at` on.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    c: usize,
    strip: usize,
    row: usize,
    at: usize,
}

/// Where float32 rows are written: one after the other, or with room between the rows of an image.
pub(crate) struct Target<'a> {
    /// From the first row on.
    pub(crate) values: &'a mut [f32],
    pub(crate) rows: usize,
    /// So many rows lie one after the other,
    pub(crate) together: usize,
    /// and so many values are left out after them.
    pub(crate) gap: usize,
}

impl<'a> Target<'a> {
    /// Rows of `c` channels, one after the other.
    fn dense(values: &'a mut [f32], c: usize) -> Self {
        Self { rows: values.len() / c, values, together: STRIP, gap: 0 }
    }

    #[inline(always)]
    fn store<const L: usize, const R: usize>(&mut self, place: Place, rows: [[f32; L]; R]) {
        for (r, values) in rows.into_iter().enumerate() {
            store(self.values, place.strip * self.gap + (place.row + r) * place.c + place.at, values);
        }
    }
}

impl Place {
    #[inline(always)]
    fn load<E: Element, const L: usize, const R: usize>(self, xs: &[E]) -> [[f32; L]; R] {
        E::load_rows(xs, self.c, self.row, self.at)
    }

    #[inline(always)]
    fn store<A: Arithmetic, E: Element, const L: usize, const R: usize>(self, ys: &mut [E], rows: [[f32; L]; R]) {
        E::store_rows::<A, L, R>(ys, self.c, self.row, self.at, rows);
    }

    /// Stores past the caches: what the next phase reads is not needed before then.
    #[inline(always)]
    fn stream<A: Arithmetic, E: Element, const L: usize, const R: usize>(self, ys: &mut [E], rows: [[f32; L]; R]) {
        E::stream_rows::<A, L, R>(ys, self.c, self.row, self.at, rows);
    }

    #[inline(always)]
    fn store_left<A: Arithmetic, E: Element, const L: usize, const R: usize>(self, ys: &mut [E], rows: [[f32; L]; R]) {
        E::store_left::<A, L, R>(ys, self.c, self.row, self.at, rows);
    }

    /// Loads, and asks for what stands a strip below.
    #[inline(always)]
    fn load_ahead<E: Element, const L: usize, const R: usize>(self, xs: &[E]) -> [[f32; L]; R] {
        for r in (0..R).step_by(E::WIDTH) {
            prefetch(xs, (self.row + r + STRIP) / E::WIDTH * self.c + self.at);
        }
        self.load(xs)
    }
}

/// Takes `pass` over `rows` rows. Passes over bf16 are compiled once more, for the processors that convert it by themselves.
fn walk<F: Function, P: Pass>(level: Level, rows: usize, c: usize, pass: P) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512bf16,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    fn avx512_bf16<F: Function, P: Pass>(rows: usize, c: usize, pass: P) {
        walk_body::<Avx512Bf16, 16, F, P>(rows, c, pass);
    }
    #[cfg(target_arch = "x86_64")]
    if P::PAIRS && level.set() == Set::Avx512Bf16 {
        // SAFETY: a `Level` is made only after the processor was asked for its features.
        return unsafe { avx512_bf16::<F, P>(rows, c, pass) };
    }
    walk_at::<F, P>(level, rows, c, pass);
}

for_each_level! {
    fn walk_at<F: Function, P: Pass>(rows: usize, c: usize, pass: P) = walk_body[LANES]
}

#[inline(always)]
fn walk_body<A: Arithmetic, const L: usize, F: Function, P: Pass>(rows: usize, c: usize, mut pass: P) {
    let len = pass.strip();
    for (strip, start) in (0..rows).step_by(len).enumerate() {
        let end = (start + len).min(rows);
        for_lanes!(c, walk_lanes::<A, F, P; L>(strip, start..end, c, &mut pass));
    }
    A::fence();
}

#[inline(always)]
fn walk_lanes<A: Arithmetic, F: Function, P: Pass, const L: usize>(
    strip: usize,
    rows: Range<usize>,
    c: usize,
    pass: &mut P,
    at: usize,
) {
    let mut state = pass.begin::<L>(at);
    let mut row = rows.start;
    while row + 2 <= rows.end {
        pass.rows::<A, F, L, 2>(&mut state, Place { c, strip, row, at });
        row += 2;
    }
    if row < rows.end {
        pass.rows::<A, F, L, 1>(&mut state, Place { c, strip, row, at });
    }
    pass.end(state, at);
}

/// Two sums over rows, for even and for odd rows: one addition need not wait for the other.
type Sums<const L: usize> = [[[f32; L]; 2]; 2];

/// `sum[c] += Σ (x - origin)` and `square[c] += Σ (x - origin)²`; keeps `xs` in `kept`, if there is one.
pub(crate) fn moments<E: Element>(
    level: Level,
    xs: &[f32],
    origin: &[f32],
    sum: &mut [f64],
    square: &mut [f64],
    kept: Option<&mut [E]>,
) {
    let c = origin.len();
    walk::<Identity, _>(level, xs.len() / c, c, Moments { xs, origin, sum, square, kept });
}

struct Moments<'a, E> {
    xs: &'a [f32],
    origin: &'a [f32],
    sum: &'a mut [f64],
    square: &'a mut [f64],
    kept: Option<&'a mut [E]>,
}

impl<E: Element> Pass for Moments<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    fn strip(&self) -> usize {
        RUN
    }

    type State<const L: usize> = ([f32; L], Sums<L>);

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        (load(self.origin, at), [[[0.; L]; 2]; 2])
    }

    #[inline(always)]
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        (origin, sums): &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load(self.xs);
        for r in 0..R {
            for l in 0..L {
                let d = x[r][l] - origin[l];
                sums[r][0][l] += d;
                sums[r][1][l] = A::mul_add(d, d, sums[r][1][l]);
            }
        }
        if let Some(kept) = &mut self.kept {
            place.stream::<A, _, L, R>(kept, x);
        }
    }

    #[inline(always)]
    fn end<const L: usize>(&mut self, (_, sums): Self::State<L>, at: usize) {
        add_sums(sums, &mut self.sum[at..at + L], &mut self.square[at..at + L]);
    }
}

#[inline(always)]
fn add_sums<const L: usize>([even, odd]: Sums<L>, first: &mut [f64], second: &mut [f64]) {
    for l in 0..L {
        first[l] += f64::from(even[0][l] + odd[0][l]);
        second[l] += f64::from(even[1][l] + odd[1][l]);
    }
}

/// `act((x - mean) · scale + bias)`
#[inline(always)]
fn activated<A: Arithmetic, F: Function, const L: usize, const R: usize>(
    x: [[f32; L]; R],
    affine: &[[f32; L]; 3],
) -> [[f32; L]; R] {
    let mut rows = [[0.; L]; R];
    for r in 0..R {
        rows[r] = activated_row::<A, F, L>(x[r], affine);
    }
    rows
}

#[inline(always)]
fn activated_row<A: Arithmetic, F: Function, const L: usize>(
    x: [f32; L],
    [mean, scale, bias]: &[[f32; L]; 3],
) -> [f32; L] {
    let mut z = [0.; L];
    for l in 0..L {
        z[l] = A::mul_add(x[l] - mean[l], scale[l], bias[l]);
    }
    let mut y = [0.; L];
    for l in 0..L {
        y[l] = F::value(z[l]);
    }
    y
}

/// `ys = act((xs - mean) · scale + bias)`
pub(crate) fn normalize<E: Element>(level: Level, xs: &[E], affine: Affine, act: Activation, ys: &mut [f32]) {
    normalize_to(level, xs, affine, act, Target::dense(ys, affine.scale.len()));
}

/// [`normalize`], written elsewhere.
pub(crate) fn normalize_to<E: Element>(level: Level, xs: &[E], affine: Affine, act: Activation, ys: Target) {
    let c = affine.scale.len();
    with_function!(act, F => walk::<F, _>(level, ys.rows, c, Normalize { xs, affine, ys }));
}

struct Normalize<'a, E> {
    xs: &'a [E],
    affine: Affine<'a>,
    ys: Target<'a>,
}

impl<E: Element> Pass for Normalize<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    fn strip(&self) -> usize {
        self.ys.together
    }

    type State<const L: usize> = [[f32; L]; 3];

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        self.affine.load(at)
    }

    #[inline(always)]
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        affine: &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        self.ys.store(place, activated::<A, F, L, R>(x, affine));
    }
}

/// `act((xs - mean) · scale + bias) · gate`, as the left side of a product over channels.
pub(crate) fn activate_left<E: Element>(
    level: Level,
    xs: &[E],
    affine: Affine,
    act: Activation,
    gate: &[f32],
    left: &mut [E],
) {
    let (rows, c) = (rows_of(xs, gate.len()), gate.len());
    with_function!(act, F => walk::<F, _>(level, rows, c, ActivateLeft { xs, affine, gate, left }));
}

/// How many rows a tensor of `c` channels has, an even number if its elements are pairs.
fn rows_of<E: Element>(xs: &[E], c: usize) -> usize {
    xs.len() / c * E::WIDTH
}

struct ActivateLeft<'a, E> {
    xs: &'a [E],
    affine: Affine<'a>,
    gate: &'a [f32],
    left: &'a mut [E],
}

impl<E: Element> Pass for ActivateLeft<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    type State<const L: usize> = ([[f32; L]; 3], [f32; L]);

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        (self.affine.load(at), load(self.gate, at))
    }

    #[inline(always)]
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        (affine, gate): &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        place.store_left::<A, _, L, R>(self.left, scaled(activated::<A, F, L, R>(x, affine), gate));
    }
}

#[inline(always)]
fn scaled<const L: usize, const R: usize>(mut rows: [[f32; L]; R], gate: &[f32; L]) -> [[f32; L]; R] {
    for row in &mut rows {
        for l in 0..L {
            row[l] *= gate[l];
        }
    }
    rows
}

/// `sums[c] += Σ act((xs - mean) · scale + bias)`
pub(crate) fn activated_sums<E: Element>(level: Level, xs: &[E], affine: Affine, act: Activation, sums: &mut [f32]) {
    let (rows, c) = (rows_of(xs, sums.len()), sums.len());
    with_function!(act, F => walk::<F, _>(level, rows, c, ActivatedSums { xs, affine, sums }));
}

struct ActivatedSums<'a, E> {
    xs: &'a [E],
    affine: Affine<'a>,
    sums: &'a mut [f32],
}

impl<E: Element> Pass for ActivatedSums<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    fn strip(&self) -> usize {
        RUN
    }

    type State<const L: usize> = ([[f32; L]; 3], [[f32; L]; 2]);

    #[inline(always)]
    fn begin<const L: usize>(&self, at: usize) -> Self::State<L> {
        (self.affine.load(at), [[0.; L]; 2])
    }

    #[inline(always)]
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        (affine, totals): &mut Self::State<L>,
        place: Place,
    ) {
        let x = activated::<A, F, L, R>(place.load_ahead(self.xs), affine);
        for r in 0..R {
            for l in 0..L {
                totals[r][l] += x[r][l];
            }
        }
    }

    #[inline(always)]
    fn end<const L: usize>(&mut self, (_, [even, odd]): Self::State<L>, at: usize) {
        for l in 0..L {
            self.sums[at + l] += even[l] + odd[l];
        }
    }
}

/// Where a pass over gradients leaves more than its sums.
pub(crate) trait Sink {
    /// Whether the gradients are also to be left where they came from.
    const IN_PLACE: bool;

    /// Takes the activation's values and the gradients of its inputs.
    fn put<A: Arithmetic, const L: usize, const R: usize>(
        &mut self,
        place: Place,
        values: [[f32; L]; R],
        gradients: [[f32; L]; R],
    );
}

impl Sink for () {
    const IN_PLACE: bool = true;

    #[inline(always)]
    fn put<A: Arithmetic, const L: usize, const R: usize>(&mut self, _: Place, _: [[f32; L]; R], _: [[f32; L]; R]) {}
}

/// Keeps the gradients.
pub(crate) struct Gradients<'a, E>(pub(crate) &'a mut [E]);

impl<E: Element> Sink for Gradients<'_, E> {
    const IN_PLACE: bool = false;

    #[inline(always)]
    fn put<A: Arithmetic, const L: usize, const R: usize>(
        &mut self,
        place: Place,
        _: [[f32; L]; R],
        gradients: [[f32; L]; R],
    ) {
        place.stream::<A, _, L, R>(self.0, gradients);
    }
}

/// Keeps the values.
pub(crate) struct Values<'a, E>(pub(crate) &'a mut [E]);

impl<E: Element> Sink for Values<'_, E> {
    const IN_PLACE: bool = true;

    #[inline(always)]
    fn put<A: Arithmetic, const L: usize, const R: usize>(
        &mut self,
        place: Place,
        values: [[f32; L]; R],
        _: [[f32; L]; R],
    ) {
        place.store::<A, _, L, R>(self.0, values);
    }
}

/// Keeps the values and the gradients.
pub(crate) struct ValuesAndGradients<'a, E>(pub(crate) &'a mut [E], pub(crate) &'a mut [E]);

impl<E: Element> Sink for ValuesAndGradients<'_, E> {
    const IN_PLACE: bool = false;

    #[inline(always)]
    fn put<A: Arithmetic, const L: usize, const R: usize>(
        &mut self,
        place: Place,
        values: [[f32; L]; R],
        gradients: [[f32; L]; R],
    ) {
        place.store::<A, _, L, R>(self.0, values);
        place.stream::<A, _, L, R>(self.1, gradients);
    }
}

/// Keeps the gradients as the left side of a product over channels, and for one over rows. Of float32, what the pass leaves
/// behind is both.
pub(crate) struct Operands<'a, E>(pub(crate) &'a mut [E], pub(crate) &'a mut [E]);

impl<E: Element> Sink for Operands<'_, E> {
    const IN_PLACE: bool = E::WIDTH == 1;

    #[inline(always)]
    fn put<A: Arithmetic, const L: usize, const R: usize>(
        &mut self,
        place: Place,
        _: [[f32; L]; R],
        gradients: [[f32; L]; R],
    ) {
        if E::WIDTH > 1 {
            place.store_left::<A, _, L, R>(self.0, gradients);
            place.store::<A, _, L, R>(self.1, gradients);
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
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        ([mean, scale, bias], sums): &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load(self.xs);
        let mut g: [[f32; L]; R] = place.load(self.gs);
        let mut values = [[0.; L]; R];
        for r in 0..R {
            for l in 0..L {
                let d = x[r][l] - mean[l];
                let z = A::mul_add(d, scale[l], bias[l]);
                values[r][l] = F::value(z);
                g[r][l] *= F::derivative(z);
                sums[r][0][l] += g[r][l];
                sums[r][1][l] = A::mul_add(g[r][l], d, sums[r][1][l]);
            }
        }
        if S::IN_PLACE {
            place.store::<A, _, L, R>(self.gs, g);
        }
        self.sink.put::<A, L, R>(place, values, g);
    }

    #[inline(always)]
    fn end<const L: usize>(&mut self, (_, sums): Self::State<L>, at: usize) {
        add_sums(sums, &mut self.sum[at..at + L], &mut self.dot[at..at + L]);
    }
}

/// With `a = act((xs - mean) · scale + bias)` and the gradient `gs` of `a · gate`: the gate's gradient `dots[c] += Σ a · g`.
/// Keeps `a · gate` in `values` and `gs` in `kept`.
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
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        (affine, gate, totals): &mut Self::State<L>,
        place: Place,
    ) {
        let x = activated::<A, F, L, R>(place.load_ahead(self.xs), affine);
        let g: [[f32; L]; R] = place.load(self.gs);
        for r in 0..R {
            for l in 0..L {
                totals[r][l] = A::mul_add(x[r][l], g[r][l], totals[r][l]);
            }
        }
        place.store::<A, _, L, R>(self.values, scaled(x, gate));
        place.store::<A, _, L, R>(self.kept, g);
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
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        [gate, shift]: &mut Self::State<L>,
        place: Place,
    ) {
        let mut x: [[f32; L]; R] = place.load(self.xs);
        for x in &mut x {
            for l in 0..L {
                x[l] = A::mul_add(x[l], gate[l], shift[l]);
            }
        }
        place.store::<A, _, L, R>(self.ys, x);
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
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(
        &mut self,
        [mean, scale, slope, offset]: &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        let mut g: [[f32; L]; R] = place.load_ahead(self.gs);
        for r in 0..R {
            for l in 0..L {
                g[r][l] = A::mul_add(g[r][l], scale[l], A::mul_add(x[r][l] - mean[l], slope[l], offset[l]));
            }
        }
        self.gxs.store(place, g);
    }
}

/// The left side of a product over the channels of `xs`, of which there are `c`. What is packed lies in `packed`.
pub(crate) fn left<'a, E: Element>(
    level: Level,
    xs: &'a [f32],
    c: usize,
    packed: &'a mut Elements<E>,
) -> Matrix<'a, E> {
    let rows = xs.len() / c;
    if let Some(xs) = E::of(xs) {
        return Matrix::new(xs, rows, c);
    }
    packed.resize(xs.len() / E::WIDTH);
    walk::<Identity, _>(level, rows, c, Pack { xs, left: packed, rows: &mut [] });
    Matrix::new(packed, rows, c / E::WIDTH)
}

/// An operand of a product over the rows of `xs`, of `c` channels each. What is packed lies in `packed`.
pub(crate) fn over_rows<'a, E: Element>(level: Level, xs: &'a [f32], c: usize, packed: &'a mut Elements<E>) -> &'a [E] {
    match E::of(xs) {
        Some(xs) => xs,
        None => {
            packed.resize(xs.len() / E::WIDTH);
            pack_rows(level, xs, c, packed);
            packed
        }
    }
}

/// A weight `[inner, n]` as the right side of products over `inner`.
pub(crate) fn right<E: Element>(level: Level, weight: &[f32], n: usize) -> Vec<E> {
    let mut packed = vec![E::default(); weight.len() / E::WIDTH];
    pack_rows(level, weight, n, &mut packed);
    packed
}

/// `xs`, of `c` channels, as kept tensors and products over rows need it.
pub(crate) fn pack_rows<E: Element>(level: Level, xs: &[f32], c: usize, rows: &mut [E]) {
    walk::<Identity, _>(level, xs.len() / c, c, Pack { xs, left: &mut [], rows });
}

struct Pack<'a, E> {
    xs: &'a [f32],
    left: &'a mut [E],
    rows: &'a mut [E],
}

impl<E: Element> Pass for Pack<'_, E> {
    const PAIRS: bool = E::WIDTH > 1;

    type State<const L: usize> = ();

    #[inline(always)]
    fn begin<const L: usize>(&self, _: usize) -> Self::State<L> {}

    #[inline(always)]
    fn rows<A: Arithmetic, F: Function, const L: usize, const R: usize>(&mut self, (): &mut (), place: Place) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        if !self.left.is_empty() {
            place.store_left::<A, _, L, R>(self.left, x);
        }
        if !self.rows.is_empty() {
            place.store::<A, _, L, R>(self.rows, x);
        }
    }
}
