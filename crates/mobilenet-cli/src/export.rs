//! `mobilenet export`

mod images;
mod report;
mod training;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use mobilenet_deploy::{QuantizeOptions, Weights, fold, layer_noise, quantize, requantize, swap, to_bf16, to_onnx};
use mobilenet_runtime::{Description, Input, Network, Origin, Precision};
use mobilenet_schema::{Eval, RunConfig};

use crate::args::ExportArgs;
use crate::output::{check_writable, print, print_json};
use crate::run::{self, CONFIG_FILE, EVAL_FILE, WEIGHTS_FILE};
use images::Images;
use report::{Report, Step, said};
use training::{Plan, clean_up, train};

/// Images that the noise of each operation is measured on.
const NOISE_IMAGES: usize = 64;

/// Kinds of files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Safetensors,
    Onnx,
}

pub fn run(args: &ExportArgs) -> Result<()> {
    let kind = match args.out.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors") => Kind::Safetensors,
        Some("onnx") => Kind::Onnx,
        _ => bail!("--out {}: expected a name that ends in .safetensors or .onnx", args.out.display()),
    };
    ensure!(
        kind == Kind::Safetensors || !args.bf16,
        "--bf16: expected --out FILE.safetensors, found {}: an ONNX file's weights are float32, or have 8 bits with --int8",
        args.out.display()
    );
    let config = run::read_config(&args.run)?;
    check_writable(&args.out)?;
    let folded = folded(&args.run, &config)?;
    let mut making = Making { args, config: &config, images: None, plans: Vec::new(), report: report(args) };
    let float = making.activations(folded)?;
    let network = match (args.int8, args.bf16) {
        (true, _) => making.eight_bits(float)?,
        (_, true) => making.bf16(&float)?,
        _ => float,
    };
    let bytes = match kind {
        Kind::Safetensors => network.to_bytes()?,
        Kind::Onnx => to_onnx(&network, args.onnx_profile)?,
    };
    mobilenet_common::files::write(&args.out, &bytes)
        .with_context(|| format!("cannot write {}", args.out.display()))?;
    making.plans.iter().try_for_each(clean_up)?;
    let changes = &network.description.origin.changes;
    let report = Report { bytes: bytes.len() as u64, precision: network.precision(), changes, ..making.report };
    if args.json { print_json(&report) } else { print(&said(&report, &config)) }
}

fn report(args: &ExportArgs) -> Report<'_> {
    Report {
        run: &args.run,
        file: &args.out,
        bytes: 0,
        precision: Precision::Float32,
        changes: &[],
        steps: Vec::new(),
        tried: Vec::new(),
        noise: Vec::new(),
    }
}

/// A network on its way to the file.
struct Making<'a> {
    args: &'a ExportArgs,
    config: &'a RunConfig,
    /// Loaded once they are needed.
    images: Option<Images>,
    /// The trainings that were done.
    plans: Vec<Plan<'a>>,
    report: Report<'a>,
}

impl<'a> Making<'a> {
    fn images(&mut self) -> Result<&Images> {
        if self.images.is_none() {
            self.images = Some(Images::load(self.args, self.config)?);
        }
        self.images.as_ref().context("the images were loaded")
    }

    /// Notes how good a network is, if asked to, and wherever something is trained: what it brought is to be seen.
    fn measure(&mut self, network: &Network) -> Result<()> {
        let is_trained = self.args.finetune_epochs.is_some() || self.args.qat_epochs.is_some();
        if self.args.report || is_trained {
            let step = Step::measure(network, self.images()?)?;
            self.report.steps.push(step);
        }
        Ok(())
    }

    fn train(&mut self, plan: Plan<'a>, network: &Network, quantized: Option<&Network>) -> Result<Network> {
        let config = self.config;
        let trained = train(&plan, network, quantized, self.images()?, config)?;
        self.plans.push(plan);
        Ok(trained)
    }

    /// The network with the activations that are asked for.
    fn activations(&mut self, mut network: Network) -> Result<Network> {
        let Some(asked) = self.args.activation else {
            self.measure(&network)?;
            return Ok(network);
        };
        let before = network.clone();
        let count = swap(&mut network, asked)?;
        let title = self.config.model.title();
        ensure!(count > 0, "--activation: {title} has no activation that this would take the place of");
        self.measure(&before)?;
        self.measure(&network)?;
        let Some(epochs) = self.args.finetune_epochs else { return Ok(network) };
        let plan = Plan { what: "fine-tuned", epochs, lr: self.args.finetune_lr, out: &self.args.out };
        let trained = self.train(plan, &network, None)?;
        self.measure(&trained)?;
        Ok(trained)
    }

    /// The network with its weights in bf16.
    fn bf16(&mut self, float: &Network) -> Result<Network> {
        let network = to_bf16(float)?;
        self.measure(&network)?;
        Ok(network)
    }

    /// The network in 8 bits.
    fn eight_bits(&mut self, float: Network) -> Result<Network> {
        let (args, config) = (self.args, self.config);
        let images = self.images()?.for_ranges(args.calibrate, config)?;
        let quantized = quantize(&float, &images, QuantizeOptions::default())?;
        self.report.tried = quantized.tried.iter().map(|&tried| tried.into()).collect();
        let (mut float, mut network) = (quantized.float, quantized.network);
        self.measure(&network)?;
        if let Some(epochs) = args.qat_epochs {
            let plan = Plan { what: "trained in 8 bits", epochs, lr: args.qat_lr, out: &args.out };
            float = self.train(plan, &float, Some(&network))?;
            network = requantize(&float, &network)?;
            network.description.origin.changes.extend(float.description.origin.changes.last().cloned());
            self.measure(&network)?;
        }
        if args.report {
            let image = config.data.image[0] * config.data.image[1] * 3;
            let noise = layer_noise(&float, &network, &images[..images.len().min(NOISE_IMAGES * image)])?;
            self.report.noise = noise.into_iter().map(Into::into).collect();
        }
        Ok(network)
    }
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
