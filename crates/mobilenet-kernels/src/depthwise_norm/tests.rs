use super::backward::backward_at;
use super::forward::forward_at;
use super::infer::infer_at;
use super::*;
use crate::activation::Activation;
use crate::batch_norm::{self, Affine, scale};
use crate::depthwise::{self, DepthwiseShape};
use crate::parallel::tests::values;
use crate::reference::{self, norm_backward, relative_error, wide};
use mobilenet_arch::Precision;

fn shapes() -> impl Iterator<Item = DepthwiseNormShape> {
    let sizes = [
        // Kernel, stride, dilation, images, image, channels.
        (3, 1, 1, 5, (6, 7), 16),
        (3, 2, 1, 2, (7, 5), 9),
        (5, 1, 1, 1, (9, 8), 40),
        (5, 2, 1, 33, (5, 6), 24),
        (3, 1, 2, 3, (7, 8), 33),
        (5, 2, 2, 1, (11, 10), 7),
        // Several blocks of channels, in training too.
        (3, 1, 1, 2, (40, 37), 50),
        (3, 2, 1, 1, (61, 64), 64),
    ];
    sizes.into_iter().flat_map(|(kernel, stride, dilation, n, (h, w), c)| {
        let padding = dilation * (kernel / 2);
        let depthwise = DepthwiseShape { h, w, c, kernel, stride, dilation, padding };
        let shape =
            move |activation| DepthwiseNormShape { n, depthwise, activation, eps: 1e-3, precision: Precision::F32 };
        Activation::ALL.into_iter().map(shape)
    })
}

struct Arguments {
    x: Vec<f32>,
    theta: [Vec<f32>; 3],
    gy: Vec<f32>,
}

impl Arguments {
    fn new(g: &DepthwiseNormShape) -> Self {
        let mut seed = 1;
        let theta = g.parameter_lengths().map(|len| {
            seed += 1;
            values(len, seed)
        });
        Self { x: values(g.n * g.depthwise.image_in(), 1), theta, gy: values(g.n * g.depthwise.image_out(), 5) }
    }

    fn theta(&self) -> [&[f32]; 3] {
        [&self.theta[0], &self.theta[1], &self.theta[2]]
    }
}

/// Output, gradient of the input, gradients of the parameters, mean and variance.
fn outcome(level: Level, g: &DepthwiseNormShape, arguments: &Arguments) -> Vec<Vec<f32>> {
    let Arguments { x, gy, .. } = arguments;
    let theta = arguments.theta();
    let (mut y, mut gx) = (vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()]);
    let saved = forward_at(level, g, x, &theta, &mut y);
    let without = backward_at(level, g, x, &theta, &saved, gy, None);
    let gtheta = backward_at(level, g, x, &theta, &saved, gy, Some(&mut gx));
    assert_eq!(without, gtheta);
    let Statistics { mean, var } = saved.statistics().clone();
    [y, gx].into_iter().chain(gtheta).chain([mean, var]).collect()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1f32, |m, e| m.max(e.abs()));
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() < 2e-5 * largest, "{what}: {g} {e}");
    }
}

/// The operation is its parts, one after the other.
#[test]
fn agrees_with_its_parts() {
    for g in shapes() {
        let arguments = Arguments::new(&g);
        let Arguments { x, theta: [weight, gamma, beta], gy } = &arguments;
        let (depthwise, c, taps) = (g.depthwise, g.depthwise.c, g.taps());
        let windows = transposed(weight, c, taps);
        let mut pre = vec![0.; gy.len()];
        depthwise::forward(&depthwise, x, &windows, &mut pre);
        let statistics = batch_norm::statistics(&pre, c);
        let Statistics { mean, var } = &statistics;
        let mut y = vec![0.; gy.len()];
        let affine = Affine { mean, scale: &scale(gamma, var, g.eps), bias: beta };
        batch_norm::forward(&pre, affine, g.activation, &mut y);
        let parameters = batch_norm::NormParameters { mean, var, weight: gamma, bias: beta, eps: g.eps };
        let norm = batch_norm::backward(&pre, gy, parameters, g.activation, true);
        let (mut gwindows, mut gx) = (vec![0.; weight.len()], vec![0.; x.len()]);
        depthwise::backward_weight(&depthwise, x, &norm.xs, &mut gwindows);
        depthwise::backward_input(&depthwise, &norm.xs, &windows, &mut gx);
        let gweight = transposed(&gwindows, taps, c);

        let names = ["y", "gx", "weight", "gamma", "beta", "mean", "var"];
        let expected = [&y, &gx, &gweight, &norm.weight, &norm.bias, mean, var];
        for level in Level::available() {
            let found = outcome(level, &g, &arguments);
            for ((name, found), expected) in names.iter().zip(&found).zip(expected) {
                assert_close(found, expected, &format!("{name} of {g:?}, {level}"));
            }
            let mut inferred = vec![f32::NAN; y.len()];
            infer_at(level, &g, x, &arguments.theta(), &[(mean, var)], &mut inferred);
            assert_close(&inferred, &y, &format!("inference of {g:?}, {level}"));
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for g in shapes().filter(|g| g.activation == Activation::HSwish) {
        let arguments = Arguments::new(&g);
        let (mean, var) = (values(g.depthwise.c, 7), vec![0.5; g.depthwise.c]);
        let run = |level, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut y = vec![f32::NAN; arguments.gy.len()];
                infer_at(level, &g, &arguments.x, &arguments.theta(), &[(&mean, &var)], &mut y);
                (y, outcome(level, &g, &arguments))
            })
        };
        for level in Level::available() {
            let expected = run(level, 1);
            for threads in [2, 3, 5, 8] {
                assert!(run(level, threads) == expected, "{threads} threads, {level}, {g:?}");
            }
        }
    }
}

/// Without kinks (few values come near those of h-swish) bf16 is float32 but for its rounding; images whose rows are of
/// an odd number of pixels stay float32.
#[test]
fn bf16_is_float32_but_for_its_rounding() {
    for g in shapes().filter(|g| g.activation == Activation::HSwish) {
        let arguments = Arguments::new(&g);
        let bf16 = DepthwiseNormShape { precision: Precision::Bf16, ..g };
        for level in Level::available() {
            let (exact, rounded) = (outcome(level, &g, &arguments), outcome(level, &bf16, &arguments));
            assert_eq!(bf16.is_bf16(), exact != rounded, "{g:?}, {level}");
            for (i, (exact, rounded)) in exact.iter().zip(&rounded).enumerate() {
                let share = relative_error(rounded, &wide(exact));
                assert!(share < 0.03, "{i}: {share} off, {g:?}, {level}");
            }
        }
    }
}

/// The gradients' errors are those of the convolution's float32 output, with zeros around the image and without.
#[test]
fn a_mean_far_from_zero_costs_no_more_digits_than_the_convolution() {
    for (kernel, stride, dilation, padding) in [(3, 1, 1, 1), (3, 2, 1, 1), (5, 1, 1, 2), (3, 1, 1, 0), (3, 1, 2, 0)] {
        let depthwise = DepthwiseShape { h: 12, w: 11, c: 40, kernel, stride, dilation, padding };
        let activation = Activation::Identity;
        let g = DepthwiseNormShape { n: 5, depthwise, activation, eps: 1e-3, precision: Precision::F32 };
        for (ratio, bound) in [(0., 3e-6), (10., 2e-5), (100., 2e-4), (1000., 2e-3)] {
            let std = (1f32 / 3.).sqrt();
            let mut arguments = Arguments::new(&g);
            arguments.x.iter_mut().for_each(|x| *x += ratio * std);
            let [weight, gamma, _] = arguments.theta.each_ref().map(|parameter| wide(parameter));
            let x = wide(&arguments.x);
            let d = reference::filtered(g.n, &depthwise, &x, &weight);
            let gd = norm_backward(&d, &wide(&arguments.gy), &gamma, g.eps);
            let expected = [
                ("gx", 1, reference::unfiltered(g.n, &depthwise, &gd, &weight)),
                ("weight", 2, reference::windows_gradient(g.n, &depthwise, &x, &gd)),
            ];
            for level in Level::available() {
                let found = outcome(level, &g, &arguments);
                for (name, at, expected) in &expected {
                    let error = relative_error(&found[*at], expected);
                    assert!(error < bound, "{name} is {error} off, the mean at {ratio} deviations, {level}, {g:?}");
                }
            }
        }
    }
}
