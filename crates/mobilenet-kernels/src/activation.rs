//! The activations and their derivatives.
//!
//! ```text
//! relu(x)      = max(x, 0)
//! relu6(x)     = min(max(x, 0), 6)
//! h-sigmoid(x) = relu6(x + 3) / 6
//! h-swish(x)   = x · h-sigmoid(x)
//! ```
//!
//! The derivative at a kink is PyTorch's: 0 for relu at 0, relu6 at 0 and 6, h-sigmoid at ±3, h-swish at -3; 1 for
//! h-swish at 3.

pub use mobilenet_arch::Activation;

use crate::parallel::{for_parts, rows_per_part};
use crate::simd::{Isa, Level, for_each_level};

/// An activation known at compile time, so that a loop over it has no branch.
pub(crate) trait Function {
    fn value(x: f32) -> f32;
    fn derivative(x: f32) -> f32;
}

/// Binds `$F` to the [`Function`] of the activation `$act` in `$body`.
macro_rules! with_function {
    ($act:expr, $F:ident => $body:expr) => {{
        use $crate::activation as a;
        match $act {
            a::Activation::Identity => {
                type $F = a::Identity;
                $body
            }
            a::Activation::Relu => {
                type $F = a::Relu;
                $body
            }
            a::Activation::Relu6 => {
                type $F = a::Relu6;
                $body
            }
            a::Activation::HSwish => {
                type $F = a::HSwish;
                $body
            }
            a::Activation::HSigmoid => {
                type $F = a::HSigmoid;
                $body
            }
        }
    }};
}
pub(crate) use with_function;

pub(crate) struct Identity;
pub(crate) struct Relu;
pub(crate) struct Relu6;
pub(crate) struct HSwish;
pub(crate) struct HSigmoid;

impl Function for Identity {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn derivative(_: f32) -> f32 {
        1.
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        if x < 0. { 0. } else { x } // keeps NaN, as max(x, 0) would not
    }
    #[inline(always)]
    fn derivative(x: f32) -> f32 {
        if x > 0. { 1. } else { 0. }
    }
}

impl Function for Relu6 {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        let x = if x < 0. { 0. } else { x };
        if x > 6. { 6. } else { x }
    }
    #[inline(always)]
    fn derivative(x: f32) -> f32 {
        if x > 0. && x < 6. { 1. } else { 0. }
    }
}

impl Function for HSigmoid {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        Relu6::value(x + 3.) * (1. / 6.)
    }
    #[inline(always)]
    fn derivative(x: f32) -> f32 {
        if x > -3. && x < 3. { 1. / 6. } else { 0. }
    }
}

impl Function for HSwish {
    #[inline(always)]
    fn value(x: f32) -> f32 {
        x * HSigmoid::value(x)
    }
    #[inline(always)]
    fn derivative(x: f32) -> f32 {
        let inner = x * (1. / 3.) + 0.5;
        let low = if x > -3. { inner } else { 0. };
        if x < 3. { low } else { 1. }
    }
}

/// `ys[i] = act(xs[i])`
pub fn forward(act: Activation, xs: &[f32], ys: &mut [f32]) {
    forward_at(Level::best(), act, xs, ys);
}

/// `gxs[i] = gys[i] · act'(xs[i])`
pub fn backward(act: Activation, xs: &[f32], gys: &[f32], gxs: &mut [f32]) {
    backward_at(Level::best(), act, xs, gys, gxs);
}

fn forward_at(level: Level, act: Activation, xs: &[f32], ys: &mut [f32]) {
    assert_eq!(xs.len(), ys.len());
    for_parts(ys, 1, rows_per_part(1), |at, ys| {
        let xs = &xs[at..at + ys.len()];
        with_function!(act, F => values::<F>(level, xs, ys));
    });
}

fn backward_at(level: Level, act: Activation, xs: &[f32], gys: &[f32], gxs: &mut [f32]) {
    assert_eq!(xs.len(), gys.len());
    assert_eq!(xs.len(), gxs.len());
    for_parts(gxs, 1, rows_per_part(1), |at, gxs| {
        let (xs, gys) = (&xs[at..at + gxs.len()], &gys[at..at + gxs.len()]);
        with_function!(act, F => derivatives::<F>(level, xs, gys, gxs));
    });
}

for_each_level! {
    fn values<F: Function>(xs: &[f32], ys: &mut [f32]) = values_body
}

#[inline(always)]
fn values_body<I: Isa, F: Function>(_: I, xs: &[f32], ys: &mut [f32]) {
    for (x, y) in xs.iter().zip(ys) {
        *y = F::value(*x);
    }
}

for_each_level! {
    fn derivatives<F: Function>(xs: &[f32], gys: &[f32], gxs: &mut [f32]) = derivatives_body
}

#[inline(always)]
fn derivatives_body<I: Isa, F: Function>(_: I, xs: &[f32], gys: &[f32], gxs: &mut [f32]) {
    for ((x, gy), gx) in xs.iter().zip(gys).zip(gxs) {
        *gx = gy * F::derivative(*x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions, in float64.
    fn reference(act: Activation, x: f64) -> f64 {
        let relu6 = |x: f64| x.clamp(0., 6.);
        match act {
            Activation::Identity => x,
            Activation::Relu => x.max(0.),
            Activation::Relu6 => relu6(x),
            Activation::HSigmoid => relu6(x + 3.) / 6.,
            Activation::HSwish => x * relu6(x + 3.) / 6.,
        }
    }

    #[test]
    fn values_and_derivatives_agree_with_the_definition() {
        let xs: Vec<f32> = (-800..800).map(|i| i as f32 * 0.01 + 0.005).collect();
        for act in Activation::ALL {
            for level in Level::available() {
                let (mut ys, mut gxs) = (vec![0.; xs.len()], vec![0.; xs.len()]);
                forward_at(level, act, &xs, &mut ys);
                backward_at(level, act, &xs, &vec![2.; xs.len()], &mut gxs);
                for ((x, y), gx) in xs.iter().zip(&ys).zip(&gxs) {
                    let (x, h) = (f64::from(*x), 1e-4);
                    let slope = (reference(act, x + h) - reference(act, x - h)) / (2. * h);
                    assert!((f64::from(*y) - reference(act, x)).abs() < 1e-6, "{act:?} at {x}, {level}");
                    assert!((f64::from(*gx) - 2. * slope).abs() < 1e-5, "{act:?}' at {x}, {level}");
                }
            }
        }
    }

    #[test]
    fn derivatives_at_the_kinks_are_torchs() {
        for (act, kinks) in [
            (Activation::Relu, [(0., 0.), (-0., 0.)]),
            (Activation::Relu6, [(0., 0.), (6., 0.)]),
            (Activation::HSigmoid, [(-3., 0.), (3., 0.)]),
            (Activation::HSwish, [(-3., 0.), (3., 1.)]),
        ] {
            for (x, slope) in kinks {
                let mut gx = [f32::NAN];
                backward(act, &[x], &[1.], &mut gx);
                assert_eq!(gx, [slope], "{act:?} at {x}");
            }
        }
    }

    #[test]
    fn nan_stays_nan() {
        for act in Activation::ALL {
            let mut y = [0.];
            forward(act, &[f32::NAN], &mut y);
            assert!(y[0].is_nan(), "{act:?}");
        }
    }
}
