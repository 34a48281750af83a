use super::backward::backward_at;
use super::forward::forward_at;
use super::infer::infer_at;
use super::*;
use crate::activation::Activation;
use crate::depthwise::DepthwiseShape;
use crate::parallel::tests::values;
use crate::reference::{
    filtered, norm_backward, normalized, product, relative_error, transposed, unfiltered, wide, windows_gradient,
};
use mobilenet_arch::Precision;

const BASE: BottleneckShape = BottleneckShape {
    n: 5,
    c_in: 16,
    c_out: 16,
    has_expand: true,
    depthwise: DepthwiseShape { h: 8, w: 6, c: 40, kernel: 3, stride: 1, dilation: 1, padding: 1 },
    squeeze: None,
    activation: Activation::HSwish,
    has_residual: false,
    eps: 1e-3,
    precision: Precision::F32,
};

/// Input and parameters.
fn arguments(g: &BottleneckShape) -> (Vec<f32>, Vec<Vec<f32>>) {
    let theta = g.parameter_lengths().into_iter().zip(2..).map(|(len, seed)| values(len, seed)).collect();
    (values(g.n * g.pixels_in() * g.c_in, 1), theta)
}

fn slices(theta: &[Vec<f32>]) -> Vec<&[f32]> {
    theta.iter().map(Vec::as_slice).collect()
}

/// Output, gradients and statistics.
fn outcome(level: Level, g: &BottleneckShape) -> Vec<Vec<f32>> {
    let (x, theta) = arguments(g);
    let theta = slices(&theta);
    let mut y = vec![f32::NAN; g.n * g.pixels_out() * g.c_out];
    let saved = forward_at(level, g, &x, &theta, &mut y);
    let (gx, gtheta) = backward_at(level, g, &x, &theta, &saved, &values(y.len(), 99));
    let (expand, depthwise, project) = saved.statistics();
    let statistics = expand.into_iter().chain([depthwise, project]).flat_map(|s| [s.mean.clone(), s.var.clone()]);
    [y, gx.to_vec()].into_iter().chain(gtheta).chain(statistics.collect::<Vec<_>>()).collect()
}

/// Without kinks (few values come near those of h-swish) bf16 is float32 but for its rounding.
#[test]
fn bf16_is_float32_but_for_its_rounding() {
    let depthwise = BASE.depthwise;
    for g in [
        BASE,
        BottleneckShape { has_residual: true, n: 1, ..BASE },
        BottleneckShape { squeeze: Some(8), c_out: 24, ..BASE },
        BottleneckShape { squeeze: Some(8), has_residual: true, n: 33, ..BASE },
        BottleneckShape { depthwise: DepthwiseShape { kernel: 5, stride: 2, padding: 2, w: 8, ..depthwise }, ..BASE },
        BottleneckShape { depthwise: DepthwiseShape { dilation: 2, padding: 2, ..depthwise }, ..BASE },
        BottleneckShape { has_expand: false, depthwise: DepthwiseShape { c: 16, ..depthwise }, ..BASE },
        // Blocks of channels, and a number of them that is no multiple of a register.
        BottleneckShape { depthwise: DepthwiseShape { c: 202, h: 16, w: 16, ..depthwise }, ..BASE },
    ] {
        let bf16 = BottleneckShape { precision: Precision::Bf16, ..g };
        assert!(bf16.is_bf16());
        for level in Level::available() {
            for (i, (exact, rounded)) in outcome(level, &g).iter().zip(outcome(level, &bf16)).enumerate() {
                let share = relative_error(&rounded, &wide(exact));
                assert!(share < 0.03, "{i}: {share} off, {g:?}, {level}");
                assert!(i > 0 || share > 0., "the output was not rounded, {g:?}, {level}");
            }
        }
    }
}

/// Odd numbers of channels or of columns do not divide into pairs: such a block is float32 whatever is asked for.
#[test]
fn what_does_not_divide_into_pairs_stays_float32() {
    for depthwise in [
        DepthwiseShape { c: 41, ..BASE.depthwise },
        DepthwiseShape { w: 7, ..BASE.depthwise },
        DepthwiseShape { stride: 2, ..BASE.depthwise },
    ] {
        let g = BottleneckShape { depthwise, ..BASE };
        for level in Level::available() {
            assert_eq!(outcome(level, &g), outcome(level, &BottleneckShape { precision: Precision::Bf16, ..g }));
        }
    }
}

/// Blocks of every kind, and numbers of images that make few parts and many.
fn shapes() -> Vec<BottleneckShape> {
    let depthwise = BASE.depthwise;
    let small = DepthwiseShape { h: 3, w: 4, ..depthwise };
    vec![
        BottleneckShape { n: 1, ..BASE },
        BottleneckShape { n: 1, squeeze: Some(8), depthwise: small, ..BASE },
        BottleneckShape { n: 70, has_residual: true, ..BASE },
        BottleneckShape { n: 19, squeeze: Some(8), c_out: 24, ..BASE },
        BottleneckShape { n: 9, depthwise: DepthwiseShape { kernel: 5, stride: 2, padding: 2, ..depthwise }, ..BASE },
        BottleneckShape { n: 6, has_expand: false, depthwise: DepthwiseShape { c: 16, ..depthwise }, ..BASE },
        BottleneckShape { n: 1, has_expand: false, depthwise: DepthwiseShape { c: 16, ..depthwise }, ..BASE },
        // Several blocks of channels in a group, the last of which is narrower.
        BottleneckShape { n: 3, depthwise: DepthwiseShape { c: 202, h: 16, w: 16, ..depthwise }, ..BASE },
        BottleneckShape {
            n: 2,
            squeeze: Some(8),
            depthwise: DepthwiseShape { c: 202, h: 16, w: 16, ..depthwise },
            ..BASE
        },
    ]
}

fn inferred(level: Level, g: &BottleneckShape, statistics: &[(Vec<f32>, Vec<f32>)]) -> Vec<f32> {
    let (x, theta) = arguments(g);
    let running: Vec<(&[f32], &[f32])> = statistics.iter().map(|(mean, var)| (&mean[..], &var[..])).collect();
    let mut y = vec![f32::NAN; g.n * g.pixels_out() * g.c_out];
    infer_at(level, g, &x, &slices(&theta), &running, &mut y);
    y
}

fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

/// The batch's statistics, which [`outcome`] ends with.
fn statistics_of(g: &BottleneckShape, outcome: &[Vec<f32>]) -> Vec<(Vec<f32>, Vec<f32>)> {
    let units = 2 + usize::from(g.has_expand);
    outcome[outcome.len() - 2 * units..].chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[test]
fn inference_with_the_batchs_statistics_is_the_forward() {
    for g in shapes() {
        for level in Level::available() {
            let outcome = outcome(level, &g);
            let found = inferred(level, &g, &statistics_of(&g, &outcome));
            for (found, expected) in found.iter().zip(&outcome[0]) {
                assert!((found - expected).abs() < 1e-3 * (1. + expected.abs()), "{found} {expected} {level} {g:?}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for (g, level) in shapes().into_iter().flat_map(|g| Level::available().into_iter().map(move |level| (g, level))) {
        for precision in [Precision::F32, Precision::Bf16] {
            let g = BottleneckShape { precision, ..g };
            let expected = on_threads(1, || outcome(level, &g));
            let statistics = statistics_of(&g, &expected);
            let expected_inferred = on_threads(1, || inferred(level, &g, &statistics));
            for threads in [2, 3, 5, 8, 16, 32] {
                let (found, found_inferred) =
                    on_threads(threads, || (outcome(level, &g), inferred(level, &g, &statistics)));
                assert!(found == expected, "training on {threads} threads, {level}, {g:?}");
                assert!(found_inferred == expected_inferred, "inference on {threads} threads, {level}, {g:?}");
            }
        }
    }
}

/// Where the values that a convolution takes have a mean far from 0.
#[derive(Clone, Copy, Debug)]
enum Shifted {
    /// The block's input.
    Input,
    /// What the expansion's batch norm gives to the depthwise convolution.
    Expanded,
    /// What the depthwise convolution's batch norm gives to squeeze-and-excite and to the projection.
    Filtered,
}

/// The gradients lose no more digits to a mean that is far from 0 than those of two passes over the batch do, whose
/// error is that of a float32 value of this size.
#[test]
fn a_mean_far_from_zero_costs_no_more_digits_than_two_passes() {
    let depthwise = DepthwiseShape { c: 32, ..BASE.depthwise };
    let base = BottleneckShape { n: 4, depthwise, activation: Activation::Identity, ..BASE };
    let bare = BottleneckShape { c_in: 32, has_expand: false, ..base };
    let valid = DepthwiseShape { padding: 0, ..depthwise };
    let squeeze = Some(8);
    for (g, shifted) in [
        (base, Shifted::Input),
        (base, Shifted::Expanded),
        (BottleneckShape { depthwise: valid, ..base }, Shifted::Expanded),
        (bare, Shifted::Input),
        (BottleneckShape { depthwise: valid, ..bare }, Shifted::Input),
        (base, Shifted::Filtered),
        (BottleneckShape { squeeze, ..base }, Shifted::Filtered),
        (BottleneckShape { squeeze, n: 1, ..base }, Shifted::Filtered),
        (BottleneckShape { squeeze, ..bare }, Shifted::Filtered),
    ] {
        for (ratio, bound) in [(0., 5e-6), (10., 2e-5), (100., 2e-4), (1000., 2e-3)] {
            let (mut x, mut theta) = arguments(&g);
            shift(&g, shifted, ratio, &mut x, &mut theta);
            let theta = slices(&theta);
            let gy = values(g.n * g.pixels_out() * g.c_out, 99);
            let (expected_gx, expected) = reference(&g, &x, &theta, &gy);
            for level in Level::available() {
                let mut y = vec![f32::NAN; gy.len()];
                let saved = forward_at(level, &g, &x, &theta, &mut y);
                let (gx, gtheta) = backward_at(level, &g, &x, &theta, &saved, &gy);
                let found = expected.iter().map(|(name, at, expected)| (*name, &gtheta[*at][..], expected));
                for (name, found, expected) in found.chain([("gx", &gx[..], &expected_gx)]) {
                    let error = relative_error(found, expected);
                    assert!(error < bound, "{name} is {error} off, {shifted:?} at {ratio} deviations, {level}, {g:?}");
                }
            }
        }
    }
}

/// Moves a mean away from 0 by so many deviations.
fn shift(g: &BottleneckShape, shifted: Shifted, ratio: f32, x: &mut [f32], theta: &mut [Vec<f32>]) {
    let depthwise = if g.has_expand { 3 } else { 0 };
    let norm = |theta: &mut [Vec<f32>], at: usize| {
        let gamma = theta[at].clone();
        theta[at + 1].iter_mut().zip(gamma).for_each(|(beta, gamma)| *beta += ratio * gamma.abs());
    };
    match shifted {
        Shifted::Input => x.iter_mut().for_each(|x| *x += ratio * (1f32 / 3.).sqrt()),
        Shifted::Expanded => norm(theta, 1),
        Shifted::Filtered => {
            norm(theta, depthwise + 1);
            // The gates stay where h-sigmoid has a slope.
            if g.squeeze.is_some() {
                theta[depthwise + 3].iter_mut().for_each(|w| *w /= ratio.max(1.));
            }
        }
    }
}

/// A parameter's name, its place in `theta`, and its gradient.
type Gradient = (&'static str, usize, Vec<f64>);

/// The gradients of the input and of the weights by the definition, in float64, of a block without activations.
fn reference(g: &BottleneckShape, x: &[f32], theta: &[&[f32]], gy: &[f32]) -> (Vec<f64>, Vec<Gradient>) {
    let theta: Vec<Vec<f64>> = theta.iter().map(|parameter| wide(parameter)).collect();
    let (expand, rest) = theta.split_at(if g.has_expand { 3 } else { 0 });
    let [w2, gamma2, beta2, squeeze_excite @ .., w3, gamma3, _] = rest else { panic!("the parameters of {g:?}") };
    let (x, gy, c) = (wide(x), wide(gy), g.depthwise.c);
    let (rows_in, rows_out) = (g.n * g.pixels_in(), g.n * g.pixels_out());

    let e = expand.first().map(|w1| product(&x, &transposed(w1, c), [rows_in, g.c_in, c]));
    let input = e.as_ref().map_or(x.clone(), |e| normalized(e, &expand[1], &expand[2], g.eps));
    let d = filtered(g.n, &g.depthwise, &input, w2);
    let a = normalized(&d, gamma2, beta2, g.eps);
    let gates = Gated::new(g, squeeze_excite, &a);
    let z = gates.as_ref().map_or(a.clone(), |gated| gated.scaled(g, &a));
    let p = product(&z, &transposed(w3, g.c_out), [rows_out, c, g.c_out]);

    let gp = norm_backward(&p, &gy, gamma3, g.eps);
    let gz = product(&gp, w3, [rows_out, g.c_out, c]);
    let (ga, gates) = match &gates {
        Some(gated) => gated.backward(g, squeeze_excite, &a, &gz, expand.len() + 3),
        None => (gz, Vec::new()),
    };
    let gd = norm_backward(&d, &ga, gamma2, g.eps);
    let mut gradients = gates;
    let project = theta.len() - 3;
    gradients.push(("project", project, product(&transposed(&gp, rows_out), &z, [g.c_out, rows_out, c])));
    gradients.push(("windows", expand.len(), windows_gradient(g.n, &g.depthwise, &input, &gd)));
    let mut gx = unfiltered(g.n, &g.depthwise, &gd, w2);
    if let Some(e) = e {
        let ge = norm_backward(&e, &gx, &expand[1], g.eps);
        gradients.push(("expand", 0, product(&transposed(&ge, rows_in), &x, [c, rows_in, g.c_in])));
        gx = product(&ge, &expand[0], [rows_in, c, g.c_in]);
    }
    (gx, gradients)
}

/// Squeeze-and-excite, an image a row.
struct Gated {
    mean: Vec<f64>,
    hidden: Vec<f64>,
    before: Vec<f64>,
}

impl Gated {
    fn new(g: &BottleneckShape, theta: &[Vec<f64>], a: &[f64]) -> Option<Self> {
        let [w1, b1, w2, b2] = theta else { return None };
        let (c, squeeze) = (b2.len(), b1.len());
        let mut mean = vec![0.; g.n * c];
        for_each_value(g, |at, gate| mean[gate] += a[at] / g.pixels_out() as f64);
        let mut hidden = product(&mean, &transposed(w1, squeeze), [g.n, c, squeeze]);
        hidden.iter_mut().enumerate().for_each(|(i, h)| *h = (*h + b1[i % squeeze]).max(0.));
        let mut before = product(&hidden, &transposed(w2, c), [g.n, squeeze, c]);
        before.iter_mut().enumerate().for_each(|(i, b)| *b += b2[i % c]);
        assert!(before.iter().any(|b| b.abs() < 3.), "a gate with a slope");
        Some(Self { mean, hidden, before })
    }

    /// Its h-sigmoid.
    fn gate(&self, at: usize) -> f64 {
        ((self.before[at] + 3.) / 6.).clamp(0., 1.)
    }

    fn scaled(&self, g: &BottleneckShape, a: &[f64]) -> Vec<f64> {
        let mut z = vec![0.; a.len()];
        for_each_value(g, |at, gate| z[at] = a[at] * self.gate(gate));
        z
    }

    /// The gradients of `a` and of the four parameters, of which the first is at `first`.
    fn backward(
        &self,
        g: &BottleneckShape,
        theta: &[Vec<f64>],
        a: &[f64],
        gz: &[f64],
        first: usize,
    ) -> (Vec<f64>, Vec<Gradient>) {
        let [w1, b1, w2, b2] = theta else { panic!("four parameters") };
        let (n, c, squeeze) = (g.n, b2.len(), b1.len());
        let mut before = vec![0.; n * c];
        for_each_value(g, |at, gate| before[gate] += a[at] * gz[at]);
        before.iter_mut().zip(&self.before).for_each(|(g, b)| *g = if b.abs() < 3. { *g / 6. } else { 0. });
        let mut hidden = product(&before, w2, [n, c, squeeze]);
        hidden.iter_mut().zip(&self.hidden).for_each(|(g, h)| *g = if *h > 0. { *g } else { 0. });
        let mean = product(&hidden, w1, [n, squeeze, c]);
        let mut ga = vec![0.; a.len()];
        for_each_value(g, |at, gate| ga[at] = gz[at] * self.gate(gate) + mean[gate] / g.pixels_out() as f64);
        let sums = |rows: &[f64], c: usize| product(&vec![1.; n], rows, [1, n, c]);
        let gradients = vec![
            ("weight1", first, product(&transposed(&hidden, n), &self.mean, [squeeze, n, c])),
            ("bias1", first + 1, sums(&hidden, squeeze)),
            ("weight2", first + 2, product(&transposed(&before, n), &self.hidden, [c, n, squeeze])),
            ("bias2", first + 3, sums(&before, c)),
        ];
        (ga, gradients)
    }
}

/// Calls `f(value, gate)` with the index of every value of the depthwise convolution's output, and of its gate.
fn for_each_value(g: &BottleneckShape, mut f: impl FnMut(usize, usize)) {
    let (c, image) = (g.depthwise.c, g.depthwise.image_out());
    (0..g.n * image).for_each(|at| f(at, at / image * c + at % c));
}
