//! `--device cuda`: the workspace's own kernels where they cover what is asked for, else the layers in Candle's operations.

use anyhow::{Result, ensure};
use candle_core::Device;
use mobilenet_cuda::plan;
use mobilenet_kernels::Level;
use mobilenet_layers::Precision;
use mobilenet_models::ModelConfig;
use mobilenet_schema::RunConfig;
use mobilenet_train::DeviceTraining;

use crate::output::note;

/// A GPU that runs the kernels.
#[cfg(feature = "cuda")]
pub type Gpu = mobilenet_cuda::cuda::Cuda;
/// What is never made in a build without CUDA.
#[cfg(not(feature = "cuda"))]
pub type Gpu = mobilenet_cuda::plan::Plan;

/// The GPU for a training, if the device is one and the kernels cover the run. `teacher` is the network that teaches.
pub fn for_training(device: &Device, config: &RunConfig, teacher: Option<&ModelConfig>) -> Result<Option<Gpu>> {
    match device.is_cuda().then(|| training_problem(config, teacher)) {
        None => Ok(None),
        Some(Some(problem)) => fall_back(&problem),
        Some(None) => gpu(device),
    }
}

/// The GPU for the evaluation of a network in batches of images of a size, if the device is one and the kernels cover it.
pub fn for_evaluation(
    device: &Device,
    config: &ModelConfig,
    batch: usize,
    size: (usize, usize),
) -> Result<Option<Gpu>> {
    match device.is_cuda().then(|| mobilenet_train::DeviceInference::<Gpu>::problem(config, batch, size)) {
        None => Ok(None),
        Some(Some(problem)) => fall_back(&problem),
        Some(None) => gpu(device),
    }
}

/// The GPU for `mobilenet bench`: for steps, or for inference.
pub fn for_bench(
    device: &Device,
    config: &ModelConfig,
    batch: usize,
    precision: Precision,
    train: bool,
) -> Result<Option<Gpu>> {
    let planned = || match train {
        true => plan::training(config, batch, precision, false),
        false => plan::inference(config, batch, precision),
    };
    match device.is_cuda().then(planned) {
        None => Ok(None),
        Some(Err(problem)) => fall_back(&problem.to_string()),
        Some(Ok(_)) => gpu(device),
    }
}

/// Fails where TF32 is asked for and the kernels do not compute: nothing else rounds to it.
pub fn check_tf32(precision: Precision, gpu: Option<&Gpu>, device: &Device) -> Result<()> {
    let found = if device.is_cuda() { "Candle's operations" } else { "--device cpu" };
    ensure!(
        precision != Precision::Tf32 || gpu.is_some(),
        "--precision tf32: expected --device cuda and what its kernels cover, found {found}"
    );
    Ok(())
}

/// Says where bf16 is asked for on a processor that does not multiply it: what is gained by smaller values is lost by
/// taking them apart.
pub fn note_bf16(precision: Precision, device: &Device) {
    let level = Level::best();
    let multiplies = "avx512bf16".parse() == Ok(level);
    if precision == Precision::Bf16 && device.is_cpu() && !multiplies {
        note(&format!("bf16: this processor does not multiply it ({level}); float32 trains faster here"));
    }
}

/// Why the kernels cannot do a training.
fn training_problem(config: &RunConfig, teacher: Option<&ModelConfig>) -> Option<String> {
    if config.freeze_features {
        return Some("a network of which only the classifier is trained".into());
    }
    let [height, width] = config.data.image;
    let train = &config.train;
    DeviceTraining::problem(&config.model, train.precision, &train.config, teacher, (height, width))
}

fn fall_back(problem: &str) -> Result<Option<Gpu>> {
    note(&format!("no CUDA kernels for this: {problem}; Candle's operations do it, many times slower"));
    Ok(None)
}

/// The kernels on the device's stream; what is compiled is kept in the user's cache folder.
#[cfg(feature = "cuda")]
fn gpu(device: &Device) -> Result<Option<Gpu>> {
    use anyhow::Context;

    let Device::Cuda(cuda) = device else { return Ok(None) };
    let cache = mobilenet_data::default_cache().map(|cache| cache.join("cuda"));
    match Gpu::new(cuda.cuda_stream(), cache) {
        Err(error @ mobilenet_cuda::Error::Capability { .. }) => fall_back(&error.to_string()),
        made => Ok(Some(made.context("--device cuda")?)),
    }
}

#[cfg(not(feature = "cuda"))]
fn gpu(_: &Device) -> Result<Option<Gpu>> {
    Ok(None)
}
