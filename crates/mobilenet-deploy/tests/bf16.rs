//! Weights rounded to bf16: half a file, the same answers as float32 of the same numbers, and what is refused.

mod support;

use mobilenet_arch::Arch;
use mobilenet_deploy::{Error, OnnxProfile, QuantizeOptions, quantize, to_bf16, to_onnx};
use mobilenet_runtime::{Model, Network, Precision, Session, Tensor, Values};
use support::{images, random_network};

fn run(network: &Network, images: &[f32]) -> Vec<f32> {
    Session::new(&Model::new(network).unwrap(), 1).unwrap().run(images).unwrap().to_vec()
}

/// The same numbers in float32, of whose bits they are the upper half.
fn in_float32(mut network: Network) -> Network {
    for tensor in network.tensors.values_mut() {
        if let Values::Bf16(values) = &tensor.values {
            let values = values.iter().map(|bits| f32::from_bits(u32::from(*bits) << 16));
            *tensor = Tensor::f32(tensor.shape.clone(), values.collect());
        }
    }
    network
}

fn floats(tensor: &Tensor) -> &[f32] {
    match &tensor.values {
        Values::F32(values) => values,
        _ => panic!("float32 was expected"),
    }
}

#[test]
fn a_file_has_half_the_size_and_answers_as_its_numbers_do() {
    let images = images(3, 32);
    for arch in [Arch::V1, Arch::V2, Arch::V3Large, Arch::V3Small] {
        let float = random_network(arch, 32);
        let bf16 = to_bf16(&float).unwrap();
        assert_eq!(bf16.precision(), Precision::Bf16);
        assert_eq!(bf16.description.origin.changes, ["rounded to bf16"]);
        let [bytes, of_float] = [&bf16, &float].map(|network| network.to_bytes().unwrap().len());
        assert!(bytes as f64 <= 0.52 * of_float as f64, "{arch}: {bytes} of {of_float} bytes");
        let rounded = in_float32(bf16.clone());
        for (name, tensor) in &float.tensors {
            let is_weight = name.ends_with(".weight");
            assert_eq!(matches!(bf16.tensors[name].values, Values::Bf16(_)), is_weight, "{arch}: {name}");
            if !is_weight {
                assert_eq!(&bf16.tensors[name], tensor, "{arch}: {name}");
                continue;
            }
            for (found, x) in floats(&rounded.tensors[name]).iter().zip(floats(tensor)) {
                assert!((found - x).abs() <= x.abs() / 256., "{arch}: {name}: {found} {x}");
            }
        }
        let found = run(&bf16, &images);
        assert_eq!(found, run(&rounded, &images), "{arch}");
        assert_ne!(found, run(&float, &images), "{arch}");
    }
}

#[test]
fn what_cannot_be_rounded_or_goes_no_further_is_refused() {
    let float = random_network(Arch::V3Small, 32);
    let bf16 = to_bf16(&float).unwrap();
    let quantized = quantize(&float, &images(4, 32), QuantizeOptions::default()).unwrap().network;
    for (network, found) in [(&bf16, "bf16"), (&quantized, "int8")] {
        let expected = format!("expected a float32 network, found one in {found}");
        assert!(to_bf16(network).unwrap_err().to_string().ends_with(&expected));
        let error = quantize(network, &images(4, 32), QuantizeOptions::default()).unwrap_err();
        assert!(error.to_string().ends_with(&expected), "{error}");
    }
    let error = to_onnx(&bf16, OnnxProfile::Cpu).unwrap_err();
    assert_eq!(error.to_string(), "ONNX graph: expected weights in float32 or 8 bits, found bf16");
    let mut large = float;
    let Some(Tensor { values: Values::F32(values), .. }) = large.tensors.get_mut("classifier.3.weight") else {
        panic!("a weight in float32")
    };
    values[7] = f32::MAX;
    let error = to_bf16(&large).unwrap_err();
    assert!(matches!(error, Error::Bf16(_)));
    assert!(
        error.to_string().ends_with("tensor \"classifier.3.weight\": expected finite numbers, found inf"),
        "{error}"
    );
}
