//! The environment of a measurement, with what the build script recorded.

use mobilenet_bench::{BuildInfo, Environment, environment};

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
