//! A trained network, wherever it is from: a run, a file of weights, or a file that `mobilenet export` made.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_common::files;
use mobilenet_data::Normalization;
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::{Arch, IMAGENET_CLASSES, MobileNet, ModelConfig, Preset, imagenet_classes, weights};
use mobilenet_runtime::Session;
use mobilenet_schema::RunConfig;
use mobilenet_train::DeviceInference;

use crate::args::{ClassifierArgs, MeanStd};
use crate::device::DeviceArg;
use crate::eval::BATCH;
use crate::kernels;
use crate::model_file::{self, normalized};
use crate::output::note;
use crate::run;

/// The largest list of class names that is read.
const MAX_NAMES_BYTES: u64 = 16 << 20;
/// What is cut out of pictures for weights of ImageNet: 224 of 256 pixels.
const IMAGENET_CROP: f64 = 0.875;

/// A trained network, and what is known of it.
pub struct Classifier {
    pub engine: Engine,
    /// The run's folder, or the file.
    pub source: PathBuf,
    /// As people spell it.
    pub title: String,
    /// The architecture's name; may be empty for a file.
    pub model: String,
    pub arch: Option<Arch>,
    /// Which weights these are.
    pub weights: String,
    /// Number of outputs.
    pub outputs: usize,
    /// The classes' names, if they are known.
    pub classes: Option<Vec<String>>,
    /// Height and width of its images.
    pub size: usize,
    /// Side of what is cut out of a picture as a share of its shorter side, if not all of it is.
    pub crop_share: Option<f64>,
    /// What images are normalized by, if that is known.
    pub normalization: Option<Normalization>,
    /// Of a run.
    pub config: Option<RunConfig>,
}

/// What runs it.
pub enum Engine {
    Candle { model: Box<dyn ModuleT>, device: Device },
    Runtime(Box<Session>),
}

impl Engine {
    /// By a GPU's kernels where the device is one and they cover the network, in batches of so many images of a size; else by
    /// the layers.
    fn candle(
        model: MobileNet,
        vars: &VarMap,
        config: &ModelConfig,
        device: Device,
        batch: usize,
        size: (usize, usize),
    ) -> Result<Self> {
        Ok(match kernels::for_evaluation(&device, config, batch, size)? {
            // The kernels' images come from the host.
            Some(gpu) => {
                Self::Candle { model: Box::new(DeviceInference::new(gpu, config, vars)?), device: Device::Cpu }
            }
            None => Self::Candle { model: Box::new(model), device },
        })
    }
}

impl Classifier {
    /// Opens what the command line names.
    pub fn open(args: &ClassifierArgs) -> Result<Self> {
        match (&args.run, &args.model_file, &args.weights) {
            (Some(run), ..) => Self::of_run(run, args.device.device),
            (_, Some(file), _) => Self::of_model_file(file, args.device.device),
            (.., Some(file)) => Self::of_weights(file, args),
            (None, None, None) => bail!("expected --run, --weights or --model-file"),
        }
    }

    fn of_run(run: &Path, device: DeviceArg) -> Result<Self> {
        let config = run::read_config(run)?;
        let device = device.open()?;
        let run::Trained { model, vars, weights } = run::load_model(run, &config, &device)?;
        let [height, width] = config.data.image;
        let batch = config.train.config.batch_size;
        Ok(Self {
            engine: Engine::candle(model, &vars, &config.model, device, batch, (height, width))?,
            source: run.to_owned(),
            title: config.model.title(),
            model: config.model.arch.to_string(),
            arch: Some(config.model.arch),
            weights,
            outputs: config.model.num_classes,
            classes: Some(config.data.classes.clone()),
            size: config.data.image[0],
            crop_share: config.data.read.crop_share,
            normalization: Some(run::normalization(&config.data)),
            config: Some(config),
        })
    }

    fn of_model_file(file: &Path, device: DeviceArg) -> Result<Self> {
        ensure!(device == DeviceArg::Cpu, "--device {device}: --model-file runs on the cpu");
        let session = model_file::open(file)?;
        let description = session.model().description().clone();
        let input = &description.input;
        ensure!(
            input.height == input.width,
            "{}: expected a network for square images, found {}x{}",
            file.display(),
            input.height,
            input.width
        );
        let architecture = &description.origin.architecture;
        Ok(Self {
            source: file.to_owned(),
            title: model_file::title(file, &description),
            model: architecture.clone(),
            arch: architecture.parse().ok(),
            weights: model_file::changes(&description),
            outputs: description.classes.len(),
            size: input.height,
            crop_share: (input.crop < 1.0).then(|| f64::from(input.crop)),
            normalization: Some(Normalization { mean: input.mean, std: input.std }),
            classes: Some(description.classes),
            config: None,
            engine: Engine::Runtime(Box::new(session)),
        })
    }

    fn of_weights(file: &Path, args: &ClassifierArgs) -> Result<Self> {
        let config = network(file, args)?;
        let device = args.device.device.open()?;
        let vars = VarMap::new();
        let model = MobileNet::new(&config, seeded_var_builder(&vars, 0, DType::F32, &device))?;
        let report = weights::load(&vars, file)?;
        if let Some(fresh) = &report.fresh_classifier {
            bail!("{}: has no {}: it can start a training (train --init), not answer", file.display(), fresh.name);
        }
        note(&format!("weights: {}, {} classes: {report}", config.title(), config.num_classes));
        let outputs = config.num_classes;
        let of_imagenet = outputs == IMAGENET_CLASSES;
        let normalization = match args.mean_std.or(of_imagenet.then_some(MeanStd::IMAGENET)) {
            Some(MeanStd::Fixed { mean, std }) => Some(Normalization { mean, std }),
            Some(MeanStd::Data) | None => None,
        };
        let classes = match &args.classes {
            Some(path) => Some(names(path, outputs)?),
            None if of_imagenet => Some(imagenet_classes().into_iter().map(str::to_owned).collect()),
            None => None,
        };
        Ok(Self {
            source: file.to_owned(),
            title: config.title(),
            model: config.arch.to_string(),
            arch: Some(config.arch),
            weights: file.display().to_string(),
            outputs,
            classes,
            size: config.preset.image_size(),
            crop_share: of_imagenet.then_some(IMAGENET_CROP),
            normalization,
            config: None,
            engine: Engine::candle(model, &vars, &config, device, BATCH, [config.preset.image_size(); 2].into())?,
        })
    }

    /// The outputs `[n, outputs]` for pictures `[n, size, size, 3]`.
    pub fn logits(&mut self, pixels: &[u8], Normalization { mean, std }: Normalization) -> Result<Vec<f32>> {
        let values = normalized(pixels, mean, std);
        let logits = match &mut self.engine {
            Engine::Runtime(session) => session.run(&values)?.to_vec(),
            Engine::Candle { model, device } => {
                let n = pixels.len() / (self.size * self.size * 3).max(1);
                let images = Tensor::from_vec(values, (n, self.size, self.size, 3), &Device::Cpu)?;
                let images = images.to_device(device)?.permute((0, 3, 1, 2))?;
                let logits = model.forward_t(&images, false).context("the network cannot take the picture")?;
                logits.flatten_all()?.to_vec1()?
            }
        };
        ensure!(logits.iter().all(|x| x.is_finite()), "the network answers with NaN or infinite numbers");
        Ok(logits)
    }

    /// A name for each output: its number where it has none.
    pub fn names(&self) -> Vec<String> {
        self.classes.clone().unwrap_or_else(|| (0..self.outputs).map(|i| format!("class {i}")).collect())
    }
}

/// The network that a file of weights is of.
fn network(file: &Path, args: &ClassifierArgs) -> Result<ModelConfig> {
    let found = weights::inspect(file)?;
    let mut config = match (found.network, args.model) {
        (Some(found), arch) => ModelConfig { arch: arch.unwrap_or(found.arch), ..found },
        // The error of loading says what does not fit.
        (None, Some(arch)) => ModelConfig::new(arch, IMAGENET_CLASSES, Preset::Imagenet),
        (None, None) => bail!("{}: holds no network that this program knows; --model says which it is", file.display()),
    };
    config.preset = match (args.preset, config.num_classes) {
        (Some(preset), _) => preset,
        (None, IMAGENET_CLASSES) => Preset::Imagenet,
        (None, _) => Preset::Cifar,
    };
    config.strides = args.strides.clone();
    config.dilated |= args.dilated;
    config.validate()?;
    Ok(config)
}

/// The lines of a file of class names.
fn names(path: &Path, outputs: usize) -> Result<Vec<String>> {
    let said = || format!("--classes {}", path.display());
    let text = files::read_text(path, MAX_NAMES_BYTES).with_context(said)?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    ensure!(names.len() == outputs, "{}: expected {outputs} names, one a line, found {}", said(), names.len());
    Ok(names)
}
