use super::*;
use crate::activation::Activation;
use crate::depthwise::DepthwiseShape;
use crate::parallel::tests::values;
use crate::reference::{norm_backward, normalized, product, relative_error, transposed, wide};
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

/// Output, gradients and statistics.
fn outcome(g: &BottleneckShape) -> Vec<Vec<f32>> {
    let x = values(g.n * g.pixels_in() * g.c_in, 1);
    let theta: Vec<Vec<f32>> =
        g.parameter_lengths().into_iter().enumerate().map(|(i, len)| values(len, 2 + i as u64)).collect();
    let theta: Vec<&[f32]> = theta.iter().map(Vec::as_slice).collect();
    let mut y = vec![f32::NAN; g.n * g.pixels_out() * g.c_out];
    let saved = forward(g, &x, &theta, &mut y);
    let (gx, gtheta) = backward(g, &x, &theta, &saved, &values(y.len(), 99));
    let (expand, depthwise, project) = saved.statistics();
    let statistics = expand.into_iter().chain([depthwise, project]).flat_map(|s| [s.mean.clone(), s.var.clone()]);
    [y, gx.to_vec()].into_iter().chain(gtheta).chain(statistics.collect::<Vec<_>>()).collect()
}

fn root_mean_square(values: impl Iterator<Item = f32> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    (values.map(|v| f64::from(v).powi(2)).sum::<f64>() / n).sqrt()
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
        for (i, (exact, rounded)) in outcome(&g).iter().zip(outcome(&bf16)).enumerate() {
            let difference = root_mean_square(exact.iter().zip(&rounded).map(|(a, b)| a - b));
            let share = difference / root_mean_square(exact.iter().copied());
            assert!(share < 0.03, "{i}: {share} off, {g:?}");
            assert!(i > 0 || difference > 0., "the output was not rounded, {g:?}");
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
        assert_eq!(outcome(&g), outcome(&BottleneckShape { precision: Precision::Bf16, ..g }));
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

fn inferred(g: &BottleneckShape, statistics: &[(Vec<f32>, Vec<f32>)]) -> Vec<f32> {
    let x = values(g.n * g.pixels_in() * g.c_in, 1);
    let theta: Vec<Vec<f32>> =
        g.parameter_lengths().into_iter().enumerate().map(|(i, len)| values(len, 2 + i as u64)).collect();
    let theta: Vec<&[f32]> = theta.iter().map(Vec::as_slice).collect();
    let running: Vec<(&[f32], &[f32])> = statistics.iter().map(|(mean, var)| (&mean[..], &var[..])).collect();
    let mut y = vec![f32::NAN; g.n * g.pixels_out() * g.c_out];
    infer(g, &x, &theta, &running, &mut y);
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
        let outcome = outcome(&g);
        let found = inferred(&g, &statistics_of(&g, &outcome));
        for (found, expected) in found.iter().zip(&outcome[0]) {
            assert!((found - expected).abs() < 1e-3 * (1. + expected.abs()), "{found} {expected} {g:?}");
        }
    }
}

#[test]
fn threads_change_no_bit() {
    for g in shapes() {
        for &precision in Precision::ALL {
            let g = BottleneckShape { precision, ..g };
            let expected = on_threads(1, || outcome(&g));
            let statistics = statistics_of(&g, &expected);
            let expected_inferred = on_threads(1, || inferred(&g, &statistics));
            for threads in [2, 3, 5, 8, 16, 32] {
                let (found, found_inferred) = on_threads(threads, || (outcome(&g), inferred(&g, &statistics)));
                assert!(found == expected, "training on {threads} threads, {g:?}");
                assert!(found_inferred == expected_inferred, "inference on {threads} threads, {g:?}");
            }
        }
    }
}

/// The gradients lose no more digits to a mean of the input that is far from 0 than those of two passes over the batch do, whose
/// error is that of the expansion's float32 output.
#[test]
fn a_mean_far_from_zero_costs_no_more_digits_than_two_passes() {
    let depthwise = DepthwiseShape { c: 32, ..BASE.depthwise };
    let g = BottleneckShape { n: 4, depthwise, activation: Activation::Identity, ..BASE };
    for (ratio, bound) in [(0., 3e-6), (10., 2e-5), (100., 2e-4), (1000., 2e-3)] {
        let std = (1f32 / 3.).sqrt();
        let x: Vec<f32> = values(g.n * g.pixels_in() * g.c_in, 1).iter().map(|v| ratio * std + v).collect();
        let theta: Vec<Vec<f32>> =
            g.parameter_lengths().into_iter().enumerate().map(|(i, len)| values(len, 2 + i as u64)).collect();
        let theta: Vec<&[f32]> = theta.iter().map(Vec::as_slice).collect();
        let mut y = vec![f32::NAN; g.n * g.pixels_out() * g.c_out];
        let saved = forward(&g, &x, &theta, &mut y);
        let gy = values(y.len(), 99);
        let (gx, gtheta) = backward(&g, &x, &theta, &saved, &gy);
        let (expected_gx, expected_gw) = reference(&g, &x, &theta, &gy);
        for (name, found, expected) in [("gx", &gx[..], expected_gx), ("weight", &gtheta[0], expected_gw)] {
            let error = relative_error(found, &expected);
            assert!(error < bound, "{name} is {error} off with the mean at {ratio} deviations");
        }
    }
}

/// The gradients of the input and of the expansion's weight by the definition, in float64, of a block without activations.
fn reference(g: &BottleneckShape, x: &[f32], theta: &[&[f32]], gy: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let theta: Vec<Vec<f64>> = theta.iter().map(|parameter| wide(parameter)).collect();
    let [w1, gamma1, beta1, w2, gamma2, beta2, w3, gamma3, _] = &theta[..] else { panic!("a block with an expansion") };
    let (x, gy, c) = (wide(x), wide(gy), g.depthwise.c);
    let (rows_in, rows_out) = (g.n * g.pixels_in(), g.n * g.pixels_out());
    let e = product(&x, &transposed(w1, c), [rows_in, g.c_in, c]);
    let d = filtered(g, &normalized(&e, gamma1, beta1, g.eps), w2);
    let p = product(&normalized(&d, gamma2, beta2, g.eps), &transposed(w3, g.c_out), [rows_out, c, g.c_out]);
    let gp = norm_backward(&p, &gy, gamma3, g.eps);
    let gd = norm_backward(&d, &product(&gp, w3, [rows_out, g.c_out, c]), gamma2, g.eps);
    let ge = norm_backward(&e, &unfiltered(g, &gd, w2), gamma1, g.eps);
    let gx = product(&ge, w1, [rows_in, c, g.c_in]);
    (gx, product(&transposed(&ge, rows_in), &x, [c, rows_in, g.c_in]))
}

/// Calls `f(input, output, weight)` with the indices of every product of the depthwise convolution.
fn for_each_tap(g: &BottleneckShape, mut f: impl FnMut(usize, usize, usize)) {
    let DepthwiseShape { h, w, c, kernel, stride, dilation, padding } = g.depthwise;
    let (h_out, w_out) = (g.depthwise.h_out(), g.depthwise.w_out());
    let source = |o: usize, k: usize, len: usize| {
        (o * stride + k * dilation).checked_sub(padding).filter(|position| *position < len)
    };
    for (i, oy, ox) in (0..g.n * h_out * w_out).map(|i| (i / w_out / h_out, i / w_out % h_out, i % w_out)) {
        for (ky, kx) in (0..kernel * kernel).map(|k| (k / kernel, k % kernel)) {
            let (Some(iy), Some(ix)) = (source(oy, ky, h), source(ox, kx, w)) else { continue };
            for ch in 0..c {
                let (from, to) = (((i * h + iy) * w + ix) * c + ch, ((i * h_out + oy) * w_out + ox) * c + ch);
                f(from, to, (ch * kernel + ky) * kernel + kx);
            }
        }
    }
}

fn filtered(g: &BottleneckShape, x: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut y = vec![0.; g.n * g.depthwise.image_out()];
    for_each_tap(g, |from, to, k| y[to] += x[from] * weight[k]);
    y
}

fn unfiltered(g: &BottleneckShape, gy: &[f64], weight: &[f64]) -> Vec<f64> {
    let mut gx = vec![0.; g.n * g.depthwise.image_in()];
    for_each_tap(g, |from, to, k| gx[from] += gy[to] * weight[k]);
    gx
}
