use super::backward::backward_at;
use super::forward::forward_at;
use super::infer::infer_at;
use super::*;
use crate::activation::Activation;
use crate::batch_norm::{self, Affine, scale};
use crate::conv::{self, ConvShape};
use crate::parallel::tests::values;
use crate::reference::{self, norm_backward, relative_error, wide};
use mobilenet_arch::Precision;

/// The operation is its three parts, one after the other.
#[test]
fn agrees_with_its_parts() {
    for (kernel, stride, n, size, c_in, c_out) in [
        (3, 1, 5, (6, 7), 3, 16),
        (3, 2, 2, (7, 6), 3, 9),
        (1, 1, 3, (4, 4), 40, 33),
        (1, 1, 1, (2, 3), 24, 40),
        (3, 2, 1, (21, 19), 3, 16),
    ] {
        let conv = ConvShape { h: size.0, w: size.1, c_in, c_out, kernel, stride, padding: kernel / 2 };
        for activation in [Activation::Relu6, Activation::HSwish, Activation::Identity] {
            let g = ConvNormShape { n, conv, activation, eps: 1e-3, precision: Precision::F32 };
            let (x, weight) = (values(n * g.image_in(), 1), values(c_out * conv.unfolded(), 2));
            let (gamma, beta) = (values(c_out, 3), values(c_out, 4));
            let gy = values(n * g.image_out(), 5);

            let mut pre = vec![0.; gy.len()];
            conv::forward(&conv, &x, &weight, &mut pre);
            let statistics = batch_norm::statistics(&pre, c_out);
            let Statistics { mean, var } = &statistics;
            let affine = Affine { mean, scale: &scale(&gamma, var, g.eps), bias: &beta };
            let mut y = vec![0.; gy.len()];
            batch_norm::forward(&pre, affine, activation, &mut y);
            let parameters = batch_norm::NormParameters { mean, var, weight: &gamma, bias: &beta, eps: g.eps };
            let norm = batch_norm::backward(&pre, &gy, parameters, activation, true);
            let (mut gweight, mut gx) = (vec![0.; weight.len()], vec![0.; x.len()]);
            conv::backward_weight(&conv, &x, &norm.xs, &mut gweight);
            conv::backward_input(&conv, &norm.xs, &weight, &mut gx);

            let theta = [&weight[..], &gamma, &beta];
            for level in Level::available() {
                let assert_close = |found: &[f32], expected: &[f32], what: &str| {
                    assert_close(found, expected, &format!("{what} of {g:?}, {level}"));
                };
                let (mut found_y, mut found_gx) = (vec![f32::NAN; y.len()], vec![f32::NAN; x.len()]);
                let saved = forward_at(level, &g, &x, &theta, &mut found_y);
                assert_close(&found_y, &y, "y");
                infer_at(level, &g, &x, &theta, &[(mean, var)], &mut found_y);
                assert_close(&found_y, &y, "inference");
                let without = backward_at(level, &g, &x, &theta, &saved, &mut gy.clone(), None);
                let found = backward_at(level, &g, &x, &theta, &saved, &mut gy.clone(), Some(&mut found_gx));
                assert_eq!(without, found);
                assert_close(&found_gx, &gx, "gx");
                for (found, expected) in found.iter().zip([&gweight, &norm.weight, &norm.bias]) {
                    assert_close(found, expected, "parameters");
                }
            }
        }
    }
}

/// The gradients' errors are those of the convolution's float32 output.
#[test]
fn a_mean_far_from_zero_costs_no_more_digits_than_the_convolution() {
    let conv = ConvShape { h: 9, w: 7, c_in: 24, c_out: 40, kernel: 1, stride: 1, padding: 0 };
    let g = ConvNormShape { n: 5, conv, activation: Activation::Identity, eps: 1e-3, precision: Precision::F32 };
    let rows = g.n * conv.pixels_out();
    for (ratio, bound) in [(0., 3e-6), (10., 2e-5), (100., 2e-4), (1000., 2e-3)] {
        let std = (1f32 / 3.).sqrt();
        let x: Vec<f32> = values(rows * conv.c_in, 1).iter().map(|v| ratio * std + v).collect();
        let (weight, gamma, beta) = (values(conv.c_out * conv.c_in, 2), values(conv.c_out, 3), values(conv.c_out, 4));
        let theta = [&weight[..], &gamma, &beta];
        let gy = values(rows * conv.c_out, 5);

        let (wide_x, wide_weight) = (wide(&x), wide(&weight));
        let pre = reference::product(
            &wide_x,
            &reference::transposed(&wide_weight, conv.c_out),
            [rows, conv.c_in, conv.c_out],
        );
        let gp = norm_backward(&pre, &wide(&gy), &wide(&gamma), g.eps);
        let gweight = reference::product(&reference::transposed(&gp, rows), &wide_x, [conv.c_out, rows, conv.c_in]);
        let expected_gx = reference::product(&gp, &wide_weight, [rows, conv.c_out, conv.c_in]);
        for level in Level::available() {
            let (mut y, mut gx) = (vec![f32::NAN; gy.len()], vec![f32::NAN; x.len()]);
            let saved = forward_at(level, &g, &x, &theta, &mut y);
            let gtheta = backward_at(level, &g, &x, &theta, &saved, &mut gy.clone(), Some(&mut gx));
            for (name, found, expected) in [("gx", &gx, &expected_gx), ("weight", &gtheta[0], &gweight)] {
                let error = relative_error(found, expected);
                assert!(error < bound, "{name} is {error} off with the mean at {ratio} deviations, {level}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for (kernel, n, size, c_in, c_out) in [
        (1, 20, 7, 48, 160),
        (1, 1, 4, 48, 160),
        (1, 1, 7, 48, 160),
        (1, 1, 12, 16, 24),
        (3, 1, 13, 3, 16),
        (3, 70, 9, 3, 16),
    ] {
        let conv = ConvShape { h: size, w: size, c_in, c_out, kernel, stride: 1, padding: kernel / 2 };
        let g = ConvNormShape { n, conv, activation: Activation::HSwish, eps: 1e-3, precision: Precision::F32 };
        let (x, weight) = (values(n * g.image_in(), 1), values(c_out * conv.unfolded(), 2));
        let (gamma, beta, var) = (values(c_out, 3), values(c_out, 4), vec![0.5; c_out]);
        let theta = [&weight[..], &gamma, &beta];
        let outcome = |level, threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut y, mut inferred) = (vec![f32::NAN; n * g.image_out()], vec![f32::NAN; n * g.image_out()]);
                let mut gx = vec![f32::NAN; x.len()];
                let saved = forward_at(level, &g, &x, &theta, &mut y);
                infer_at(level, &g, &x, &theta, &[(&beta, &var)], &mut inferred);
                let gtheta = backward_at(level, &g, &x, &theta, &saved, &mut values(y.len(), 5), Some(&mut gx));
                (y, inferred, gx, gtheta)
            })
        };
        for level in Level::available() {
            let expected = outcome(level, 1);
            for threads in [2, 3, 5, 8, 16, 32] {
                assert!(outcome(level, threads) == expected, "{threads} threads, {level}, {g:?}");
            }
        }
    }
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    let largest = expected.iter().fold(1f32, |m, e| m.max(e.abs()));
    for (g, e) in got.iter().zip(expected) {
        assert!((g - e).abs() < 1e-5 * largest, "{what}: {g} {e}");
    }
}
