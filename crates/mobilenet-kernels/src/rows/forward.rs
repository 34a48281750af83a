//! The passes of a forward.

use super::{Pass, RUN, Sums, Target, activated, add_sums, rows_of, scaled, walk};
use crate::activation::{Activation, Function, Identity, with_function};
use crate::affine::Affine;
use crate::element::{Element, Place};
use crate::simd::{Isa, Level, Streamed, load, streamed};

/// `sum[c] += Σ (x - origin)` and `square[c] += Σ (x - origin)²`; keeps `xs` in `kept`, if there is one.
pub(crate) fn moments<E: Element>(
    level: Level,
    xs: &[f32],
    origin: &[f32],
    sum: &mut [f64],
    square: &mut [f64],
    kept: Option<&mut [E]>,
) {
    let (rows, c) = (xs.len() / origin.len(), origin.len());
    match kept {
        None => walk::<Identity, _>(level, rows, c, Moments::<E> { xs, origin, sum, square, kept: None }),
        Some(kept) => streamed(kept, |kept| {
            walk::<Identity, _>(level, rows, c, Moments { xs, origin, sum, square, kept: Some(kept) });
        }),
    }
}

struct Moments<'a, E> {
    xs: &'a [f32],
    origin: &'a [f32],
    sum: &'a mut [f64],
    square: &'a mut [f64],
    kept: Option<Streamed<'a, E>>,
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
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        (origin, sums): &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load(self.xs);
        for r in 0..R {
            for l in 0..L {
                let d = x[r][l] - origin[l];
                sums[r][0][l] += d;
                sums[r][1][l] = isa.mul_add(d, d, sums[r][1][l]);
            }
        }
        if let Some(kept) = &mut self.kept {
            place.stream(isa, kept, x);
        }
    }

    #[inline(always)]
    fn end<const L: usize>(&mut self, (_, sums): Self::State<L>, at: usize) {
        add_sums(sums, &mut self.sum[at..at + L], &mut self.square[at..at + L]);
    }
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
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        affine: &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        self.ys.store(isa, place, activated::<I, F, L, R>(isa, x, affine));
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
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        (affine, gate): &mut Self::State<L>,
        place: Place,
    ) {
        let x: [[f32; L]; R] = place.load_ahead(self.xs);
        place.store_left(isa, self.left, scaled(activated::<I, F, L, R>(isa, x, affine), gate));
    }
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
    fn rows<I: Isa, F: Function, const L: usize, const R: usize>(
        &mut self,
        isa: I,
        (affine, totals): &mut Self::State<L>,
        place: Place,
    ) {
        let x = activated::<I, F, L, R>(isa, place.load_ahead(self.xs), affine);
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
