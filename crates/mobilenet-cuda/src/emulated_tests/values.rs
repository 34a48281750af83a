//! What networks are tested with: values of variables and images, and biases that keep away from kinks.
//!
//! Rounding may put a value on the other side of an activation's kink, where the derivative jumps. So biases are chosen that
//! leave no value close to one, though values lie on both sides of each: what is left is rounding alone.

use mobilenet_arch::Activation;
use mobilenet_common::random::SplitMix64;

use super::Subject;
use crate::backend::Backend;
use crate::stages::Kink;
use crate::variables::Variables;

/// Values evenly from -`most` to `most`.
pub fn uniform(len: usize, most: f64, seed: u64) -> Vec<f32> {
    let mut random = SplitMix64::keyed(&[seed]);
    (0..len).map(|_| (most * (2. * random.unit() - 1.)) as f32).collect()
}

/// Gives every variable values: weights for their fan-in, batch norm's weights about 1, running statistics as at first.
pub fn fill(backend: &mut Subject, variables: &Variables, seed: u64) {
    for (i, (name, variable)) in variables.trained().enumerate() {
        let len = variable.values.len;
        let seed = seed + i as u64;
        let values = if variable.is_weight {
            // Squeeze-and-excite's 1×1 are no matrices for the optimizer; their biases have as many values as they have rows.
            let bias = || variables.get(&name.replace("weight", "bias")).ok().map(|bias| bias.values.len);
            let rows = variable.matrix.map(|(rows, _)| rows).or_else(bias);
            let fan_in = match name.contains("classifier") {
                true => 64,
                false => rows.map_or(9, |rows| len / rows),
            };
            uniform(len, (6. / fan_in as f64).sqrt(), seed)
        } else if name.ends_with("weight") {
            uniform(len, 0.5, seed).into_iter().map(|value| 1. + value).collect()
        } else {
            uniform(len, 0.5, seed)
        };
        backend.write_f32(variable.values, &values).unwrap();
    }
    reset_running(backend, variables);
}

pub fn reset_running(backend: &mut Subject, variables: &Variables) {
    for (name, view) in variables.running() {
        let value = if name.ends_with("var") { 1. } else { 0. };
        backend.write_f32(view, &vec![value; view.len]).unwrap();
    }
}

/// Chooses the biases of a batch norm whose statistics are known: of some, those that keep farthest from the kinks.
pub fn settle(backend: &mut Subject, kink: &Kink) {
    let kinks: &[f32] = match kink.act {
        Activation::Identity => return,
        Activation::Relu => &[0.],
        Activation::Relu6 => &[0., 6.],
        Activation::HSwish | Activation::HSigmoid => &[-3., 3.],
    };
    let pre = backend.read_f32(kink.pre).unwrap();
    let affine = backend.read_f32(kink.affine).unwrap();
    let c = kink.bias.len;
    let (mean, scale) = (&affine[..c], &affine[c..2 * c]);
    let choose = |ch: usize| {
        let values: Vec<f32> = pre.iter().skip(ch).step_by(c).map(|x| (x - mean[ch]) * scale[ch]).collect();
        let margin = |bias: f32| {
            let distances = values.iter().flat_map(|x| kinks.iter().map(move |k| (x + bias - k).abs()));
            distances.fold(f32::INFINITY, f32::min)
        };
        let biases = (0..41).map(|i| (i as f32 - 20.) * 0.031 + 0.2);
        biases.max_by(|a, b| margin(*a).total_cmp(&margin(*b))).unwrap()
    };
    let biases: Vec<f32> = (0..c).map(choose).collect();
    backend.write_f32(kink.bias, &biases).unwrap();
}
