//! Weights in bf16: how they are rounded, that they come back, and that they answer as the same numbers in float32 do.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::{in_bf16, in_float32, network, replaced, values};
use mobilenet_runtime::{Level, Model, Network, Precision, Session, Tensor, Values};

#[test]
fn numbers_are_rounded_as_another_program_does() {
    // Every bf16 and what is between it and the next: ties, what is a bit off them, and the ends.
    let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
    let floats: Vec<f32> = (0..=0xffffu32)
        .flat_map(|upper| lower.map(|lower| f32::from_bits(upper << 16 | lower)))
        .chain(values(10_000, 1))
        .collect();
    let Values::Bf16(found) = Tensor::bf16([floats.len()], &floats).values else { panic!("bf16 was expected") };
    for (x, found) in floats.iter().zip(found) {
        assert_eq!(found, half::bf16::from_f32(*x).to_bits(), "{x:e}, {:x}", x.to_bits());
    }
}

#[test]
fn what_is_written_is_read() {
    let float = network(16, 16);
    let network = in_bf16(float.clone());
    assert_eq!((float.precision(), network.precision()), (Precision::Float32, Precision::Bf16));
    let bytes = network.to_bytes().unwrap();
    assert_eq!(Network::from_bytes(&bytes).unwrap(), network);
    assert!(Network::from_bytes(&bytes).unwrap().to_bytes().unwrap() == bytes, "the same bytes each time");
    let model = Model::from_bytes(&bytes).unwrap();
    assert_eq!(model.precision(), Precision::Bf16);
    // What is packed is float32, whatever it was.
    let weight_bytes = Model::from_bytes(&float.to_bytes().unwrap()).unwrap().weight_bytes();
    assert_eq!(model.weight_bytes(), weight_bytes);
}

#[test]
fn it_answers_as_float32_of_the_same_numbers() {
    let (h, w) = (13, 10);
    let bf16 = in_bf16(network(h, w));
    let float = in_float32(bf16.clone());
    assert_eq!(float.precision(), Precision::Float32);
    assert_ne!(float, network(h, w), "some weight was rounded");
    let images = values(5 * h * w * 3, 3);
    let logits = |model: Model, threads| Session::new(&model, threads).unwrap().run(&images).unwrap().to_vec();
    for level in Level::available() {
        let [found, expected] = [&bf16, &float].map(|network| logits(Model::at(network, level).unwrap(), 2));
        assert_eq!(found, expected, "{level}");
    }
    let folder = tempfile::tempdir().unwrap();
    let paths = ["bf16.safetensors", "float32.safetensors"].map(|name| folder.path().join(name));
    bf16.save(&paths[0]).unwrap();
    float.save(&paths[1]).unwrap();
    let expected = logits(Model::open(&paths[1]).unwrap(), 1);
    for threads in [1, 2, 3] {
        assert_eq!(logits(Model::open(&paths[0]).unwrap(), threads), expected, "{threads} threads");
    }
    assert_eq!(logits(Model::from_bytes(&std::fs::read(&paths[0]).unwrap()).unwrap(), 1), expected);
}

#[test]
fn files_that_say_another_precision_are_refused() {
    let (float, bf16) = (network(16, 16).to_bytes().unwrap(), in_bf16(network(16, 16)).to_bytes().unwrap());
    // Older files do not say it.
    let unsaid = replaced(&float, r#"\"precision\":\"float32\","#, "");
    assert_eq!(Network::from_bytes(&unsaid).unwrap(), network(16, 16));
    assert_eq!(Model::from_bytes(&unsaid).unwrap().precision(), Precision::Float32);
    let (is_bf16, is_float32) = (r#"\"precision\":\"bf16\","#, r#"\"precision\":\"float32\","#);
    let quantized = r#"\"std\":[0.2,0.25,0.3],\"quantization\":{\"scale\":0.1,\"zero_point\":3}"#;
    for (bytes, from, to, expected) in [
        (&float, is_float32, is_bf16, "tensor \"stem.weight\": expected bf16, the network's precision, found float32"),
        (&bf16, is_bf16, is_float32, "tensor \"stem.weight\": expected float32, the network's precision, found bf16"),
        (&bf16, is_bf16, "", "tensor \"stem.weight\": expected float32, the network's precision, found bf16"),
        (&bf16, "bf16", "fp16", "unknown variant `fp16`, expected one of `float32`, `bf16`, `int8`"),
        (&bf16, "bf16", "int8", "precision: expected float32 or bf16, since the image is float32, found int8"),
        (
            &bf16,
            r#"\"std\":[0.2,0.25,0.3]"#,
            quantized,
            "precision: expected int8, since the image has 8 bits, found bf16",
        ),
        (
            &replaced(&bf16, "bf16", "int8"),
            r#"\"std\":[0.2,0.25,0.3]"#,
            quantized,
            "tensor \"stem.weight\": expected int8, the network's precision, found bf16",
        ),
        (&bf16, "\"BF16\"", "\"F16\"", "expected F32, BF16 or I8, found F16"),
        (&bf16, "\"BF16\"", "\"F32\"", "not a safetensors file: "),
    ] {
        let bytes = replaced(bytes, from, to);
        for error in [Network::from_bytes(&bytes).unwrap_err(), Model::from_bytes(&bytes).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{error}: {expected}");
        }
    }
}

#[test]
fn networks_that_mix_precisions_are_refused() {
    let check = |change: &dyn Fn(&mut Network), expected: &str| {
        let mut network = in_bf16(network(16, 16));
        change(&mut network);
        let error = network.shapes().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(network.to_bytes().is_err() && Model::new(&network).is_err());
    };
    let put = |name: &'static str, tensor: Tensor| {
        move |network: &mut Network| drop(network.tensors.insert(name.to_owned(), tensor.clone()))
    };
    let weight = Tensor::f32([7, 44], vec![0.; 7 * 44]);
    check(&put("classifier.weight", weight), "expected bf16, the network's precision, found float32");
    let weight = Tensor { shape: vec![7, 44], values: Values::I8(vec![0; 7 * 44]) };
    check(&put("classifier.weight", weight), "expected bf16, the network's precision, found 8 bits");
    check(&put("last.bias", Tensor::bf16([44], &[0.; 44])), "tensor \"last.bias\": expected float32, found bf16");
    check(&put("last.weight", Tensor::bf16([44, 12, 1, 1], &[0.; 4])), "numbers for shape [44, 12, 1, 1], found 4");
    let mut float = network(16, 16);
    float.tensors.insert("last.bias".to_owned(), Tensor::bf16([44], &[0.; 44]));
    let error = float.shapes().unwrap_err().to_string();
    assert_eq!(error, "tensor \"last.bias\": expected float32, found bf16");
    for x in [f32::INFINITY, f32::NAN, f32::MAX] {
        check(&put("last.weight", Tensor::bf16([44, 12, 1, 1], &[x; 44 * 12])), "expected finite numbers, found");
    }
    // In a file they are found when the weights are read.
    let mut bytes = in_bf16(network(16, 16)).to_bytes().unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&half::bf16::NEG_INFINITY.to_le_bytes());
    for error in [Network::from_bytes(&bytes).unwrap_err(), Model::from_bytes(&bytes).unwrap_err()] {
        assert!(error.to_string().ends_with("expected finite numbers, found -inf"), "{error}");
    }
}
