//! What a file holds, and what is said of one that is damaged.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::{in_bf16, network, values};
use mobilenet_runtime::{Model, Network, Session, Tensor};

#[test]
fn what_is_written_is_read() {
    let network = network(16, 16);
    let bytes = network.to_bytes().unwrap();
    assert_eq!(Network::from_bytes(&bytes).unwrap(), network);
    assert!(network.to_bytes().unwrap() == bytes, "the same bytes each time");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    network.save(&path).unwrap();
    assert_eq!(Network::open(&path).unwrap(), network);
    let image = values(16 * 16 * 3, 1);
    let logits = |model: Model| Session::new(&model, 1).unwrap().run(&image).unwrap().to_vec();
    let expected = logits(Model::new(&network).unwrap());
    assert_eq!(logits(Model::open(&path).unwrap()), expected);
    assert_eq!(logits(Model::from_bytes(&bytes).unwrap()), expected);
}

/// The file's bytes with a text of its header replaced by one of the same length.
fn with(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect(from);
    let mut bytes = bytes.to_vec();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    bytes
}

#[test]
fn damaged_files_are_refused_in_a_line() {
    let bytes = network(16, 16).to_bytes().unwrap();
    for (from, to, expected) in [
        (r#"{\"version\":1"#, r#"{\"version\":9"#, "expected format version 1, found 9"),
        (r#""mobilenet-runtime""#, r#""mobilenet-unknown""#, "its metadata have no \"mobilenet-runtime\""),
        (r#"\"description\""#, r#"\"descrlption\""#, "missing field `description`"),
        (r#""stem.bias""#, r#""stem.baas""#, "tensors: expected one named \"stem.bias\", found none"),
        (r#"\"input\":7"#, r#"\"input\":9"#, "expected a value before it, 0 to 7, found 9"),
        (r#"\"add\":3"#, r#"\"add\":2"#, "add of \"second.project\""),
        (r#"\"kernel\":5"#, r#"\"kernel\":4"#, "kernel of \"second.depthwise\": expected an odd number, found 4"),
        (
            r#"\"kernel\":5"#,
            r#"\"kernel\":3"#,
            "tensor \"second.depthwise.weight\": expected shape [channels, 1, 3, 3]",
        ),
        (r#"\"stride\":2"#, r#"\"stride\":0"#, "stride of \"stem\": expected 1 to 64, found 0"),
        (r#"\"relu6\""#, r#"\"relu7\""#, "unknown variant `relu7`"),
        (r#"\"height\":16"#, r#"\"height\":00"#, "not a network for this runtime: "),
        (r#"\"crop\":1.0"#, r#"\"crop\":1.5"#, "input crop: expected a number above 0, at most 1, found 1.5"),
        (r#"class 6"#, r#"class 6"#, ""),
    ] {
        match Network::from_bytes(&with(&bytes, from, to)) {
            Ok(_) => assert_eq!(expected, "", "{from} as {to}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected.is_empty() && error.contains(expected) && !error.contains('\n'), "{to}: {error}");
            }
        }
    }
    for cut in [0, 4, 8, 100, bytes.len() - 1] {
        let error = Network::from_bytes(&bytes[..cut]).unwrap_err().to_string();
        assert!(error.starts_with("not a safetensors file: "), "{error}");
        assert!(Model::from_bytes(&bytes[..cut]).is_err());
    }
    let mut infinite = bytes.clone();
    let end = infinite.len();
    infinite[end - 4..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    for error in [Network::from_bytes(&infinite).unwrap_err(), Model::from_bytes(&infinite).unwrap_err()] {
        assert!(error.to_string().ends_with("expected finite numbers, found inf"), "{error}");
    }
}

#[test]
fn other_files_are_refused_with_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let error = Model::open(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot read {}: ", path.display())), "{error}");
    std::fs::write(&path, "{}").unwrap();
    let error = Model::open(&path).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: not a safetensors file: ", path.display())), "{error}");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let check = |change: &dyn Fn(&mut Network), expected: &str| {
        let mut network = network(16, 16);
        change(&mut network);
        let error = network.shapes().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(network.to_bytes().is_err() && Model::new(&network).is_err());
    };
    check(&|n| n.operations.clear(), "number of operations: expected 1 to 10000, found 0");
    check(&|n| n.operations[1].name = "stem".into(), "\"stem\" twice");
    check(&|n| drop(n.description.classes.pop()), "classes: expected as many as the network's 7 results, found 6");
    check(&|n| n.description.input.std[1] = 0., "input std: expected finite numbers above 0");
    check(&|n| n.description.input.mean[0] = f32::NAN, "input mean: expected finite numbers");
    check(&|n| drop(n.tensors.insert("more".into(), Tensor::f32([1], vec![0.]))), "found \"more\"");
    check(&|n| drop(n.tensors.insert("last.bias".into(), Tensor::f32([44], vec![f32::NAN; 44]))), "finite numbers");
    check(&|n| drop(n.tensors.insert("last.bias".into(), Tensor::f32([44], vec![0.; 4]))), "numbers for shape [44]");
    check(&|n| n.operations[9].input = 8, "input of \"classifier\": expected a vector");
}

#[test]
fn no_mutation_of_a_file_panics() {
    for network in [network(8, 8), in_bf16(network(8, 8))] {
        let bytes = network.to_bytes().unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
        let mut state = 1u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut read = 0;
        for _ in 0..3000 {
            let mut bytes = bytes.clone();
            for _ in 0..=random(3) {
                let at = random(header);
                bytes[at] = match random(3) {
                    0 => b'0' + random(10) as u8,
                    1 => random(256) as u8,
                    _ => bytes[random(header)],
                };
            }
            let model = Model::from_bytes(&bytes);
            match Network::from_bytes(&bytes) {
                Ok(network) => {
                    read += 1;
                    assert_eq!(Model::new(&network).is_ok(), model.is_ok(), "read at once and part by part");
                }
                Err(_) => assert!(model.is_err(), "read part by part alone"),
            }
        }
        assert!(read > 10, "{read}: almost nothing was worth reading");
    }
}
