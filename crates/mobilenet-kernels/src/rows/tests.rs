//! Every pass against its definition in float64: at every level, of both kinds of elements, for rows and channels that
//! do and do not fill strips and registers.

use super::*;
use crate::activation::Activation;
use crate::affine::Affine;
use crate::bf16::Pair;
use crate::buffer::Elements;
use crate::parallel::tests::values;
use crate::simd::{Level, streamed};

/// Some rows of values, as elements and as the float32 values that the elements hold.
struct Case<E> {
    level: Level,
    c: usize,
    elements: Vec<E>,
    xs: Vec<f32>,
    gs: Vec<f32>,
    mean: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    gate: Vec<f32>,
}

impl<E: Element> Case<E> {
    fn new(level: Level, rows: usize, c: usize) -> Self {
        let elements = over_rows(level, &values(rows * c, 1), c, &mut Elements::<E>::default()).to_vec();
        let mut xs = vec![f32::NAN; rows * c];
        scale_shift(level, &elements, &vec![1.; c], &vec![0.; c], &mut xs);
        let gs = values(rows * c, 2);
        let [mean, scale, bias, gate] = [3, 4, 5, 6].map(|seed| values(c, seed));
        Self { level, c, elements, xs, gs, mean, scale, bias, gate }
    }

    fn affine(&self) -> Affine<'_> {
        Affine { mean: &self.mean, scale: &self.scale, bias: &self.bias }
    }

    /// The batch norm's output for value `i`.
    fn normalized(&self, i: usize) -> f64 {
        let ch = i % self.c;
        (self.x(i) - f64::from(self.mean[ch])) * f64::from(self.scale[ch]) + f64::from(self.bias[ch])
    }

    fn x(&self, i: usize) -> f64 {
        f64::from(self.xs[i])
    }

    fn g(&self, i: usize) -> f64 {
        f64::from(self.gs[i])
    }

    /// A pass's results, value by value.
    #[track_caller]
    fn assert_values(&self, got: &[f32], expected: impl Fn(usize) -> f64) {
        assert_eq!(got.len(), self.xs.len());
        for (i, got) in got.iter().enumerate() {
            let expected = expected(i);
            assert!((f64::from(*got) - expected).abs() < 1e-5, "{i} of {}: {got}, {expected}", self.what());
        }
    }

    /// A pass's sums, channel by channel, which it added to 1.
    #[track_caller]
    fn assert_sums(&self, got: impl IntoIterator<Item = f64>, term: impl Fn(usize) -> f64) {
        for (ch, got) in got.into_iter().enumerate() {
            let expected = 1. + (ch..self.xs.len()).step_by(self.c).map(&term).sum::<f64>();
            assert!((got - expected).abs() < 1e-4, "channel {ch} of {}: {got}, {expected}", self.what());
        }
    }

    fn what(&self) -> String {
        format!("{} × {}, {} in an element, {}", self.xs.len() / self.c, self.c, E::WIDTH, self.level)
    }
}

/// h-swish, which has a derivative of its own for every value.
const ACT: Activation = Activation::HSwish;

fn h_swish(z: f64) -> f64 {
    z * (z + 3.).clamp(0., 6.) / 6.
}

/// Between the kinks, where all values lie here.
fn h_swish_derivative(z: f64) -> f64 {
    z / 3. + 0.5
}

macro_rules! for_every_case {
    (|$case:ident: Case<$E:ident>| $body:block) => {
        for level in Level::available() {
            for (rows, c) in [(2, 1), (6, 8), (16, 40), (66, 33), (130, 17)] {
                {
                    type $E = Pair;
                    let $case = Case::<$E>::new(level, rows, c);
                    $body
                }
                // Float32 rows may also be odd in number.
                for rows in [rows, rows - 1] {
                    type $E = f32;
                    let $case = Case::<$E>::new(level, rows, c);
                    $body
                }
            }
        }
    };
}

#[test]
fn moments_are_sums_about_the_origin() {
    for_every_case!(|case: Case<E>| {
        let (mut sum, mut square) = (vec![1.; case.c], vec![1.; case.c]);
        let mut kept = vec![E::default(); case.elements.len()];
        moments(case.level, &case.xs, &case.mean, &mut sum, &mut square, Some(&mut kept));
        let distance = |i: usize| case.x(i) - f64::from(case.mean[i % case.c]);
        case.assert_sums(sum, distance);
        case.assert_sums(square, |i| distance(i).powi(2));
        assert!(kept == case.elements, "kept rows of {}", case.what());
    });
}

#[test]
fn rows_are_normalized_and_activated() {
    for_every_case!(|case: Case<E>| {
        let mut ys = vec![f32::NAN; case.xs.len()];
        normalize(case.level, &case.elements, case.affine(), ACT, &mut ys);
        case.assert_values(&ys, |i| h_swish(case.normalized(i)));
    });
}

#[test]
fn activated_rows_are_summed() {
    for_every_case!(|case: Case<E>| {
        let mut sums = vec![1.; case.c];
        activated_sums(case.level, &case.elements, case.affine(), ACT, &mut sums);
        case.assert_sums(sums.into_iter().map(f64::from), |i| h_swish(case.normalized(i)));
    });
}

#[test]
fn gradients_go_through_the_activation() {
    for_every_case!(|case: Case<E>| {
        let (mut sum, mut dot) = (vec![1.; case.c], vec![1.; case.c]);
        let (mut gs, mut kept) = (case.gs.clone(), vec![E::default(); case.elements.len()]);
        let of = (&case.elements[..], case.affine(), ACT);
        through_activation(case.level, of, &mut gs, [&mut sum, &mut dot], ());
        let gradient = |i: usize| case.g(i) * h_swish_derivative(case.normalized(i));
        case.assert_values(&gs, gradient);
        case.assert_sums(sum, gradient);
        case.assert_sums(dot, |i| gradient(i) * (case.x(i) - f64::from(case.mean[i % case.c])));

        let (mut sum, mut dot) = (vec![1.; case.c], vec![1.; case.c]);
        streamed(&mut kept, |kept| {
            let sums = [&mut sum[..], &mut dot];
            through_activation(case.level, of, &mut case.gs.clone(), sums, Gradients(kept));
        });
        assert!(kept == over_rows(case.level, &gs, case.c, &mut Elements::<E>::default()), "{}", case.what());
    });
}

#[test]
fn a_gate_gets_its_gradient_and_the_rows_are_kept() {
    for_every_case!(|case: Case<E>| {
        let mut dots = vec![1.; case.c];
        let [mut kept_values, mut kept_gradients] = [0, 1].map(|_| vec![E::default(); case.elements.len()]);
        let of = (&case.elements[..], case.affine(), ACT);
        let kept = [&mut kept_values[..], &mut kept_gradients];
        gate_gradient(case.level, of, &case.gate, &case.gs, &mut dots, kept);
        case.assert_sums(dots.into_iter().map(f64::from), |i| h_swish(case.normalized(i)) * case.g(i));
        let gradients = over_rows(case.level, &case.gs, case.c, &mut Elements::<E>::default()).to_vec();
        assert!(kept_gradients == gradients, "kept gradients of {}", case.what());
        if E::WIDTH == 1 {
            let mut ys = vec![f32::NAN; case.xs.len()];
            scale_shift(case.level, &kept_values, &vec![1.; case.c], &vec![0.; case.c], &mut ys);
            case.assert_values(&ys, |i| h_swish(case.normalized(i)) * f64::from(case.gate[i % case.c]));
        }
    });
}

#[test]
fn rows_are_scaled_and_shifted() {
    for_every_case!(|case: Case<E>| {
        let mut ys = vec![f32::NAN; case.xs.len()];
        scale_shift(case.level, &case.elements, &case.gate, &case.bias, &mut ys);
        case.assert_values(&ys, |i| case.x(i) * f64::from(case.gate[i % case.c]) + f64::from(case.bias[i % case.c]));
    });
}

#[test]
fn the_batch_norms_input_gets_its_gradient() {
    for_every_case!(|case: Case<E>| {
        let gs = over_rows(case.level, &case.xs, case.c, &mut Elements::<E>::default()).to_vec();
        let mut gxs = vec![f32::NAN; case.xs.len()];
        let sums = [&case.gate[..], &case.bias];
        input_gradient(case.level, &case.elements, &gs, case.affine(), sums, &mut gxs);
        case.assert_values(&gxs, |i| {
            let [mean, scale, slope, offset] =
                [&case.mean, &case.scale, &case.gate, &case.bias].map(|values| f64::from(values[i % case.c]));
            case.x(i) * scale + (case.x(i) - mean) * slope + offset
        });
    });
}
