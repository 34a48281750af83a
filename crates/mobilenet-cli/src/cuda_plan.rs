//! `mobilenet bench --plan`: what CUDA would launch, counted without a GPU.

use std::fmt;

use anyhow::{Result, bail};
use mobilenet_cuda::plan::{Plan, Stage, inference, training, training_limit};
use mobilenet_models::ModelConfig;
use serde::Serialize;

use crate::args::BenchArgs;
use crate::device::DeviceArg;
use crate::output::{print, print_json};

/// Bytes a second of an H100's memory (SXM5: 3.35 TB/s), which the times are for.
const BANDWIDTH: f64 = 3.35e12;

/// What a step or an inference launches and moves.
#[derive(Serialize)]
struct Report {
    model: String,
    preset: String,
    num_classes: usize,
    width_mult: f64,
    mode: &'static str,
    precision: String,
    batch: usize,
    /// Kernels and products.
    launches: usize,
    products: usize,
    /// Bytes that the launches read and write, each tensor of a launch once each way.
    bytes: usize,
    /// Bytes that a training step moves at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<usize>,
    /// Memory for variables and tensors.
    memory_bytes: usize,
    /// What an H100's memory bandwidth allows, all else being free.
    bandwidth_images_per_second: f64,
    stages: Vec<StageReport>,
}

#[derive(Serialize)]
struct StageReport {
    stage: String,
    launches: usize,
    products: usize,
    bytes: usize,
}

impl From<&Stage> for StageReport {
    fn from(stage: &Stage) -> Self {
        let Stage { name, launches, products, bytes, .. } = stage;
        Self { stage: name.clone(), launches: *launches, products: *products, bytes: *bytes }
    }
}

/// Prints the plan of batches of `batch` images.
pub fn run(args: &BenchArgs, config: &ModelConfig, batch: usize) -> Result<()> {
    if !matches!(args.device.device, DeviceArg::Cuda(_)) {
        bail!("--plan counts what CUDA launches: expected --device cuda, found --device {}", args.device.device)
    }
    let plan = match args.train {
        true => training(config, batch, args.precision, false)?,
        false => inference(config, batch, args.precision)?,
    };
    let limit = args.train.then(|| training_limit(config, batch, args.precision)).transpose()?;
    let report = report(args, config, batch, &plan, limit);
    if args.json {
        return print_json(&report);
    }
    print(&report.to_string())
}

fn report(args: &BenchArgs, config: &ModelConfig, batch: usize, plan: &Plan, limit_bytes: Option<usize>) -> Report {
    let total = plan.total("");
    Report {
        model: config.arch.to_string(),
        preset: config.preset.to_string(),
        num_classes: config.num_classes,
        width_mult: config.width_mult,
        mode: if args.train { "training" } else { "inference" },
        precision: args.precision.to_string(),
        batch,
        launches: total.launches,
        products: total.products,
        bytes: total.bytes,
        limit_bytes,
        memory_bytes: plan.memory(),
        bandwidth_images_per_second: batch as f64 * BANDWIDTH / total.bytes as f64,
        stages: plan.stages().iter().map(StageReport::from).collect(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mb = |bytes: usize| bytes as f64 / 1e6;
        writeln!(f, "{:<30} {:>8} {:>8} {:>10}", "stage", "launches", "products", "MB")?;
        for stage in &self.stages {
            let StageReport { stage, launches, products, bytes } = stage;
            writeln!(f, "{stage:<30} {launches:>8} {products:>8} {:>10.2}", mb(*bytes))?;
        }
        writeln!(f, "{:<30} {:>8} {:>8} {:>10.2}", "all", self.launches, self.products, mb(self.bytes))?;
        let image = |bytes: usize| mb(bytes) / self.batch as f64;
        write!(
            f,
            "{} of {}, {}, batch {}, {}: {:.2} MB an image",
            self.mode,
            self.model,
            self.preset,
            self.batch,
            self.precision,
            image(self.bytes)
        )?;
        if let Some(limit) = self.limit_bytes {
            write!(f, ", at least {:.2} MB", image(limit))?;
        }
        writeln!(f, "; {:.0} MB of memory", mb(self.memory_bytes))?;
        writeln!(
            f,
            "counted, not run: an H100's memory (3.35 TB/s) allows {:.0} images/s",
            self.bandwidth_images_per_second
        )
    }
}
