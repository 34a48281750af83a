//! The numbers of a graph in 8 bits: scales, zero points, weights and biases.

use mobilenet_runtime::{Activation, Quantization};

/// The largest bias in steps of its int32: what is summed with it must still fit.
const MAX_BIAS: f64 = (1 << 30) as f64;

/// The least and the greatest value that can be kept.
pub(super) fn range(quantization: Quantization) -> (f32, f32) {
    let Quantization { scale, zero_point } = quantization;
    (-scale * f32::from(zero_point), scale * f32::from(u8::MAX - zero_point))
}

/// Values from `low` to `high`, and 0 exactly.
pub(super) fn over(low: f32, high: f32) -> Quantization {
    let (low, high) = (low.min(0.), high.max(0.));
    let scale = ((high - low) / 255.).max(f32::MIN_POSITIVE);
    Quantization { scale, zero_point: (-low / scale).round() as u8 }
}

/// The scale of -127 to 127 over the same values.
pub(super) fn symmetric_scale(quantization: Quantization) -> f32 {
    let (low, high) = range(quantization);
    high.max(-low) / 127.
}

/// Whether keeping a value does what the activation does, so that the activation may be left out.
pub(super) fn clips(quantization: Quantization, activation: &Activation) -> bool {
    let is_from_0 = quantization.zero_point == 0;
    match activation {
        Activation::Identity => true,
        Activation::Relu => is_from_0,
        // 6 is rounded to 255, and so is all that is greater.
        Activation::Relu6 => is_from_0 && 6. / quantization.scale > 254.5,
        _ => false,
    }
}

/// How what goes into an activation is kept when what comes out is kept as `quantization` says: over the values that
/// make a difference. `None` where there is no end to them.
pub(super) fn before(quantization: Quantization, activation: &Activation) -> Option<Quantization> {
    let (_, high) = range(quantization);
    match activation {
        Activation::HSwish => {
            // x · (x + 3) / 6 = high
            let root = ((9. + 24. * high).sqrt() - 3.) / 2.;
            Some(over(-3., if high >= 3. { high } else { root }))
        }
        Activation::HSigmoid => Some(over(-3., 3.)),
        Activation::Pieces { kinks, slopes } => {
            let value = |x: f32| slopes.iter().zip(kinks).map(|(slope, kink)| slope * (x - kink).max(0.)).sum::<f32>();
            let mut slope: f32 = slopes.iter().sum();
            // Slopes that cancel may leave a rounding's rest.
            let is_flat = |slope: f32| slope.abs() < 1e-6;
            if slope < 0. && !is_flat(slope) {
                return None;
            }
            // From the right, the first piece that begins within the range: there it leaves the range.
            for (&kink, change) in kinks.iter().zip(slopes).rev() {
                let room = high - value(kink);
                if room >= 0. {
                    return Some(over(kinks[0], if is_flat(slope) { kink } else { kink + room / slope }));
                }
                slope -= change;
            }
            Some(over(kinks[0], kinks[0]))
        }
        Activation::Identity | Activation::Relu | Activation::Relu6 => None,
    }
}

/// A layer's weights and biases as integers.
pub(super) struct Integers {
    pub weights: Vec<i8>,
    /// For each output channel, what a step of a weight stands for.
    pub scales: Vec<f32>,
    /// None for a layer whose input is float32.
    pub bias: Option<Bias>,
}

/// Biases in steps of an input's times a weight's, as sums of products are.
pub(super) struct Bias {
    pub steps: Vec<i32>,
    /// For each output channel, what a step stands for.
    pub scales: Vec<f32>,
}

/// A layer's integers. Where a bias's step is too small for the bias, its channel's weights get a larger one: beside
/// that bias they hardly matter.
pub(super) fn integers(weights: &[i8], scales: &[f32], biases: &[f32], input_scale: Option<f32>) -> Integers {
    let enough = |(&scale, &bias): (&f32, &f32)| {
        let least = input_scale.map_or(0., |input| (f64::from(bias.abs()) / MAX_BIAS / f64::from(input)) as f32);
        scale.max(least).max(f32::MIN_POSITIVE)
    };
    let enlarged: Vec<f32> = scales.iter().zip(biases).map(enough).collect();
    let per_channel = (weights.len() / scales.len().max(1)).max(1);
    let ratios = scales.iter().zip(&enlarged).map(|(old, new)| old / new);
    let channels = weights.chunks(per_channel).zip(ratios);
    let weights = channels
        .flat_map(|(weights, ratio)| weights.iter().map(move |&weight| (f32::from(weight) * ratio).round() as i8));
    let bias = input_scale.map(|input| {
        let scales: Vec<f32> = enlarged.iter().map(|scale| (scale * input).max(f32::MIN_POSITIVE)).collect();
        let steps =
            biases.iter().zip(&scales).map(|(&bias, &scale)| (f64::from(bias) / f64::from(scale)).round() as i32);
        Bias { steps: steps.collect(), scales }
    });
    Integers { weights: weights.collect(), scales: enlarged, bias }
}

/// Numbers with a sign, from 128 on.
pub(super) fn unsigned(values: &[i8]) -> Vec<u8> {
    values.iter().map(|value| value.cast_unsigned() ^ 0x80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_without_a_sign_begin_at_128() {
        assert_eq!(unsigned(&[-128, -1, 0, 127]), [0, 127, 128, 255]);
    }

    #[test]
    fn a_range_holds_0() {
        for (low, high, scale, zero_point) in
            [(-5.5, -2., 5.5 / 255., 255), (0., 255., 1., 0), (1., 510., 2., 0), (-1., 3., 4. / 255., 64)]
        {
            let found = over(low, high);
            assert!((found.scale - scale).abs() <= 1e-6 * scale, "{found:?}");
            assert_eq!(found.zero_point, zero_point);
        }
    }

    #[test]
    fn an_activation_is_left_out_where_its_range_is_kept() {
        let kept = |scale, zero_point| Quantization { scale, zero_point };
        for (quantization, activation, expected) in [
            (kept(1., 7), Activation::Identity, true),
            (kept(1., 0), Activation::Relu, true),
            (kept(1., 1), Activation::Relu, false),
            (kept(6. / 255., 0), Activation::Relu6, true),
            (kept(3. / 255., 0), Activation::Relu6, true),
            (kept(6.1 / 255., 0), Activation::Relu6, false),
            (kept(1., 0), Activation::HSwish, false),
        ] {
            assert_eq!(clips(quantization, &activation), expected, "{quantization:?} {activation:?}");
        }
    }

    #[test]
    fn what_is_cut_before_an_activation_makes_no_difference() {
        let pieces = |kinks: &[f32], slopes: &[f32]| Activation::Pieces { kinks: kinks.into(), slopes: slopes.into() };
        for activation in [
            Activation::HSwish,
            Activation::HSigmoid,
            pieces(&[-2., 0., 1.], &[-0.25, 0.75, 0.5]),
            pieces(&[0., 6.], &[1., -1.]),
        ] {
            let value = |x: f32| match &activation {
                Activation::HSwish => x * (x + 3.).clamp(0., 6.) / 6.,
                Activation::HSigmoid => (x + 3.).clamp(0., 6.) / 6.,
                Activation::Pieces { kinks, slopes } => {
                    kinks.iter().zip(slopes).map(|(kink, slope)| slope * (x - kink).max(0.)).sum()
                }
                _ => x,
            };
            for high in [0.25, 0.9, 2., 9.] {
                let result = over(-0.5, high);
                let (least, most) = range(result);
                let Some(input) = before(result, &activation) else { panic!("{activation:?} has an end") };
                let (first, last) = range(input);
                for i in -200..=200 {
                    let x = i as f32 / 10.;
                    let [whole, cut] = [x, x.clamp(first, last)].map(|x| value(x).clamp(least, most));
                    let rounding = 1.5 * input.scale;
                    assert!((whole - cut).abs() <= rounding, "{activation:?} up to {high} at {x}: {whole}, {cut}");
                }
            }
        }
        assert_eq!(before(over(0., 1.), &pieces(&[0., 1.], &[1., -2.])), None);
    }

    #[test]
    fn biases_fit() {
        let integers = integers(&[127, -127, 50, 3], &[1e-3, 1e-12], &[0.5, 4.], Some(0.01));
        let bias = integers.bias.unwrap_or_else(|| panic!("the input is in 8 bits"));
        assert_eq!(integers.weights[..2], [127, -127]);
        assert_eq!(bias.steps[0], 50_000);
        assert!(bias.steps[1] <= 1 << 30);
        for (step, scale, expected) in [(bias.steps[0], bias.scales[0], 0.5), (bias.steps[1], bias.scales[1], 4.)] {
            assert!((step as f32 * scale - expected).abs() < 1e-5);
        }
        assert!((bias.scales[1] - integers.scales[1] * 0.01).abs() <= 1e-6 * bias.scales[1]);
    }
}
