//! Whole trainings through the trainer's own loop, by the layers on the CPU and by the kernels: emulated, or with the
//! feature `cuda` alone on a GPU.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarMap};
use mobilenet_cuda::Named;
use mobilenet_cuda::arch::{Arch, ModelConfig, Precision, Preset};
use mobilenet_data::{Augment, Mix, Normalization, Padding, Split};
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::MobileNet;

use super::{DeviceInference, DeviceTraining, named};
use crate::{
    Balance, CHECKPOINT_FILE, Distillation, Error, EvalSplit, FitData, LowResolution, LrFactor, MirrorAveraged,
    MuonConfig, Observer, OptimizerConfig, Outcome, RunOptions, SgdConfig, StepReport, TrainConfig, Trainer, Variables,
    evaluate,
};

#[cfg(feature = "emulate")]
mod subject {
    use mobilenet_cuda::emulated::Emulated;

    /// What runs the kernels, if there is anything.
    pub fn backend() -> Option<Emulated> {
        Some(Emulated::new(3))
    }
}

#[cfg(not(feature = "emulate"))]
mod subject {
    use std::path::Path;

    use candle_core::Device;
    use mobilenet_cuda::cuda::Cuda;

    /// The first GPU. Without one a test says that it is skipped; one that is there but does not work is no reason to.
    #[expect(clippy::print_stderr, reason = "who runs the tests must know what was not tested")]
    pub fn backend() -> Option<Cuda> {
        match Device::new_cuda(0).and_then(|device| Ok(device.as_cuda_device()?.cuda_stream())) {
            Ok(stream) => Some(Cuda::new(stream, Some(std::env::temp_dir().join("mobilenet-cuda-tests"))).unwrap()),
            Err(error) => {
                assert!(!Path::new("/dev/nvidiactl").exists(), "a GPU is there, but: {error:?}");
                eprintln!("skipped, for there is no GPU: {error:?}");
                None
            }
        }
    }
}

use subject::backend;

const CLASSES: usize = 7;
const SIZE: usize = 16;
/// 10 images in batches of 4: the last one is of 2.
const STEPS: usize = 3;

fn network(arch: Arch) -> ModelConfig {
    ModelConfig { width_mult: 0.35, ..ModelConfig::new(arch, CLASSES, Preset::Cifar) }
}

fn made(config: &ModelConfig, seed: u64) -> (MobileNet, VarMap) {
    let vars = VarMap::new();
    let vb = seeded_var_builder(&vars, seed, DType::F32, &Device::Cpu);
    (MobileNet::new(config, vb).unwrap(), vars)
}

/// A network to be trained: hidden values of its squeeze-and-excite lie on both sides of ReLU's kink and not near it, where
/// rounding, another one at each instruction set, would decide whether a gradient passes that is much of its layer's.
fn to_train(arch: Arch, seed: u64) -> (MobileNet, VarMap) {
    let (model, vars) = made(&network(arch), seed);
    for (name, var) in vars.data().lock().unwrap().iter().filter(|(name, _)| name.ends_with(".fc1.bias")) {
        let sides: Vec<f32> = (0..var.elem_count()).map(|i| if i % 2 == 0 { 2.0 } else { -2.0 }).collect();
        var.set(&Tensor::from_vec(sides, var.shape(), &Device::Cpu).unwrap()).expect(name);
    }
    (model, vars)
}

/// Pictures with a channel and a place of their own for each class, and noise.
fn split(n: usize, seed: u32) -> Arc<Split> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let mut state = seed;
    for i in 0..n {
        let label = i % CLASSES;
        for byte in 0..SIZE * SIZE * 3 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 24) as u8 / 2;
            pixels.push(if byte % 3 == label % 3 && byte / 50 % 3 == label / 3 { noise + 90 } else { noise });
        }
        labels.push(label as u32);
    }
    Arc::new(Split::new(pixels, labels, SIZE, SIZE).unwrap())
}

fn data() -> FitData {
    let train = split(10, 1);
    let normalization = Normalization::of(&train).unwrap();
    FitData { train, eval: split(7, 2), eval_split: EvalSplit::Test, normalization }
}

fn config() -> TrainConfig {
    let sgd = SgdConfig { lr: 0.02, decay_norm_and_bias: false, ..SgdConfig::default() };
    TrainConfig {
        epochs: 2,
        batch_size: 4,
        label_smoothing: 0.1,
        optimizer: OptimizerConfig::Sgd(sgd),
        augment: Augment { crop_padding: 2, ..Augment::default() },
        ..TrainConfig::default()
    }
}

/// Stops after so many steps.
struct StopAfter(usize);

impl Observer for StopAfter {
    fn on_step(&mut self, _: &StepReport) -> ControlFlow<()> {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What a training is computed by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Layers,
    Kernels,
}

/// Trains `folder`'s run until so many steps are done, or to its end; the outcome and the variables.
fn fit(
    by: By,
    arch: Arch,
    train: &TrainConfig,
    (folder, stop): (&Path, Option<usize>),
) -> (Result<Outcome, Error>, Named) {
    let config = network(arch);
    // Initial values of another seed show if a checkpoint is not taken.
    let resume = folder.join(CHECKPOINT_FILE).exists();
    let (model, vars) = to_train(arch, if resume { 99 } else { 5 });
    let teacher_config = network(Arch::V3Small);
    let (teacher, teacher_vars) = made(&teacher_config, 6);
    let dropout = model.dropout_rng().clone();
    let trainer = Trainer::new(&model, &vars, dropout, train.clone(), &Device::Cpu).unwrap();
    let precision = Precision::F32;
    let backend = if by == By::Kernels { backend() } else { None };
    let trainer = match (backend, train.distillation) {
        (None, None) => trainer,
        (None, Some(_)) => trainer.with_teacher(&teacher),
        (Some(backend), None) => trainer.on_device(DeviceTraining::new(backend, &config, precision)),
        (Some(backend), Some(_)) => {
            let taught = (&teacher_config, &teacher_vars);
            trainer.on_device(DeviceTraining::taught(backend, &config, precision, taught).unwrap())
        }
    };
    let options = RunOptions { resume, ..RunOptions::default() };
    let outcome = trainer.fit(&data(), folder, &options, &mut StopAfter(stop.unwrap_or(usize::MAX)));
    (outcome, named(&vars).unwrap())
}

/// Fails if the values went apart farther than rounding explains, as a share of how far they went at all. What should be
/// zero, the gradient of a bias before a batch norm or the mean behind one, is rounding, and no share of itself.
fn near(arch: Arch, train: &TrainConfig, found: &Named, expected: &Named) {
    let initial = named(&to_train(arch, 5).1).unwrap();
    let distance =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() };
    assert!(found.keys().eq(expected.keys()));
    let ways: Vec<f64> = expected.iter().map(|(name, values)| distance(values, &initial[name])).collect();
    let floor = 1e-5 * ways.iter().copied().fold(0.0, f64::max);
    let apart = |((name, values), way): ((&String, &Vec<f32>), &f64)| {
        (distance(&found[name], values) / way.max(floor), name.clone())
    };
    let mut apart: Vec<_> = expected.iter().zip(&ways).map(apart).collect();
    apart.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Rules that divide by a gradient's size take steps as long for one that is rounding as for any other: of them only
    // what has a gradient, the weights of squeeze-and-excite, and the middle of all variables.
    let is_sgd = matches!(train.optimizer, OptimizerConfig::Sgd(_));
    let (worst, middle) = if is_sgd { (2e-2, 1e-4) } else { (5e-2, 1e-2) };
    let mut judged = apart.iter().rev().filter(|(_, name)| is_sgd || name.contains(".fc") && name.ends_with("weight"));
    let largest = judged.next().unwrap();
    assert!(largest.0 < worst, "{largest:?}: {arch} {train:?}");
    let median = &apart[apart.len() / 2];
    assert!(median.0 < middle, "{median:?}: {arch} {train:?}");
}

fn close(found: &Outcome, expected: &Outcome, tolerance: f64) {
    for (found, expected) in found.history.iter().zip(&expected.history) {
        let near = |a: f64, b: f64| (a - b).abs() <= tolerance * b.abs();
        assert!(near(found.train_loss, expected.train_loss), "{found:?} {expected:?}");
        assert!(near(found.eval.loss(), expected.eval.loss()), "{found:?} {expected:?}");
        assert_eq!((found.train_top1, found.train_top5), (expected.train_top1, expected.train_top5));
        assert_eq!((found.eval.top1(), found.lr), (expected.eval.top1(), expected.lr));
    }
    assert_eq!(found.history.len(), expected.history.len());
}

/// Every kind of rule, augmentation and state: losses, accuracies, variables and running statistics are the layers'.
#[test]
fn trainings_are_the_layers() {
    if backend().is_none() {
        return;
    }
    let base = config();
    let muon = MuonConfig { lr: 1e-3, decay_norm_and_bias: false, ..MuonConfig::default() };
    let cases = [
        (
            Arch::V3Small,
            TrainConfig {
                augment: Augment { random_erasing: 0.5, mix: Mix::MixUp { alpha: 0.4 }, ..base.augment },
                ema: Some(0.9),
                balance: Balance::Weights,
                ..base.clone()
            },
        ),
        (
            Arch::V3Large,
            TrainConfig {
                optimizer: OptimizerConfig::Muon(muon),
                lr_factors: vec![LrFactor { variables: Variables::Below("features".into()), factor: 0.3 }],
                augment: Augment { padding: Padding::Reflect, mix: Mix::CutMix { alpha: 1.0 }, ..base.augment },
                low_resolution: Some(LowResolution { share: 0.5, size: 12 }),
                ..base.clone()
            },
        ),
        (
            // Where a step is long, rounding grows a thousandfold from step to step in V2, whatever computes it.
            Arch::V2,
            TrainConfig {
                optimizer: OptimizerConfig::Sgd(SgdConfig { lr: 1e-5, ..SgdConfig::default() }),
                distillation: Some(Distillation { temperature: 2.0, weight: 0.5 }),
                ..base.clone()
            },
        ),
    ];
    for (arch, train) in cases {
        let [layers, kernels] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let (expected, of_layers) = fit(By::Layers, arch, &train, (layers.path(), None));
        let (found, of_kernels) = fit(By::Kernels, arch, &train, (kernels.path(), None));
        near(arch, &train, &of_kernels, &of_layers);
        close(&found.unwrap(), &expected.unwrap(), 1e-3);
    }
}

/// A training that one has begun goes on by the other, within an epoch or after one; with itself it goes on to the bit.
#[test]
fn a_training_goes_on_by_the_other() {
    if backend().is_none() {
        return;
    }
    let adamw = OptimizerConfig::default();
    for (optimizer, stop) in [(config().optimizer, 2), (adamw, STEPS + 1)] {
        let train = TrainConfig { optimizer, ema: Some(0.9), ..config() };
        let ends = |first: By, then: By| {
            let folder = tempfile::tempdir().unwrap();
            let (stopped, _) = fit(first, Arch::V3Small, &train, (folder.path(), Some(stop)));
            assert!(matches!(stopped, Err(Error::Stopped { .. })), "{stopped:?}");
            let (outcome, values) = fit(then, Arch::V3Small, &train, (folder.path(), None));
            (outcome.unwrap(), values)
        };
        let whole = |by: By| {
            let folder = tempfile::tempdir().unwrap();
            let (outcome, values) = fit(by, Arch::V3Small, &train, (folder.path(), None));
            (outcome.unwrap(), values)
        };
        let (outcome, values) = whole(By::Kernels);
        let (resumed, resumed_values) = ends(By::Kernels, By::Kernels);
        assert!(values == resumed_values);
        assert_eq!(outcome.history.last().map(|m| m.train_loss), resumed.history.last().map(|m| m.train_loss));
        let (expected, of_layers) = whole(By::Layers);
        for (first, then) in [(By::Layers, By::Kernels), (By::Kernels, By::Layers)] {
            let (found, values) = ends(first, then);
            near(Arch::V3Small, &train, &values, &of_layers);
            close(&found, &expected, 1e-3);
        }
    }
}

/// Evaluation, with a last batch that is short, and with mirrored images.
#[test]
fn evaluation_is_the_layers() {
    let config = network(Arch::V3Small);
    let (model, vars) = made(&config, 4);
    let Some(backend) = backend() else { return };
    let on_device = DeviceInference::new(backend, &config, &vars).unwrap();
    let (split, on) = (split(7, 3), &mut |_: usize, _: usize| ControlFlow::Continue(()));
    let norm = Normalization::of(&split).unwrap();
    let mut of = |model: &dyn ModuleT| evaluate(model, &split, norm, 3, &Device::Cpu, on).unwrap();
    for (found, expected) in
        [(of(&on_device), of(&model)), (of(&MirrorAveraged(&on_device)), of(&MirrorAveraged(&model)))]
    {
        assert!((found.loss - expected.loss).abs() < 1e-4 * expected.loss, "{} {}", found.loss, expected.loss);
        assert_eq!((found.predicted, found.top5), (expected.predicted, expected.top5));
    }
    let error =
        evaluate(&on_device, &Arc::new(Split::new(vec![0; 3], vec![9], 1, 1).unwrap()), norm, 1, &Device::Cpu, on);
    assert!(matches!(error, Err(Error::Label { label: 9, .. })), "{error:?}");
}

#[test]
fn what_there_are_no_kernels_for_is_named() {
    if backend().is_none() {
        return;
    }
    let v2 = network(Arch::V2);
    let problem = |train: &TrainConfig| DeviceTraining::problem(&v2, Precision::Bf16, train, None, (SIZE, SIZE));
    let refused = TrainConfig { accumulate: 2, ..config() };
    assert_eq!(problem(&config()), None);
    assert_eq!(problem(&refused).as_deref(), Some("gradients of several batches for one update"));
    let folder = tempfile::tempdir().unwrap();
    let error = fit(By::Kernels, Arch::V2, &refused, (folder.path(), None)).0.unwrap_err().to_string();
    let expected =
        "device is gradients of several batches for one update, expected settings that there are kernels for";
    assert_eq!(error, expected);
}

/// A loss that is no number is an error that names its step, however late it is found, and is in no checkpoint.
#[test]
fn a_loss_that_is_no_number_ends_the_training() {
    if backend().is_none() {
        return;
    }
    let sgd = SgdConfig { lr: 1e20, momentum: 0.0, nesterov: false, ..SgdConfig::default() };
    let train = TrainConfig { optimizer: OptimizerConfig::Sgd(sgd), ..config() };
    let folder = tempfile::tempdir().unwrap();
    let error = fit(By::Kernels, Arch::V2, &train, (folder.path(), None)).0.unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, step: 2 | 3, .. }), "{error}");
    // What is there to resume is of before the first step.
    let (stopped, values) = fit(By::Layers, Arch::V2, &train, (folder.path(), Some(1)));
    assert!(matches!(stopped, Err(Error::Stopped { epoch: 1, step: 1 })), "{stopped:?}");
    assert!(values.keys().eq(named(&made(&network(Arch::V2), 5).1).unwrap().keys()));
}

/// Another network's variables are refused before anything is trained.
#[test]
fn variables_of_another_network_are_refused() {
    let (model, vars) = made(&network(Arch::V2), 1);
    let trainer = Trainer::new(&model, &vars, model.dropout_rng().clone(), config(), &Device::Cpu).unwrap();
    let Some(backend) = backend() else { return };
    let device = DeviceTraining::new(backend, &network(Arch::V3Small), Precision::F32);
    let folder = tempfile::tempdir().unwrap();
    let error = trainer.on_device(device).fit(&data(), folder.path(), &RunOptions::default(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Device(_)), "{error}");
}
