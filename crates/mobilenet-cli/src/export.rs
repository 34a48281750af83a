//! `mobilenet export`

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use mobilenet_data::LoadOptions;
use mobilenet_deploy::{LayerNoise, QuantizeOptions, Quantized, Weights, fold, layer_noise, quantize, swap, to_onnx};
use mobilenet_runtime::{Description, Input, Network, Origin};
use mobilenet_schema::{Eval, RunConfig};
use serde::Serialize;

use crate::args::ExportArgs;
use crate::data;
use crate::model_file::normalized;
use crate::output::{check_writable, note, print, print_json};
use crate::run::{self, CONFIG_FILE, EVAL_FILE, WEIGHTS_FILE};

/// Training images that ranges are measured on, if nobody says how many.
const CALIBRATE: usize = 512;

/// Images that the noise of each operation is measured on.
const NOISE_IMAGES: usize = 64;

/// Kinds of files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Safetensors,
    Onnx,
}

#[derive(Serialize)]
struct Report<'a> {
    run: &'a Path,
    file: &'a Path,
    bytes: u64,
    precision: &'static str,
    changes: &'a [String],
    /// Ways to end a range, and what the logits differ by on held-out images, in shares of their own size.
    tried: Vec<Tried>,
    noise: Vec<Noise>,
}

#[derive(Serialize)]
struct Tried {
    calibration: String,
    error: f64,
}

#[derive(Serialize)]
struct Noise {
    operation: String,
    signal_to_noise_db: f64,
}

pub fn run(args: &ExportArgs) -> Result<()> {
    let kind = match args.out.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Kind::Safetensors,
        Some("onnx") => Kind::Onnx,
        _ => bail!("--out {}: expected a name that ends in .safetensors or .onnx", args.out.display()),
    };
    let config = run::read_config(&args.run)?;
    check_writable(&args.out)?;
    let mut float = folded(&args.run, &config)?;
    if let Some(asked) = args.activation {
        let count = swap(&mut float, asked)?;
        ensure!(
            count > 0,
            "--activation: {} has no activation that this would take the place of",
            config.model.title()
        );
    }
    let (mut tried, mut noise) = (Vec::new(), Vec::new());
    let network = if args.int8 {
        let images = calibration_images(args, &config)?;
        let quantized = quantize(&float, &images, QuantizeOptions::default())?;
        if args.report {
            let image = config.data.image[0] * config.data.image[1] * 3;
            noise = layer_noise(&float, &quantized.network, &images[..images.len().min(NOISE_IMAGES * image)])?;
        }
        let Quantized { network, tried: ways, .. } = quantized;
        tried = ways;
        network
    } else {
        float
    };
    let bytes = match kind {
        Kind::Safetensors => network.to_bytes()?,
        Kind::Onnx => to_onnx(&network, args.onnx_profile)?,
    };
    mobilenet_common::files::write(&args.out, &bytes)
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    let report = Report {
        run: &args.run,
        file: &args.out,
        bytes: bytes.len() as u64,
        precision: if args.int8 { "int8" } else { "float32" },
        changes: &network.description.origin.changes,
        tried: tried.iter().map(|&(way, error)| Tried { calibration: way.to_string(), error }).collect(),
        noise: noise
            .into_iter()
            .map(|LayerNoise { name, signal_to_noise_db }| Noise { operation: name, signal_to_noise_db })
            .collect(),
    };
    if args.json { print_json(&report) } else { print(&said(&report, &config)) }
}

/// The run's network, folded.
fn folded(folder: &Path, config: &RunConfig) -> Result<Network> {
    let path = folder.join(WEIGHTS_FILE);
    ensure!(
        path.symlink_metadata().is_ok(),
        "{}: holds no {WEIGHTS_FILE}: the training is not complete, or the weights were removed",
        folder.display()
    );
    let weights = Weights::open(&path)?;
    let data = &config.data;
    let input = Input {
        height: data.image[0],
        width: data.image[1],
        crop: 1.0,
        mean: data.mean,
        std: data.std,
        quantization: None,
    };
    let test_top1 = mobilenet_schema::read::<Eval>(&folder.join(EVAL_FILE)).ok().map(|eval| eval.test_top1);
    let origin = Origin {
        architecture: config.model.arch.to_string(),
        width: config.model.width_mult,
        program: concat!("mobilenet ", env!("CARGO_PKG_VERSION")).to_owned(),
        data: format!("{} ({})", data.name, data.copy),
        command: config.command.clone(),
        changes: Vec::new(),
        test_top1,
    };
    let description = Description { input, classes: data.classes.clone(), origin };
    fold(&config.model, &weights, description)
        .with_context(|| format!("{}: not the weights of {CONFIG_FILE}", path.display()))
}

/// Training images, as the network takes them.
fn calibration_images(args: &ExportArgs, config: &RunConfig) -> Result<Vec<f32>> {
    let options = LoadOptions {
        source: config.data.source,
        data_dir: args.data_dir.clone().or(config.data.data_dir.clone()),
        image_size: config.data.image_size,
        read: config.data.read.clone(),
        ..LoadOptions::default()
    };
    let dataset = data::load(&options).context("the run's data cannot be read (--data-dir names another folder)")?;
    let mut data = config.data.clone();
    run::check_same(&data, &dataset)?;
    let train = run::cut(&mut data, dataset, config.train.config.seed)?.train;
    let wanted = args.calibrate.unwrap_or(CALIBRATE);
    if train.len() < wanted {
        note(&format!("ranges come from all {} training images", train.len()));
    }
    let images = train.take(wanted);
    ensure!(images.len() >= 4, "--int8: expected at least 4 training images, found {}", images.len());
    Ok(normalized(images.pixels(), config.data.mean, config.data.std))
}

fn said(report: &Report, config: &RunConfig) -> String {
    let mut text = format!(
        "{}: {} in {}, {:.2} MB\n",
        report.file.display(),
        config.model.title(),
        report.precision,
        report.bytes as f64 / 1e6
    );
    for change in report.changes {
        text += &format!("{change}\n");
    }
    for Tried { calibration, error } in &report.tried {
        text += &format!("ranges by {calibration:<10}  logits differ by {:.2} % on held-out images\n", 100.0 * error);
    }
    let width = report.noise.iter().map(|noise| noise.operation.len()).max().unwrap_or(0);
    for Noise { operation, signal_to_noise_db } in &report.noise {
        text += &format!("{operation:<width$}  {signal_to_noise_db:>6.1} dB\n");
    }
    text
}
