//! What 8 bits are made of: equalized channels, held-out images, ranges taken over.

mod support;

use mobilenet_arch::Arch;
use mobilenet_deploy::{Calibration, QuantizeOptions, quantize, requantize};
use mobilenet_runtime::{Activation, Model, Network, OperationKind, Session, Tensor, Values};
use support::{images, random_network};

fn run(network: &Network, images: &[f32]) -> Vec<f32> {
    Session::new(&Model::new(network).unwrap(), 1).unwrap().run(images).unwrap().to_vec()
}

/// The root mean square of a difference in shares of what is expected.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let difference = square(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    (difference / square(&mut expected.iter().copied())).sqrt()
}

/// Makes every other channel of what comes before each depthwise convolution a fiftieth, and its window 50 times as large.
fn uneven(mut network: Network) -> Network {
    let operations = network.operations.clone();
    let mut scale = |name: String, factor: f32| {
        let Some(Tensor { shape, values: Values::F32(values) }) = network.tensors.get_mut(&name) else {
            panic!("{name} in float32")
        };
        let row = values.len() / shape[0];
        values.chunks_mut(row).step_by(2).flatten().for_each(|value| *value *= factor);
    };
    for pair in operations.windows(2) {
        if matches!(pair[1].kind, OperationKind::Conv { depthwise: true, .. }) {
            scale(format!("{}.weight", pair[0].name), 0.02);
            scale(format!("{}.bias", pair[0].name), 0.02);
            scale(format!("{}.weight", pair[1].name), 50.);
        }
    }
    network
}

#[test]
fn equalized_channels_change_no_result_and_keep_more_of_it_in_8_bits() {
    let network = uneven(random_network(Arch::V2, 32));
    let images = images(16, 32);
    let expected = run(&network, &images);
    let made = |equalization| {
        let options = QuantizeOptions { calibration: Some(Calibration::MinMax), equalization, ..Default::default() };
        quantize(&network, &images, options).unwrap()
    };
    let (plain, equalized) = (made(Some(false)), made(Some(true)));
    assert_eq!((plain.equalized, &plain.float), (0, &network));
    assert!(equalized.equalized > 1_000, "{}", equalized.equalized);
    assert!(error(&run(&equalized.float, &images), &expected) < 1e-5);
    let [before, after] = [plain, equalized].map(|quantized| error(&run(&quantized.network, &images), &expected));
    assert!(after < 0.7 * before, "{before} {after}");
    // Held-out images say so too.
    let chosen = made(None);
    assert!(chosen.equalized > 1_000 && chosen.tried.len() == 2, "{:?}", chosen.tried);
    assert!(chosen.network.description.origin.changes[0].ends_with("channels equalized"));
}

#[test]
fn nothing_is_equalized_across_h_swish_or_a_sum() {
    let network = random_network(Arch::V3Large, 32);
    let options = QuantizeOptions { equalization: Some(true), ..Default::default() };
    let found = quantize(&network, &images(8, 32), options).unwrap();
    for operation in &network.operations {
        let keeps = operation.activation == Activation::HSwish || operation.add.is_some();
        let bias = format!("{}.bias", operation.name);
        if keeps && network.tensors.contains_key(&bias) {
            assert_eq!(found.float.tensors[&bias], network.tensors[&bias], "{bias}");
        }
    }
}

#[test]
fn ranges_are_taken_over_and_biases_left_alone() {
    let (network, images) = (random_network(Arch::V3Small, 32), images(8, 32));
    let options = QuantizeOptions { bias_correction: false, ..Default::default() };
    let quantized = quantize(&network, &images, options).unwrap();
    assert_eq!(requantize(&quantized.float, &quantized.network).unwrap(), quantized.network);
    let corrected = quantize(&network, &images, QuantizeOptions::default()).unwrap();
    assert_ne!(requantize(&corrected.float, &corrected.network).unwrap(), corrected.network);
    for (float, like) in [
        (&quantized.network, &quantized.network),
        (&quantized.float, &quantized.float),
        (&random_network(Arch::V2, 32), &quantized.network),
    ] {
        assert!(requantize(float, like).unwrap_err().to_string().starts_with("cannot make this network one in 8 bits"));
    }
}
