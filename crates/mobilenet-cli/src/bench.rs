//! `mobilenet bench`

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_bench::{Protocol, Timing, inference, input, peak_rss_bytes, rss_bytes, throughput, time_steps};
use mobilenet_layers::{Precision, seeded_var_builder};
use mobilenet_models::plan::{PlacedLayer, Plan};
use mobilenet_models::{MobileNet, ModelConfig, summary};
use mobilenet_schema::{Bench, StepProfile, Throughput};
use mobilenet_train::{Optimizer, OptimizerConfig, cross_entropy};

use crate::args::BenchArgs;
use crate::block_times::BlockTimes;
use crate::cuda_bench;
use crate::cuda_plan;
use crate::kernels::{self, Gpu};
use crate::model_file;
use crate::output::{print, print_json};
use crate::step_profile::{Shown, step_profile};

/// Larger batches, and how often each is run.
const BATCHES: [usize; 3] = [8, 32, 128];
const FEW: Protocol = Protocol { warmup: 1, iterations: 5 };
/// A training step takes a hundred times as long as the article's single image.
const TRAINING: Protocol = Protocol { warmup: 2, iterations: 10 };
const TRAINING_BATCH: usize = 128;

pub fn run(args: &BenchArgs) -> Result<()> {
    let (protocol, batch) = match args.train {
        true => (TRAINING, TRAINING_BATCH),
        false => (Protocol::default(), 1),
    };
    let protocol = Protocol {
        warmup: args.warmup.unwrap_or(protocol.warmup),
        iterations: args.iterations.unwrap_or(protocol.iterations),
    };
    let batch = args.batch.unwrap_or(batch);
    let config = match (args.model, &args.model_file) {
        (_, Some(file)) => return model_file::bench(file, batch, protocol, args.json),
        (Some(arch), None) => args.shape.config(arch, args.num_classes),
        (None, None) => bail!("expected --model or --model-file"),
    };
    config.validate()?;
    if args.plan {
        return cuda_plan::run(args, &config, batch);
    }
    let device = args.device.device.open()?;
    // What is asked for layer by layer is of the layers.
    let gpu = match args.profile || args.blocks {
        true => None,
        false => kernels::for_bench(&device, &config, batch, args.precision, args.train)?,
    };
    if args.precision != Precision::default() && !args.train && gpu.is_none() {
        bail!("--precision {}: expected --train or --device cuda beside it", args.precision)
    }
    kernels::check_tf32(args.precision, gpu.as_ref(), &device)?;
    kernels::note_bf16(args.precision, &device);
    let baseline_rss_bytes = rss_bytes();
    let measured = match gpu {
        Some(mut gpu) => by_kernels(&mut gpu, args, &config, batch, protocol)?,
        None => by_the_layers(args, &config, batch, protocol, &device)?,
    };
    let peak_rss_bytes = peak_rss_bytes();
    let Measured { timing, throughput, profile, block_times } = measured;
    let environment = crate::environment::collect_on(&device);
    let report = Bench {
        model: config.arch.to_string(),
        preset: config.preset.to_string(),
        num_classes: config.num_classes as u64,
        width_mult: config.width_mult,
        mode: if args.train { "training" } else { "inference" }.to_owned(),
        precision: args.precision.to_string(),
        batch: batch as u64,
        threads: Some(environment.threads as u64),
        device: args.device.device.to_string(),
        warmup: protocol.warmup as u64,
        iterations: protocol.iterations as u64,
        latency_ms: timing.latency_ms,
        images_per_second: timing.images_per_second,
        peak_rss_bytes,
        baseline_rss_bytes,
        throughput,
        profile,
        sum_ms: block_times.as_ref().map(|times| times.sum_ms),
        blocks: block_times.as_ref().map_or(Vec::new(), |times| times.blocks.clone()),
        environment,
    };
    if args.json {
        return print_json(&report);
    }
    print(&said(&report, block_times.as_ref(), &config))
}

/// What was measured.
struct Measured {
    timing: Timing,
    throughput: Vec<Throughput>,
    profile: Option<StepProfile>,
    block_times: Option<BlockTimes>,
}

/// By the CUDA kernels.
fn by_kernels(
    gpu: &mut Gpu,
    args: &BenchArgs,
    config: &ModelConfig,
    batch: usize,
    protocol: Protocol,
) -> Result<Measured> {
    let timing = match args.train {
        true => cuda_bench::training(gpu, config, batch, args.precision, protocol)?,
        false => cuda_bench::inference(gpu, config, batch, args.precision, protocol)?,
    };
    let throughput = match args.train || batch != 1 {
        true => Vec::new(),
        false => cuda_bench::throughput(gpu, config, &BATCHES, args.precision, FEW)?,
    };
    Ok(Measured { timing, throughput, profile: None, block_times: None })
}

/// By the layers, on whatever Candle computes.
fn by_the_layers(
    args: &BenchArgs,
    config: &ModelConfig,
    batch: usize,
    protocol: Protocol,
    device: &Device,
) -> Result<Measured> {
    let size = config.preset.image_size();
    let picture = (3, size, size);
    let vars = VarMap::new();
    let model = MobileNet::new(config, seeded_var_builder(&vars, 1, DType::F32, device))?;
    let model = model.with_precision(args.precision);
    let xs = input(batch, picture, device)?;
    let (mut profile, mut block_times) = (None, None);
    let timing = if args.train {
        let (timing, found) = training(&model, &vars, config, &xs, protocol, args.profile, device)?;
        profile = found;
        timing
    } else if args.blocks {
        let blocks = summary(config, (size, size))?.blocks();
        let layers = Plan::new(config)?.layers();
        let paths = |layers: &[PlacedLayer]| layers.iter().map(|layer| layer.path.clone()).collect();
        let layers: Vec<Vec<String>> = layers.chunk_by(|a, b| a.part == b.part).map(paths).collect();
        let (timing, found) = BlockTimes::measure(&model, &blocks, &layers, &xs, protocol)?;
        block_times = Some(found);
        timing
    } else {
        inference(&model, &xs, protocol)?
    };
    let throughput = match args.train || args.blocks || batch != 1 {
        true => Vec::new(),
        false => throughput(&model, picture, &BATCHES, FEW, device)?,
    };
    Ok(Measured { timing, throughput, profile, block_times })
}

/// Full training steps: forward, loss, backward, AdamW; and as many again for a profile, which would disturb the
/// timing.
fn training(
    model: &MobileNet,
    vars: &VarMap,
    config: &ModelConfig,
    xs: &Tensor,
    protocol: Protocol,
    profiled: bool,
    device: &Device,
) -> Result<(Timing, Option<StepProfile>)> {
    let rule = OptimizerConfig::default();
    let mut optimizer = Optimizer::new(vars, rule)?;
    let batch = xs.dim(0)?;
    let labels = (0..batch).map(|i| (i % config.num_classes) as u32).collect::<Vec<_>>();
    let labels = Tensor::from_vec(labels, batch, device)?;
    let mut step = || {
        let loss = cross_entropy(&model.forward_t(xs, true)?, &labels, 0.0)?;
        optimizer.step(&loss.backward()?, rule.lr())?;
        // Waits for the update too: devices work in order.
        device.synchronize()?;
        Ok(loss.to_scalar::<f32>()?)
    };
    let timing = time_steps(protocol, batch, &mut step)?;
    let profile = profiled.then(|| step_profile(protocol.iterations, step)).transpose()?;
    Ok((timing, profile))
}

fn said(report: &Bench, block_times: Option<&BlockTimes>, config: &ModelConfig) -> String {
    let ms = &report.latency_ms;
    let what = match report.mode.as_str() {
        "training" => "training steps (forward, backward, AdamW)",
        _ => "inference",
    };
    let size = config.preset.image_size();
    let mut text = format!(
        "{}, {size}x{size}, {what}, batch {}, {} on {}\n\
         {} timed after {} untimed: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, mean {:.2} ± {:.2} ms, {:.2} to {:.2} ms\n\
         {:.1} images/s\n",
        config.title(),
        report.batch,
        match report.threads.unwrap_or_default() {
            1 => "1 thread".into(),
            n => format!("{n} threads"),
        },
        match report.device.as_str() {
            "metal" => "metal",
            _ => report.environment.computed_on(),
        },
        report.iterations,
        report.warmup,
        ms.p50,
        ms.p90,
        ms.p99,
        ms.mean,
        ms.std,
        ms.min,
        ms.max,
        report.images_per_second
    );
    if let (Some(peak), Some(baseline)) = (report.peak_rss_bytes, report.baseline_rss_bytes) {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        text += &format!("peak memory {:.0} MB ({:.0} MB before the network)\n", mb(peak), mb(baseline));
    }
    for found in &report.throughput {
        text += &format!("batch {}: {:.1} images/s\n", found.batch, found.images_per_second);
    }
    if let Some(times) = block_times {
        text += &format!("\n{times}");
    }
    if let Some(profile) = &report.profile {
        text += &format!("\n{}", Shown(profile));
    }
    text
}
