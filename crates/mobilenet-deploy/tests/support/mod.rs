//! Networks with random weights, the plainest way to run them, and the plainest way to quantize them.

#![allow(dead_code, reason = "no program that includes this file uses all of it")]

use std::collections::BTreeMap;

use mobilenet_arch::plan::Plan;
use mobilenet_arch::{Arch, ModelConfig, Preset, graph};
use mobilenet_deploy::{Weights, fold};
use mobilenet_runtime::{
    Activation, Description, Input, Network, Operation, OperationKind, Origin, Quantization, Shape, Tensor, Values,
};

/// Numbers from 0 to 1 that look random and are the same each time.
pub struct Random(pub u64);

impl Iterator for Random {
    type Item = f32;

    fn next(&mut self) -> Option<f32> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((self.0 >> 40) as f32 / (1u64 << 24) as f32)
    }
}

/// `n` normalized images `[n, size, size, 3]`.
pub fn images(n: usize, size: usize) -> Vec<f32> {
    Random(n as u64).take(n * size * size * 3).map(|value| value * 4. - 2.).collect()
}

/// Images `[n, h, w, c]` as `[n, c, h, w]`.
pub fn channels_first(images: &[f32], size: usize) -> Vec<f32> {
    let pixels = size * size;
    let image = |image: &[f32]| -> Vec<f32> { (0..3 * pixels).map(|i| image[i % pixels * 3 + i / pixels]).collect() };
    images.chunks(pixels * 3).flat_map(image).collect()
}

/// A folded network with random weights, of the preset for 32×32 images or that for 224×224 ones.
pub fn random_network(arch: Arch, size: usize) -> Network {
    let (preset, classes) = if size == 32 { (Preset::Cifar, 10) } else { (Preset::Imagenet, 1000) };
    let config = ModelConfig::new(arch, classes, preset);
    let plan = Plan::new(&config).unwrap();
    let mut random = Random(1);
    let mut weights = Vec::new();
    for parameter in graph::operations(&plan, (size, size)).unwrap().into_iter().flat_map(|op| op.parameters) {
        let fan_in: usize = parameter.shape.iter().skip(1).product();
        let is_scale = parameter.name.ends_with("weight") || parameter.name.ends_with("var");
        let (center, width) = match parameter.shape.len() {
            1 if is_scale => (1., 0.5),
            1 => (0., 0.4),
            _ => (0., (24. / fan_in as f32).sqrt()),
        };
        let values = random.by_ref().take(parameter.shape.iter().product()).map(|u| center + (u - 0.5) * width);
        weights.push((parameter.name, Tensor::f32(parameter.shape.clone(), values.collect())));
    }
    fold(&config, &Weights::new(weights), description(arch, size, classes)).unwrap()
}

/// What is known of a network for square images.
pub fn description(arch: Arch, size: usize, classes: usize) -> Description {
    Description {
        input: Input {
            height: size,
            width: size,
            crop: 1.,
            mean: [0.485, 0.5, 0.4],
            std: [0.25; 3],
            quantization: None,
        },
        classes: (0..classes).map(|class| format!("class \"{class}\"")).collect(),
        origin: Origin { architecture: arch.to_string(), width: 1., test_top1: Some(0.5), ..Origin::default() },
    }
}

/// `network` with straight pieces instead of h-swish.
pub fn with_pieces(mut network: Network) -> Network {
    let pieces =
        Activation::Pieces { kinks: vec![-3., -1.5, 0., 1.5, 3.], slopes: vec![-0.2, 0.45, 0.45, 0.45, -0.15] };
    for operation in &mut network.operations {
        if operation.activation == Activation::HSwish {
            operation.activation = pieces.clone();
        }
    }
    network
}

/// `network` in 8 bits: ranges from the least to the greatest value that these images give.
pub fn quantized(network: &Network, images: &[f32]) -> Network {
    let mut ranges = vec![(0f32, 0f32); network.operations.len() + 1];
    for image in images.chunks(image_len(network)) {
        for (value, range) in values(network, image).iter().zip(&mut ranges) {
            *range = value.iter().fold(*range, |(low, high), &x| (low.min(x), high.max(x)));
        }
    }
    let quantizations: Vec<Quantization> = ranges
        .iter()
        .map(|(low, high)| {
            let scale = ((high - low) / 255.).max(1e-9);
            Quantization { scale, zero_point: (-low / scale).round() as u8 }
        })
        .collect();
    let mut network = network.clone();
    network.description.input.quantization = Some(quantizations[0]);
    let last = network.operations.len() - 1;
    for (operation, quantization) in network.operations[..last].iter_mut().zip(&quantizations[1..]) {
        operation.quantization = Some(*quantization);
    }
    let mut tensors = BTreeMap::new();
    for (name, tensor) in network.tensors {
        let Some(layer) = name.strip_suffix(".weight") else {
            tensors.insert(name, tensor);
            continue;
        };
        let channels = tensor.shape[0];
        let values = floats(&tensor);
        let rows = values.chunks(values.len() / channels);
        let scales: Vec<f32> =
            rows.clone().map(|row| row.iter().fold(0f32, |most, w| most.max(w.abs())).max(1e-9) / 127.).collect();
        let steps = rows.zip(&scales).flat_map(|(row, scale)| row.iter().map(move |w| (w / scale).round() as i8));
        let steps = Tensor { shape: tensor.shape.clone(), values: Values::I8(steps.collect()) };
        tensors.insert(format!("{layer}.weight_scale"), Tensor::f32([channels], scales));
        tensors.insert(name, steps);
    }
    network.tensors = tensors;
    network
}

/// The results for images `[n, h, w, 3]`; of a network in 8 bits as float32 products of the numbers that are kept.
pub fn logits(network: &Network, images: &[f32]) -> Vec<f32> {
    let network = &with_float_weights(network.clone());
    images.chunks(image_len(network)).flat_map(|image| values(network, image).pop().unwrap()).collect()
}

fn image_len(network: &Network) -> usize {
    network.description.input.height * network.description.input.width * 3
}

fn floats(tensor: &Tensor) -> &[f32] {
    match &tensor.values {
        Values::F32(values) => values,
        _ => panic!("float32 was expected"),
    }
}

fn with_float_weights(mut network: Network) -> Network {
    let scales = network.tensors.clone();
    for (name, tensor) in &mut network.tensors {
        if let Values::I8(steps) = &tensor.values {
            let scales = floats(&scales[&format!("{name}_scale")]);
            let row = steps.len() / scales.len();
            let values = steps.iter().enumerate().map(|(i, &step)| f32::from(step) * scales[i / row]).collect();
            tensor.values = Values::F32(values);
        }
    }
    network.tensors.retain(|name, _| !name.ends_with(".weight_scale"));
    network
}

/// All values of one image.
fn values(network: &Network, image: &[f32]) -> Vec<Vec<f32>> {
    let shapes = network.shapes().unwrap();
    let mut values = vec![kept(image.to_vec(), network.description.input.quantization)];
    for (i, operation) in network.operations.iter().enumerate() {
        let input = &values[operation.input];
        let mut result = apply(network, operation, input, shapes[operation.input], shapes[i + 1]);
        result.iter_mut().for_each(|x| *x = activation(&operation.activation, *x));
        if let Some(add) = operation.add {
            result.iter_mut().zip(&values[add]).for_each(|(x, add)| *x += add);
        }
        values.push(kept(result, operation.quantization));
    }
    values
}

/// What is left of values that are kept in 8 bits.
fn kept(mut values: Vec<f32>, quantization: Option<Quantization>) -> Vec<f32> {
    if let Some(Quantization { scale, zero_point }) = quantization {
        let zero_point = f32::from(zero_point);
        for value in &mut values {
            *value = (((*value / scale).round_ties_even() + zero_point).clamp(0., 255.) - zero_point) * scale;
        }
    }
    values
}

fn activation(activation: &Activation, x: f32) -> f32 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.),
        Activation::Relu6 => x.clamp(0., 6.),
        Activation::HSwish => x * (x + 3.).clamp(0., 6.) / 6.,
        Activation::HSigmoid => (x + 3.).clamp(0., 6.) / 6.,
        Activation::Pieces { kinks, slopes } => {
            kinks.iter().zip(slopes).map(|(kink, slope)| slope * (x - kink).max(0.)).sum()
        }
    }
}

fn apply(network: &Network, operation: &Operation, x: &[f32], from: Shape, to: Shape) -> Vec<f32> {
    let name = &operation.name;
    let means = || (0..from.c).map(|c| x.iter().skip(c).step_by(from.c).sum::<f32>() / from.pixels() as f32).collect();
    match operation.kind {
        OperationKind::Linear => product(network, name, x),
        OperationKind::Conv { kernel: 1, stride: 1, depthwise: false, .. } => {
            x.chunks(from.c).flat_map(|pixel| product(network, name, pixel)).collect()
        }
        OperationKind::Pool => means(),
        OperationKind::SqueezeExcite => {
            let means: Vec<f32> = means();
            let mut hidden = product(network, &format!("{name}.fc1"), &means);
            hidden.iter_mut().for_each(|x| *x = x.max(0.));
            let gates = product(network, &format!("{name}.fc2"), &hidden);
            x.iter().enumerate().map(|(i, x)| x * activation(&Activation::HSigmoid, gates[i % from.c])).collect()
        }
        OperationKind::Conv { kernel, stride, dilation, depthwise } => {
            let weight = floats(&network.tensors[&format!("{name}.weight")]);
            let bias = floats(&network.tensors[&format!("{name}.bias")]);
            let c_in = if depthwise { 1 } else { from.c };
            let mut result = Vec::with_capacity(to.len());
            // The pixel under a tap, if it is in the image.
            let at = |out: usize, tap: usize, length: usize| {
                (out * stride + tap * dilation).checked_sub(dilation * (kernel / 2)).filter(|&i| i < length)
            };
            for (i, j, c) in (0..to.len()).map(|n| (n / to.c / to.w, n / to.c % to.w, n % to.c)) {
                let mut sum = bias[c];
                for (k, l) in (0..kernel * kernel).map(|n| (n / kernel, n % kernel)) {
                    let (Some(y), Some(z)) = (at(i, k, from.h), at(j, l, from.w)) else { continue };
                    for d in 0..c_in {
                        let channel = if depthwise { c } else { d };
                        let weight = weight[((c * c_in + d) * kernel + k) * kernel + l];
                        sum += x[(y * from.w + z) * from.c + channel] * weight;
                    }
                }
                result.push(sum);
            }
            result
        }
    }
}

fn product(network: &Network, name: &str, x: &[f32]) -> Vec<f32> {
    let weight = floats(&network.tensors[&format!("{name}.weight")]);
    let bias = floats(&network.tensors[&format!("{name}.bias")]);
    let row = |weights: &[f32]| -> f32 {
        let parts: f32 =
            weights.chunks(16).zip(x.chunks(16)).map(|(w, x)| w.iter().zip(x).map(|(w, x)| w * x).sum::<f32>()).sum();
        parts
    };
    weight.chunks(x.len()).zip(bias).map(|(weights, bias)| row(weights) + bias).collect()
}
