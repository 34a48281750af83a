//! `mobilenet bench --device cuda`: steps and inferences by the CUDA kernels.

use anyhow::Result;
use candle_core::{DType, Device};
use candle_nn::VarMap;
use mobilenet_bench::{Protocol, Timing, input, peak_rss_bytes, time_steps};
use mobilenet_cuda::backend::{Backend, Repeated};
use mobilenet_cuda::{Inference, Step, Variables};
use mobilenet_layers::{Precision, seeded_var_builder};
use mobilenet_models::{MobileNet, ModelConfig};
use mobilenet_schema::Throughput;

/// Full training steps: forward, loss, backward, AdamW. Each is waited for, by reading its loss.
pub fn training<B: Backend>(
    backend: &mut B,
    config: &ModelConfig,
    batch: usize,
    precision: Precision,
    protocol: Protocol,
) -> Result<Timing> {
    let mut step = Step::new(backend, config, batch, precision)?;
    initialize(backend, config, step.network.variables())?;
    backend.write_f32(step.network.images(), &images(batch, config)?)?;
    let labels: Vec<u32> = (0..batch).map(|i| (i % config.num_classes) as u32).collect();
    step.loss.upload(backend, &labels, None)?;
    let name = Repeated::new();
    let timed = || {
        step.prepare(backend, 1e-3)?;
        backend.repeat(&name, &mut |backend| step.run(backend))?;
        let found = step.loss.take(backend)?;
        Ok(found.last().ok_or("a step without a result")?.loss)
    };
    Ok(time_steps(protocol, batch, timed)?)
}

/// Inferences of images that are on the device, each waited for, by reading its logits.
pub fn inference<B: Backend>(
    backend: &mut B,
    config: &ModelConfig,
    batch: usize,
    precision: Precision,
    protocol: Protocol,
) -> Result<Timing> {
    let size = config.preset.image_size();
    let network = Inference::new(backend, config, (batch, (size, size)), precision)?;
    initialize(backend, config, network.variables())?;
    network.prepare(backend)?;
    backend.write_f32(network.images(), &images(batch, config)?)?;
    let name = Repeated::new();
    let infer = || {
        backend.repeat(&name, &mut |backend| network.run(backend))?;
        let logits = backend.read_f32(network.logits())?;
        Ok(*logits.last().ok_or("no logits")?)
    };
    Ok(time_steps(protocol, batch, infer)?)
}

/// The same for several sizes of batches.
pub fn throughput<B: Backend>(
    backend: &mut B,
    config: &ModelConfig,
    batches: &[usize],
    precision: Precision,
    protocol: Protocol,
) -> Result<Vec<Throughput>> {
    let at = |&batch: &usize| {
        let timing = inference(backend, config, batch, precision, protocol)?;
        Ok(Throughput { batch, images_per_second: timing.images_per_second, peak_rss_bytes: peak_rss_bytes() })
    };
    batches.iter().map(at).collect()
}

/// `n` made-up pictures of the preset's size, `[n, size, size, 3]`.
fn images(n: usize, config: &ModelConfig) -> Result<Vec<f32>> {
    let size = config.preset.image_size();
    Ok(input(n, (3, size, size), &Device::Cpu)?.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()?)
}

/// Gives a network's variables the values that its layers begin with.
fn initialize<B: Backend>(backend: &mut B, config: &ModelConfig, variables: &Variables) -> Result<()> {
    let vars = VarMap::new();
    MobileNet::new(config, seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu))?;
    let values = mobilenet_train::named(&vars)?;
    Ok(variables.write(backend, |name| values.get(name).map(Vec::as_slice))?)
}

#[cfg(test)]
mod tests {
    use mobilenet_cuda::plan::Plan;
    use mobilenet_models::{Arch, Preset};

    use super::*;

    #[test]
    fn launches_what_is_planned() {
        let config = ModelConfig::new(Arch::V3Small, 10, Preset::Cifar);
        let protocol = Protocol { warmup: 1, iterations: 2 };
        let mut plan = Plan::default();
        let timing = inference(&mut plan, &config, 4, Precision::Bf16, protocol).unwrap();
        assert!(timing.images_per_second > 0.0);
        let prepared = plan.total("").launches;
        let once = mobilenet_cuda::plan::inference(&config, 4, Precision::Bf16).unwrap().total("").launches;
        // Three times, and before them every convolution was folded.
        assert!(prepared > 3 * once && prepared < 5 * once, "{prepared} launches, {once} each");

        let found = throughput(&mut plan, &config, &[1, 2], Precision::F32, protocol).unwrap();
        assert_eq!(found.iter().map(|found| found.batch).collect::<Vec<_>>(), [1, 2]);
    }
}
