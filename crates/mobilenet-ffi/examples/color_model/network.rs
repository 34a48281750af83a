//! A network whose answers are known: it tells the color of a picture.

use mobilenet_runtime::{Activation, Description, Input, Network, Operation, OperationKind, Origin, Tensor};

/// Takes a picture's mean color. Its classes are red, green, blue, light, dark and gray.
pub fn network() -> Network {
    let names = ["red", "green", "blue", "light", "dark", "gray"];
    #[rustfmt::skip]
    let weight = vec![
         16.,  -8.,  -8., // of red, green and blue, which are 0 to 1
         -8.,  16.,  -8.,
         -8.,  -8.,  16.,
          4.,   4.,   4.,
         -4.,  -4.,  -4.,
          0.,   0.,   0.,
    ];
    let bias = vec![0., 0., 0., -6., 6., 2.];
    let mut center = vec![0.; 3 * 3 * 9];
    (0..3).for_each(|c| center[(c * 3 + c) * 9 + 4] = 1.);
    let operation = |name: &str, kind, input| Operation {
        name: name.to_owned(),
        kind,
        input,
        add: None,
        activation: Activation::Identity,
        quantization: None,
    };
    let input = Input { height: 32, width: 32, crop: 1., mean: [0.; 3], std: [1.; 3], quantization: None };
    Network {
        operations: vec![
            operation("stem", OperationKind::Conv { kernel: 3, stride: 2, dilation: 1, depthwise: false }, 0),
            operation("pool", OperationKind::Pool, 1),
            operation("classifier", OperationKind::Linear, 2),
        ],
        tensors: [
            ("stem.weight", Tensor::f32([3, 3, 3, 3], center)),
            ("stem.bias", Tensor::f32([3], vec![0.; 3])),
            ("classifier.weight", Tensor::f32([6, 3], weight)),
            ("classifier.bias", Tensor::f32([6], bias)),
        ]
        .map(|(name, tensor)| (name.to_owned(), tensor))
        .into(),
        description: Description { input, classes: names.map(str::to_owned).into(), origin: Origin::default() },
    }
}
