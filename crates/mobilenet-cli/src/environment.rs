//! The environment of a measurement, with what the build script recorded.

use candle_core::Device;
use mobilenet_bench::{BuildInfo, Environment, environment};

/// Machine, system, build, and the GPU if the device is one.
pub fn collect_on(device: &Device) -> Environment {
    Environment { gpu: gpu_name(device), ..collect() }
}

#[cfg(feature = "cuda")]
fn gpu_name(device: &Device) -> Option<String> {
    let Device::Cuda(cuda) = device else { return None };
    cuda.cuda_stream().context().name().ok()
}

#[cfg(not(feature = "cuda"))]
fn gpu_name(_: &Device) -> Option<String> {
    None
}

/// Machine, system and build.
pub fn collect() -> Environment {
    let features = [
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("metal", cfg!(feature = "metal")),
        ("accelerate", cfg!(feature = "accelerate")),
        ("mkl", cfg!(feature = "mkl")),
    ];
    environment(BuildInfo {
        commit: option_env!("MOBILENET_COMMIT").map(str::to_owned),
        rustc: option_env!("MOBILENET_RUSTC").map(str::to_owned),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        candle: option_env!("MOBILENET_CANDLE").map(str::to_owned),
        features: features.iter().filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect(),
    })
}
