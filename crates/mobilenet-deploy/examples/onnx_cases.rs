//! Writes ONNX files, images for them, and what they are to give, for `tests/check_onnx.py`:
//!
//! ```text
//! cargo run --release -p mobilenet-deploy --example onnx_cases -- OUT
//! cargo run --release -p mobilenet-deploy --example onnx_cases -- OUT v2 model.safetensors images.f32
//! ```
//!
//! The first has random weights. The second takes weights of a run on CIFAR-10 and normalized images `[n, 32, 32, 3]`
//! of float32, of which the first 256 give the ranges for 8 bits.

#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::{env, fs};

use mobilenet_arch::{Arch, ModelConfig, Preset};
use mobilenet_deploy::{OnnxProfile, Weights, fold, to_onnx};
use mobilenet_runtime::{Model, Network, Session};
use support::{channels_first, description, images, logits, quantized, random_network, with_pieces};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [out] => random(Path::new(out)),
        [out, arch, weights, images] => trained(Path::new(out), arch.parse()?, weights, images),
        _ => Err("expected OUT, or OUT ARCH WEIGHTS IMAGES".into()),
    }
}

fn random(out: &Path) -> Result<()> {
    for (name, arch) in [("v1", Arch::V1), ("v2", Arch::V2), ("v3-large", Arch::V3Large), ("v3-small", Arch::V3Small)] {
        for size in [32, 224] {
            let network = random_network(arch, size);
            let images = images(2, size);
            float(out, &format!("{name}-{size}"), &network, &images)?;
            in_8_bits(out, &format!("{name}-{size}"), &quantized(&network, &images), &images)?;
        }
    }
    let (network, images) = (with_pieces(random_network(Arch::V3Small, 32)), images(2, 32));
    float(out, "pieces-32", &network, &images)?;
    in_8_bits(out, "pieces-32", &quantized(&network, &images), &images)
}

fn trained(out: &Path, arch: Arch, weights: &str, images: &str) -> Result<()> {
    let config = ModelConfig::new(arch, 10, Preset::Cifar);
    let network = fold(&config, &Weights::open(weights)?, description(arch, 32, 10))?;
    let bytes = fs::read(images)?;
    let images: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    float(out, &format!("{arch}-trained"), &network, &images)?;
    let quantized = quantized(&network, &images[..(256 * 32 * 32 * 3).min(images.len())]);
    in_8_bits(out, &format!("{arch}-trained"), &quantized, &images)
}

fn float(out: &Path, name: &str, network: &Network, images: &[f32]) -> Result<()> {
    let mut session = Session::new(&Model::new(network)?, 1)?;
    let expected = session.run(images)?.to_vec();
    write(out, &format!("{name}.float"), network, OnnxProfile::Cpu, images, &expected)
}

fn in_8_bits(out: &Path, name: &str, network: &Network, images: &[f32]) -> Result<()> {
    let expected = logits(network, images);
    for &profile in OnnxProfile::ALL {
        write(out, &format!("{name}.{profile}"), network, profile, images, &expected)?;
    }
    Ok(())
}

fn write(
    out: &Path,
    name: &str,
    network: &Network,
    profile: OnnxProfile,
    images: &[f32],
    expected: &[f32],
) -> Result<()> {
    let file = |ending: &str| out.join(format!("{name}.{ending}"));
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    fs::create_dir_all(out)?;
    fs::write(file("onnx"), to_onnx(network, profile)?)?;
    fs::write(file("images"), bytes(&channels_first(images, network.description.input.height)))?;
    Ok(fs::write(file("logits"), bytes(expected))?)
}
