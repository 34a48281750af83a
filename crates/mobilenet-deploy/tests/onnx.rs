//! ONNX files: what they consist of, and what another program makes of them.

mod support;

use std::collections::BTreeMap;

use mobilenet_arch::Arch;
use mobilenet_deploy::{Error, OnnxProfile, to_onnx};
use mobilenet_runtime::{Model, Network, Session};
use support::{channels_first, images, quantized, random_network, with_pieces};
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};
use tract_onnx::prelude::*;

fn model(network: &Network, profile: OnnxProfile) -> ModelProto {
    let bytes = to_onnx(network, profile).unwrap();
    tract_onnx::onnx().proto_model_for_read(&mut &bytes[..]).unwrap()
}

fn counts(graph: &GraphProto) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    graph.node.iter().for_each(|node| *counts.entry(&node.op_type[..]).or_default() += 1);
    counts
}

fn node<'a>(graph: &'a GraphProto, name: &str) -> &'a NodeProto {
    graph.node.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name:?}"))
}

/// The logits that tract finds for images `[n, 32, 32, 3]`.
fn tract(network: &Network, profile: OnnxProfile, images: &[f32]) -> Vec<f32> {
    let bytes = to_onnx(network, profile).unwrap();
    let shape = [images.len() / (32 * 32 * 3), 3, 32, 32];
    let model = tract_onnx::onnx()
        .model_for_read(&mut &bytes[..])
        .and_then(|model| model.with_input_fact(0, f32::fact(shape).into()))
        .and_then(|model| model.into_optimized())
        .and_then(|model| model.into_runnable())
        .unwrap();
    let images = Tensor::from_shape(&shape, &channels_first(images, 32)).unwrap();
    let logits = model.run(tvec!(images.into())).unwrap();
    logits[0].view().as_slice::<f32>().unwrap().to_vec()
}

/// Whether numbers differ by at most `tolerance` of the largest.
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance * largest, "{what}: {found}, {expected} of {largest}");
    }
}

#[test]
fn every_operation_has_its_nodes() {
    for (arch, expected) in [
        (
            Arch::V2,
            &[("Add", 10), ("Clip", 35), ("Conv", 52), ("Flatten", 1), ("Gemm", 1), ("GlobalAveragePool", 1)][..],
        ),
        (
            Arch::V3Large,
            &[
                ("Add", 10),
                // Of 15 blocks one has no expansion; 8 blocks have squeeze-and-excite with two convolutions.
                ("Conv", 15 * 3 - 1 + 2 + 8 * 2),
                ("Flatten", 1),
                ("Gemm", 2),
                ("GlobalAveragePool", 9),
                ("HardSigmoid", 8),
                // Stem, last convolution, first linear layer, and two in each of 9 blocks.
                ("HardSwish", 21),
                ("Mul", 8),
                ("Relu", 11 + 8),
            ],
        ),
    ] {
        let model = model(&random_network(arch, 224), OnnxProfile::Cpu);
        assert_eq!((model.ir_version, model.opset_import[0].version), (8, 17));
        let graph = model.graph.unwrap();
        assert_eq!(counts(&graph), expected.iter().copied().collect(), "{arch}");
        assert_eq!((&graph.input[0].name[..], &graph.output[0].name[..]), ("images", "logits"));
        let stem = node(&graph, "features.0.0");
        assert_eq!(stem.input, ["images", "features.0.0.weight", "features.0.0.bias"]);
        let ints: BTreeMap<&str, &[i64]> = stem.attribute.iter().map(|a| (&a.name[..], &a.ints[..])).collect();
        assert_eq!((ints["strides"], ints["pads"]), (&[2, 2][..], &[1, 1, 1, 1][..]));
        let weight = graph.initializer.iter().find(|tensor| tensor.name == "features.0.0.weight").unwrap();
        assert_eq!(weight.dims[1..], [3, 3, 3]);
    }
}

#[test]
fn metadata_say_how_images_are_made() {
    let model = model(&random_network(Arch::V3Small, 32), OnnxProfile::Cpu);
    let properties: BTreeMap<&str, &str> =
        model.metadata_props.iter().map(|entry| (&entry.key[..], &entry.value[..])).collect();
    let classes: Vec<String> = serde_json::from_str(properties["classes"]).unwrap();
    assert_eq!((classes.len(), &classes[3][..]), (10, "class \"3\""));
    for (key, value) in [
        ("architecture", "v3-small"),
        ("crop", "1"),
        ("input_size", "[32, 32]"),
        ("mean", "[0.485, 0.5, 0.4]"),
        ("std", "[0.25, 0.25, 0.25]"),
        ("test_top1", "0.5"),
        ("width", "1"),
    ] {
        assert_eq!(properties[key], value);
    }
    assert!(!properties.contains_key("data"));
    assert_eq!(model.producer_name, "mobilenet-deploy");
}

#[test]
fn another_program_finds_the_same_logits() {
    for (name, network) in [
        ("v2", random_network(Arch::V2, 32)),
        ("v3-small", random_network(Arch::V3Small, 32)),
        ("v3-small with pieces", with_pieces(random_network(Arch::V3Small, 32))),
    ] {
        let images = images(2, 32);
        let mut session = Session::new(&Model::new(&network).unwrap(), 1).unwrap();
        let expected = session.run(&images).unwrap();
        assert_close(&tract(&network, OnnxProfile::Cpu, &images), expected, 1e-4, name);
    }
}

#[test]
fn another_program_finds_similar_logits_in_8_bits() {
    for arch in [Arch::V1, Arch::V3Small] {
        let images = images(2, 32);
        let network = quantized(&random_network(arch, 32), &images);
        let expected = support::logits(&network, &images);
        for &profile in OnnxProfile::ALL {
            // Each layer rounds, and a value near the middle of two steps may fall to either side.
            assert_close(&tract(&network, profile, &images), &expected, 0.1, &format!("{arch} for {profile}"));
        }
    }
}

#[test]
fn the_plain_reference_is_the_runtime() {
    for arch in [Arch::V1, Arch::V3Small] {
        let (network, images) = (random_network(arch, 32), images(2, 32));
        let expected = support::logits(&network, &images);
        let mut session = Session::new(&Model::new(&network).unwrap(), 1).unwrap();
        assert_close(session.run(&images).unwrap(), &expected, 1e-4, &arch.to_string());
    }
}

#[test]
fn each_profile_quantizes_what_its_program_takes() {
    const INT8: i32 = 3;
    const INT32: i32 = 6;
    const UINT8: i32 = 2;
    let network = quantized(&random_network(Arch::V2, 32), &images(1, 32));
    for (profile, weight, zero_point, bias) in [
        (OnnxProfile::Cpu, INT8, UINT8, INT32),
        (OnnxProfile::CpuUnsigned, UINT8, UINT8, INT32),
        (OnnxProfile::Trt, INT8, INT8, 1),
    ] {
        let graph = model(&network, profile).graph.unwrap();
        let constants: BTreeMap<&str, _> = graph.initializer.iter().map(|tensor| (&tensor.name[..], tensor)).collect();
        let of_type = |name: &str| constants[name].data_type;
        assert_eq!(of_type("features.0.0.weight"), weight);
        assert_eq!(of_type("features.0.0.weight_zero_point"), weight);
        assert_eq!(of_type("features.0.0.bias"), bias);
        assert_eq!(constants["features.0.0.weight_scale"].dims, [32]);
        for quantize in graph.node.iter().filter(|node| node.op_type == "QuantizeLinear") {
            assert_eq!(of_type(&quantize.input[2]), zero_point, "{profile}");
            assert!(profile != OnnxProfile::Trt || constants[&quantize.input[2][..]].raw_data == [0]);
        }
        let weight = node(&graph, "features.0.0.weight.dequantized");
        assert_eq!(weight.attribute[0].i, 0);
        let counts = counts(&graph);
        let (clips, kept) = match profile {
            // Keeping a value from 0 to 6 clips it. The image, 53 results but the last, 10 results before a sum, and
            // the means again after they were made a vector.
            OnnxProfile::Cpu | OnnxProfile::CpuUnsigned => (0, 1 + 52 + 10 + 1 + 1),
            // What 53 layers take.
            OnnxProfile::Trt => (35, 53),
        };
        assert_eq!(counts.get("Clip").copied().unwrap_or(0), clips, "{profile}");
        assert_eq!(counts["QuantizeLinear"], kept, "{profile}");
    }
}

#[test]
fn a_name_that_is_taken_is_refused() {
    for name in ["images", "logits", "features.0.0.weight"] {
        let mut network = random_network(Arch::V3Small, 32);
        // A pool has no parameters whose names would have to follow.
        let pool = network.operations.iter_mut().find(|op| op.name == "avgpool").unwrap();
        pool.name = name.to_owned();
        let error = to_onnx(&network, OnnxProfile::Cpu).unwrap_err();
        assert!(matches!(&error, Error::OnnxName { name: found } if found == name), "{error}");
    }
}

#[test]
fn a_network_whose_parts_do_not_fit_is_refused() {
    let mut network = random_network(Arch::V3Small, 32);
    network.tensors.remove("features.0.0.bias");
    assert!(matches!(to_onnx(&network, OnnxProfile::Trt), Err(Error::Runtime(_))));
}

#[test]
fn profiles_have_names() {
    assert_eq!("trt".parse(), Ok(OnnxProfile::Trt));
    assert_eq!("cpu-unsigned".parse(), Ok(OnnxProfile::CpuUnsigned));
    assert_eq!(OnnxProfile::Cpu.to_string(), "cpu");
    let error = "gpu".parse::<OnnxProfile>().unwrap_err();
    assert_eq!(error.to_string(), "unknown ONNX profile \"gpu\", expected cpu, cpu-unsigned or trt");
}
