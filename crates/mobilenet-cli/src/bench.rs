//! `mobilenet bench`

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_bench::{
    inference, input, peak_rss_bytes, rss_bytes, throughput, time_steps, Environment, LatencyMs, Protocol, Throughput,
    Timing,
};
use mobilenet_layers::{seeded_var_builder, Precision};
use mobilenet_models::{summary, MobileNet, ModelConfig, Preset};
use mobilenet_train::{cross_entropy, Optimizer, OptimizerConfig};
use serde::Serialize;

use crate::args::BenchArgs;
use crate::block_times::BlockTimes;
use crate::output::{print, print_json};
use crate::step_profile::StepProfile;

/// Larger batches, and how often each is run.
const BATCHES: [usize; 3] = [8, 32, 128];
const FEW: Protocol = Protocol { warmup: 1, iterations: 5 };
/// A training step takes a hundred times as long as the article's single image.
const TRAINING: Protocol = Protocol { warmup: 2, iterations: 10 };
const TRAINING_BATCH: usize = 128;

#[derive(Serialize)]
struct Report {
    model: String,
    preset: Preset,
    num_classes: usize,
    width_mult: f64,
    mode: &'static str,
    precision: Precision,
    batch: usize,
    threads: usize,
    device: String,
    warmup: usize,
    iterations: usize,
    latency_ms: LatencyMs,
    images_per_second: f64,
    /// After the passes at `batch`.
    peak_rss_bytes: Option<u64>,
    /// Before the network was made.
    baseline_rss_bytes: Option<u64>,
    throughput: Vec<Throughput>,
    /// Where a training step's time went, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<StepProfile>,
    /// Where an inference's time went, if that was asked for.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    block_times: Option<BlockTimes>,
    environment: Environment,
}

pub fn run(args: &BenchArgs) -> Result<()> {
    let config = args.model.config();
    config.validate()?;
    let device = args.device.device.open()?;
    let (protocol, batch) = match args.train {
        true => (TRAINING, TRAINING_BATCH),
        false => (Protocol::default(), 1),
    };
    let protocol = Protocol {
        warmup: args.warmup.unwrap_or(protocol.warmup),
        iterations: args.iterations.unwrap_or(protocol.iterations),
    };
    let batch = args.batch.unwrap_or(batch);
    let size = config.preset.image_size();
    let picture = (3, size, size);

    let baseline_rss_bytes = rss_bytes();
    let vars = VarMap::new();
    let model = MobileNet::new(&config, seeded_var_builder(&vars, 1, DType::F32, &device))?;
    let model = model.with_precision(args.precision);
    let xs = input(batch, picture, &device)?;
    let (mut profile, mut block_times) = (None, None);
    let timing = if args.train {
        let (timing, found) = training(&model, &vars, &config, &xs, protocol, args.profile, &device)?;
        profile = found;
        timing
    } else if args.blocks {
        let blocks = summary(&config, (size, size))?.blocks();
        let (timing, found) = BlockTimes::measure(&model, &blocks, &xs, protocol)?;
        block_times = Some(found);
        timing
    } else {
        inference(&model, &xs, protocol)?
    };
    let peak_rss_bytes = peak_rss_bytes();
    let throughput = match args.train || args.blocks || batch != 1 {
        true => Vec::new(),
        false => throughput(&model, picture, &BATCHES, FEW, &device)?,
    };

    let environment = crate::environment::collect();
    let report = Report {
        model: config.arch.to_string(),
        preset: config.preset,
        num_classes: config.num_classes,
        width_mult: config.width_mult,
        mode: if args.train { "training" } else { "inference" },
        precision: args.precision,
        batch,
        threads: environment.threads,
        device: args.device.device.to_string(),
        warmup: protocol.warmup,
        iterations: protocol.iterations,
        latency_ms: timing.latency_ms,
        images_per_second: timing.images_per_second,
        peak_rss_bytes,
        baseline_rss_bytes,
        throughput,
        profile,
        block_times,
        environment,
    };
    if args.json {
        return print_json(&report);
    }
    print(&said(&report, &config))
}

/// Full training steps: forward, loss, backward, AdamW; and as many again for a profile, which would disturb the timing.
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
    let profile = profiled.then(|| StepProfile::of(protocol.iterations, step)).transpose()?;
    Ok((timing, profile))
}

fn said(report: &Report, config: &ModelConfig) -> String {
    let ms = &report.latency_ms;
    let what = match report.mode {
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
        match report.threads {
            1 => "1 thread".into(),
            n => format!("{n} threads"),
        },
        match report.device.as_str() {
            "cpu" => &report.environment.processor,
            other => other,
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
    if let Some(times) = &report.block_times {
        text += &format!("\n{times}");
    }
    if let Some(profile) = &report.profile {
        text += &format!("\n{profile}");
    }
    text
}
