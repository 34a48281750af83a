//! A network that has every operation, made up, and what it gives by the definition.

use std::collections::BTreeMap;

use mobilenet_runtime::{
    Activation, Description, Input, Network, Operation, OperationKind, Origin, Shape, Tensor, Values,
};

/// Numbers from -1 to 1, the same for the same seed.
pub fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.
    };
    (0..len).map(|_| next()).collect()
}

fn conv(kernel: usize, stride: usize, depthwise: bool) -> OperationKind {
    OperationKind::Conv { kernel, stride, dilation: 1, depthwise }
}

/// Two blocks, one with squeeze-and-excite and a shortcut, for images of `h` × `w` pixels.
pub fn network(h: usize, w: usize) -> Network {
    let pieces = Activation::Pieces { kinks: vec![-2., 0., 2.], slopes: vec![-0.1, 0.6, 0.5] };
    let list = [
        ("stem", conv(3, 2, false), 0, None, Activation::HSwish),
        ("first.depthwise", conv(3, 1, true), 1, None, Activation::Relu),
        ("first.project", conv(1, 1, false), 2, None, Activation::Identity),
        ("second.expand", conv(1, 1, false), 3, None, Activation::Relu6),
        ("second.depthwise", conv(5, 1, true), 4, None, pieces),
        ("second.gate", OperationKind::SqueezeExcite, 5, None, Activation::Identity),
        ("second.project", conv(1, 1, false), 6, Some(3), Activation::Identity),
        ("last", conv(1, 1, false), 7, None, Activation::HSwish),
        ("pool", OperationKind::Pool, 8, None, Activation::Identity),
        ("classifier", OperationKind::Linear, 9, None, Activation::Identity),
    ];
    let operations: Vec<Operation> = list
        .into_iter()
        .map(|(name, kind, input, add, activation)| Operation {
            name: name.to_owned(),
            kind,
            input,
            add,
            activation,
            quantization: None,
        })
        .collect();
    let widths = [("stem", 20, 27), ("first.depthwise", 20, 9), ("first.project", 12, 20), ("second.expand", 36, 12)];
    let more = [
        ("second.depthwise", 36, 25),
        ("second.gate.fc1", 8, 36),
        ("second.gate.fc2", 36, 8),
        ("second.project", 12, 36),
        ("last", 44, 12),
        ("classifier", 7, 44),
    ];
    let mut tensors = BTreeMap::new();
    for (i, (name, c_out, inner)) in widths.into_iter().chain(more).enumerate() {
        let shape = match name {
            "stem" => vec![c_out, 3, 3, 3],
            "first.depthwise" => vec![c_out, 1, 3, 3],
            "second.depthwise" => vec![c_out, 1, 5, 5],
            "classifier" => vec![c_out, inner],
            _ => vec![c_out, inner, 1, 1],
        };
        let scale = (6. / inner as f32).sqrt();
        let weight = values(c_out * inner, i as u64).iter().map(|value| value * scale).collect();
        tensors.insert(format!("{name}.weight"), Tensor::f32(shape, weight));
        tensors.insert(format!("{name}.bias"), Tensor::f32([c_out], values(c_out, 100 + i as u64)));
    }
    let input =
        Input { height: h, width: w, crop: 1., mean: [0.5, 0.4, 0.3], std: [0.2, 0.25, 0.3], quantization: None };
    let classes = (0..7).map(|i| format!("class {i}")).collect();
    Network { operations, tensors, description: Description { input, classes, origin: Origin::default() } }
}

/// The network with its weights in bf16.
pub fn in_bf16(mut network: Network) -> Network {
    for (name, tensor) in &mut network.tensors {
        if let (Values::F32(values), true) = (&tensor.values, name.ends_with(".weight")) {
            *tensor = Tensor::bf16(tensor.shape.clone(), values);
        }
    }
    network
}

/// The network with its bf16 weights in float32, by another program's reading of them.
pub fn in_float32(mut network: Network) -> Network {
    for tensor in network.tensors.values_mut() {
        if let Values::Bf16(values) = &tensor.values {
            let values = values.iter().map(|bits| half::bf16::from_bits(*bits).to_f32());
            *tensor = Tensor::f32(tensor.shape.clone(), values.collect());
        }
    }
    network
}

/// The bytes of a file with some text of its header replaced.
pub fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (length, rest) = bytes.split_at(8);
    let (header, numbers) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let header = std::str::from_utf8(header).unwrap();
    assert!(header.contains(from), "{from} in {header}");
    let header = header.replacen(from, to, 1);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), numbers].concat()
}

/// What the network gives for one image, by the definition, in float64.
pub fn expected(network: &Network, image: &[f32]) -> Vec<f64> {
    let shapes = network.shapes().unwrap();
    let tensor = |name: String| match &network.tensors[&name].values {
        Values::F32(values) => values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>(),
        _ => panic!("float32 was expected"),
    };
    let mut all: Vec<Vec<f64>> = vec![image.iter().map(|value| f64::from(*value)).collect()];
    for (i, operation) in network.operations.iter().enumerate() {
        let (x, from, to) = (&all[operation.input], shapes[operation.input], shapes[i + 1]);
        let parts = |name: &str| (tensor(format!("{name}.weight")), tensor(format!("{name}.bias")));
        let mut y = match operation.kind {
            OperationKind::Conv { kernel, stride, depthwise, .. } => {
                let (weight, bias) = parts(&operation.name);
                convolved(x, from, to, &weight, &bias, kernel, stride, depthwise)
            }
            OperationKind::SqueezeExcite => {
                let mean: Vec<f64> =
                    (0..from.c).map(|c| x.iter().skip(c).step_by(from.c).sum::<f64>() / from.pixels() as f64).collect();
                let (weight, bias) = parts(&format!("{}.fc1", operation.name));
                let hidden: Vec<f64> = product(&mean, &weight, &bias).iter().map(|v| v.max(0.)).collect();
                let (weight, bias) = parts(&format!("{}.fc2", operation.name));
                let gates: Vec<f64> =
                    product(&hidden, &weight, &bias).iter().map(|v| (v + 3.).clamp(0., 6.) / 6.).collect();
                x.iter().enumerate().map(|(i, v)| v * gates[i % from.c]).collect()
            }
            OperationKind::Pool => {
                (0..from.c).map(|c| x.iter().skip(c).step_by(from.c).sum::<f64>() / from.pixels() as f64).collect()
            }
            OperationKind::Linear => {
                let (weight, bias) = parts(&operation.name);
                product(x, &weight, &bias)
            }
        };
        y.iter_mut().for_each(|v| *v = activated(&operation.activation, *v));
        if let Some(add) = operation.add {
            y.iter_mut().zip(&all[add]).for_each(|(v, added)| *v += added);
        }
        all.push(y);
    }
    all.pop().unwrap()
}

fn activated(activation: &Activation, x: f64) -> f64 {
    match activation {
        Activation::Identity => x,
        Activation::Relu => x.max(0.),
        Activation::Relu6 => x.clamp(0., 6.),
        Activation::HSwish => x * (x + 3.).clamp(0., 6.) / 6.,
        Activation::HSigmoid => (x + 3.).clamp(0., 6.) / 6.,
        Activation::Pieces { kinks, slopes } => {
            kinks.iter().zip(slopes).map(|(kink, slope)| f64::from(*slope) * (x - f64::from(*kink)).max(0.)).sum()
        }
    }
}

fn product(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, bias)| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + bias).collect()
}

#[allow(clippy::too_many_arguments)]
fn convolved(
    x: &[f64],
    from: Shape,
    to: Shape,
    weight: &[f64],
    bias: &[f64],
    kernel: usize,
    stride: usize,
    depthwise: bool,
) -> Vec<f64> {
    let (padding, inner) = ((kernel - 1) / 2, if depthwise { 1 } else { from.c });
    let mut y = Vec::new();
    for oy in 0..to.h {
        for ox in 0..to.w {
            for o in 0..to.c {
                let mut sum = bias[o];
                for c in 0..inner {
                    for ky in 0..kernel {
                        for kx in 0..kernel {
                            let (iy, ix) =
                                ((oy * stride + ky).wrapping_sub(padding), (ox * stride + kx).wrapping_sub(padding));
                            if iy < from.h && ix < from.w {
                                let channel = if depthwise { o } else { c };
                                sum += weight[((o * inner + c) * kernel + ky) * kernel + kx]
                                    * x[(iy * from.w + ix) * from.c + channel];
                            }
                        }
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}
