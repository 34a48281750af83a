//! `--teacher`: the network that a training learns from, of a run or of a file that `mobilenet export` made.

use std::cell::RefCell;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_data::Normalization;
use mobilenet_models::ModelConfig;
use mobilenet_runtime::Session;
use mobilenet_schema::RunConfig;

use crate::model_file;
use crate::output::note;
use crate::run::{self, Trained};

/// Where the teacher is.
pub enum Source<'a> {
    /// In a run's folder, with its settings.
    Run(&'a Path, Box<RunConfig>),
    /// In a model file.
    File(&'a Path),
}

/// A network that teaches.
pub enum Teacher {
    Run(Trained),
    File(FileTeacher),
}

/// A model file's network, run by mobilenet-runtime on as many threads as the training.
pub struct FileTeacher(RefCell<Session>);

impl<'a> Source<'a> {
    /// Looks for the teacher of a training on `device`.
    ///
    /// # Errors
    /// Neither a run nor a file is there, or it is a file and the training is not on the CPU.
    pub fn find(path: &'a Path, device: &Device) -> Result<Self> {
        ensure!(path.exists(), "--teacher: {}: no such folder or file", path.display());
        if !path.is_file() {
            let config = run::read_config(path).context("--teacher")?;
            return Ok(Self::Run(path, Box::new(config)));
        }
        ensure!(
            device.is_cpu(),
            "--teacher: {} is a model file, which teaches on the CPU alone: expected a run's folder, or --device cpu",
            path.display()
        );
        Ok(Self::File(path))
    }

    /// Its network, if it is of a run.
    pub fn model(&self) -> Option<&ModelConfig> {
        match self {
            Self::Run(_, config) => Some(&config.model),
            Self::File(_) => None,
        }
    }

    /// Opens the network, which must answer the question that the training `config` asks.
    ///
    /// # Errors
    /// The network cannot be read, or has other classes, another mean and standard deviation, or other images.
    pub fn open(&self, config: &RunConfig, device: &Device) -> Result<Teacher> {
        match self {
            Self::Run(run, its) => {
                check_classes(run, config, &its.data.classes)?;
                check_normalization(run, config, &run::normalization(&its.data))?;
                let trained = run::load_model(run, its, device).context("--teacher")?;
                note(&format!("teacher: {}, weights: {}", its.model.title(), trained.weights));
                Ok(Teacher::Run(trained))
            }
            Self::File(file) => {
                let session = model_file::open(file).context("--teacher")?;
                let description = session.model().description();
                let input = &description.input;
                check_classes(file, config, &description.classes)?;
                // First: pictures that are scaled have another mean, too.
                check_size(file, config, [input.height, input.width])?;
                check_normalization(file, config, &Normalization { mean: input.mean, std: input.std })?;
                let (title, changes) = (model_file::title(file, description), model_file::changes(description));
                note(&format!("teacher: {title}, {changes}"));
                Ok(Teacher::File(FileTeacher(RefCell::new(session))))
            }
        }
    }
}

impl Teacher {
    /// What answers to a batch.
    pub fn module(&self) -> &dyn ModuleT {
        match self {
            Self::Run(trained) => &trained.model,
            Self::File(file) => file,
        }
    }

    /// The network and its variables, for a device's kernels; a file has none for them.
    pub fn network(&self) -> Option<(&ModelConfig, &VarMap)> {
        match self {
            Self::Run(trained) => Some((trained.model.config(), &trained.vars)),
            Self::File(_) => None,
        }
    }
}

impl ModuleT for FileTeacher {
    /// `[n, 3, h, w] -> [n, classes]`
    fn forward_t(&self, xs: &Tensor, _train: bool) -> candle_core::Result<Tensor> {
        let (n, _, h, w) = xs.dims4()?;
        let mut session = self.0.try_borrow_mut().map_err(candle_core::Error::wrap)?;
        let input = &session.model().description().input;
        if (h, w) != (input.height, input.width) {
            candle_core::bail!("the teacher takes images of {}x{}, found {h}x{w}", input.height, input.width);
        }
        let classes = session.model().description().classes.len();
        // Batches are stored channels-last, as the runtime takes them.
        let images = xs.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
        let logits = session.run(&images).map_err(candle_core::Error::wrap)?;
        Tensor::from_slice(logits, (n, classes), xs.device())
    }
}

/// Fails unless a teacher has the training's classes.
fn check_classes(path: &Path, config: &RunConfig, classes: &[String]) -> Result<()> {
    let expected = &config.data.classes;
    let differs = (0..expected.len().max(classes.len())).find(|&i| expected.get(i) != classes.get(i));
    let Some(i) = differs else { return Ok(()) };
    let name = |classes: &[String]| classes.get(i).map_or("none", String::as_str).to_owned();
    bail!(
        "--teacher: {} knows other classes: expected {} as class {i}, found {}",
        path.display(),
        name(expected),
        name(classes)
    )
}

/// Fails unless a teacher saw its images as the training does.
fn check_normalization(path: &Path, config: &RunConfig, found: &Normalization) -> Result<()> {
    let expected = run::normalization(&config.data);
    let said = |of: &Normalization| of.mean.iter().chain(&of.std).map(f32::to_string).collect::<Vec<_>>().join(",");
    ensure!(
        *found == expected,
        "--teacher: {} saw its images with another mean and standard deviation: expected {}, found {} (--mean-std)",
        path.display(),
        said(&expected),
        said(found)
    );
    Ok(())
}

/// Fails unless a file's network takes images of every size that the training has.
fn check_size(file: &Path, config: &RunConfig, [h, w]: [usize; 2]) -> Result<()> {
    let found = format!("--teacher: {} takes images of {h}x{w}", file.display());
    let [height, width] = config.data.image;
    ensure!([h, w] == [height, width], "{found}, the training has images of {height}x{width}");
    if let Some(size) = config.train.config.low_resolution.map(|low| low.size) {
        ensure!([h, w] == [size; 2], "{found}, the training also has --low-resolution {size}; a run takes any");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use mobilenet_deploy::{Weights, fold};
    use mobilenet_layers::seeded_var_builder;
    use mobilenet_models::{Arch, MobileNet, Preset, weights};
    use mobilenet_runtime::{Description, Input, Model};

    use super::*;

    /// A fresh network as a model file has it.
    fn model() -> Model {
        let config = ModelConfig { width_mult: 0.35, ..ModelConfig::new(Arch::V3Small, 3, Preset::Cifar) };
        let vars = VarMap::new();
        MobileNet::new(&config, seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        weights::save(&vars, &path).unwrap();
        let input = Input { height: 32, width: 32, crop: 1.0, mean: [0.5; 3], std: [0.2; 3], quantization: None };
        let classes = ["a", "b", "c"].map(str::to_owned).into();
        let description = Description { input, classes, ..Description::default() };
        Model::new(&fold(&config, &Weights::open(&path).unwrap(), description).unwrap()).unwrap()
    }

    #[test]
    fn a_batch_is_answered_as_the_runtime_does_however_it_is_stored_and_on_any_number_of_threads() {
        let model = model();
        let n = 9;
        let pixels: Vec<f32> = (0..n * 32 * 32 * 3).map(|i| ((i * 7919) % 1000) as f32 / 250.0 - 2.0).collect();
        let expected = Session::new(&model, 1).unwrap().run(&pixels).unwrap().to_vec();
        assert!(expected.iter().any(|&x| x != expected[0]), "{expected:?}");
        let images = Tensor::from_vec(pixels, (n, 32, 32, 3), &Device::Cpu).unwrap().permute((0, 3, 1, 2)).unwrap();
        for threads in [1, 3] {
            let teacher = FileTeacher(RefCell::new(Session::new(&model, threads).unwrap()));
            for images in [&images, &images.contiguous().unwrap()] {
                let logits = teacher.forward_t(images, false).unwrap();
                assert_eq!(logits.dims(), [n, 3]);
                assert_eq!(logits.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected);
            }
        }
        let small = Tensor::zeros((1, 3, 16, 16), DType::F32, &Device::Cpu).unwrap();
        let teacher = FileTeacher(RefCell::new(Session::new(&model, 1).unwrap()));
        let error = teacher.forward_t(&small, false).unwrap_err().to_string();
        assert!(error.contains("takes images of 32x32, found 16x16"), "{error}");
    }
}
