//! A network whose answers are known: it tells the color of a picture.

use mobilenet_runtime::{
    Activation, Description, Input, Network, Operation, OperationKind, Origin, Precision, Quantization, Tensor, Values,
};

/// What a byte of the 8-bit network stands for: 255 for 1.
const BYTE: Quantization = Quantization { scale: 1. / 255., zero_point: 0 };

/// Takes a picture's mean color. Its classes are red, green, blue, light, dark and gray.
pub fn network(precision: Precision) -> Network {
    let in_bytes = precision == Precision::Int8;
    let names = ["red", "green", "blue", "light", "dark", "gray"];
    #[rustfmt::skip]
    let colors: [i8; 24] = [
        16, -8, -8, 0, // of red, green and blue, which are 0 to 1, and a channel that is 0
        -8, 16, -8, 0,
        -8, -8, 16, 0,
         4,  4,  4, 0,
        -4, -4, -4, 0,
         0,  0,  0, 0,
    ];
    let bias = vec![0., 0., 0., -6., 6., 2.];
    let mut center = [0; 4 * 3 * 9];
    (0..3).for_each(|c| center[(c * 3 + c) * 9 + 4] = 1);

    let kept = in_bytes.then_some(BYTE);
    let operation = |name: &str, kind, input, quantization| Operation {
        name: name.to_owned(),
        kind,
        input,
        add: None,
        activation: Activation::Identity,
        quantization,
    };
    let weight = |shape: &[usize], weight: &[i8]| {
        let floats: Vec<f32> = weight.iter().map(|value| f32::from(*value)).collect();
        match precision {
            Precision::Float32 => Tensor::f32(shape, floats),
            Precision::Bf16 => Tensor::bf16(shape, &floats),
            Precision::Int8 => Tensor { shape: shape.to_vec(), values: Values::I8(weight.to_vec()) },
        }
    };
    let mut tensors = vec![
        ("stem.weight", weight(&[4, 3, 3, 3], &center)),
        ("stem.bias", Tensor::f32([4], vec![0.; 4])),
        ("classifier.weight", weight(&[6, 4], &colors)),
        ("classifier.bias", Tensor::f32([6], bias)),
    ];
    if in_bytes {
        tensors.push(("stem.weight_scale", Tensor::f32([4], vec![1.; 4])));
        tensors.push(("classifier.weight_scale", Tensor::f32([6], vec![1.; 6])));
    }
    let input = Input { height: 32, width: 32, crop: 1., mean: [0.; 3], std: [1.; 3], quantization: kept };
    let convolution = OperationKind::Conv { kernel: 3, stride: 2, dilation: 1, depthwise: false };
    Network {
        operations: vec![
            operation("stem", convolution, 0, kept),
            operation("pool", OperationKind::Pool, 1, kept),
            operation("classifier", OperationKind::Linear, 2, None),
        ],
        tensors: tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect(),
        description: Description { input, classes: names.map(str::to_owned).into(), origin: Origin::default() },
    }
}
