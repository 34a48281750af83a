//! What cannot be trained, resumed or written ends in one clear error.

use std::path::Path;

use crate::common::{Mlp, StopAfter, config, data, split};
use candle_core::{Device, Tensor};
use candle_nn::func_t;
use mobilenet_data::{Mixed, Split};
use mobilenet_layers::DropoutRng;
use mobilenet_train::{
    AdamWConfig, CHECKPOINT_FILE, Distillation, Error, EvalSplit, FitData, LowResolution, LrFactor, MuonConfig,
    Optimizer, OptimizerConfig, RunOptions, Schedule, SgdConfig, Targets, Teacher, TrainConfig, Trainer, Variables,
    cross_entropy, evaluate, loss,
};

fn resume() -> RunOptions {
    RunOptions { resume: true, ..RunOptions::default() }
}

/// A folder with a run that was stopped in its second epoch.
fn stopped_run(model: &Mlp, data: &FitData, options: &RunOptions) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let stopped = model.trainer(config()).fit(data, folder.path(), options, &mut StopAfter(6));
    assert!(matches!(stopped, Err(Error::Stopped { epoch: 2, step: 2 })), "{stopped:?}");
    folder
}

fn fit_error(model: &Mlp, config: TrainConfig, data: &FitData, folder: &Path, options: &RunOptions) -> Error {
    model.trainer(config).fit(data, folder, options, &mut ()).unwrap_err()
}

#[test]
fn settings_out_of_range_name_the_field() {
    let adamw = |change: fn(&mut AdamWConfig)| {
        let mut adamw = AdamWConfig::default();
        change(&mut adamw);
        TrainConfig { optimizer: OptimizerConfig::AdamW(adamw), ..config() }
    };
    let sgd = |sgd| TrainConfig { optimizer: OptimizerConfig::Sgd(sgd), ..config() };
    let muon = |muon| TrainConfig { optimizer: OptimizerConfig::Muon(muon), ..config() };
    let low_resolution = |share, size| TrainConfig { low_resolution: Some(LowResolution { share, size }), ..config() };
    let distillation =
        |temperature, weight| TrainConfig { distillation: Some(Distillation { temperature, weight }), ..config() };
    let cases = [
        ("epochs", TrainConfig { epochs: 0, ..config() }),
        ("batch_size", TrainConfig { batch_size: 0, ..config() }),
        ("label_smoothing", TrainConfig { label_smoothing: 1.0, ..config() }),
        ("label_smoothing", TrainConfig { label_smoothing: f64::NAN, ..config() }),
        ("warmup_epochs", TrainConfig { warmup_epochs: -1.0, ..config() }),
        ("warmup_epochs", TrainConfig { warmup_epochs: 4.0, ..config() }),
        ("warmup_epochs", TrainConfig { schedule: Schedule::OneCycle, ..config() }),
        ("final_lr", TrainConfig { final_lr: 1.5, ..config() }),
        ("ema", TrainConfig { ema: Some(1.0), ..config() }),
        ("precise_bn", TrainConfig { precise_bn: Some(0), ..config() }),
        ("accumulate", TrainConfig { accumulate: 0, ..config() }),
        ("early_stop", TrainConfig { early_stop: Some(0), ..config() }),
        (
            "lr_factors",
            TrainConfig { lr_factors: vec![LrFactor { variables: Variables::Biases, factor: -1.0 }], ..config() },
        ),
        ("low_resolution.share", low_resolution(1.5, 8)),
        ("low_resolution.size", low_resolution(0.5, 0)),
        ("distillation.temperature", distillation(0.0, 0.5)),
        ("distillation.weight", distillation(1.0, 1.5)),
        ("optimizer.lr", adamw(|c| c.lr = 0.0)),
        ("optimizer.lr", adamw(|c| c.lr = f64::INFINITY)),
        ("optimizer.weight_decay", adamw(|c| c.weight_decay = -1.0)),
        ("optimizer.betas.0", adamw(|c| c.betas.0 = 1.0)),
        ("optimizer.betas.1", adamw(|c| c.betas.1 = f64::NAN)),
        ("optimizer.eps", adamw(|c| c.eps = -1.0)),
        ("optimizer.momentum", sgd(SgdConfig { momentum: 1.0, ..SgdConfig::default() })),
        ("optimizer.momentum", sgd(SgdConfig { momentum: 0.0, ..SgdConfig::default() })),
        ("optimizer.momentum", muon(MuonConfig { momentum: 1.0, ..MuonConfig::default() })),
        ("optimizer.betas.1", muon(MuonConfig { betas: (0.9, 1.0), ..MuonConfig::default() })),
    ];
    let model = Mlp::new(4, 1);
    for (expected, config) in cases {
        match Trainer::new(&model, &model.vars, DropoutRng::new(), config, &Device::Cpu).err() {
            Some(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn settings_that_need_something_else_say_so() {
    let model = Mlp::new(4, 1);
    let teacher = Mlp::new(4, 2);
    let folder = tempfile::tempdir().unwrap();
    let data = data(20, 20, EvalSplit::Test);
    let error = |config, teacher: Option<&dyn candle_nn::ModuleT>| {
        let trainer = model.trainer(config);
        let trainer = if let Some(teacher) = teacher { trainer.with_teacher(teacher) } else { trainer };
        let error = trainer.fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap_err();
        error.to_string()
    };
    let distillation = Some(Distillation { temperature: 2.0, weight: 0.5 });
    for (config, teacher, expected) in [
        (TrainConfig { early_stop: Some(2), ..config() }, None, "early_stop is 2, expected held-out images"),
        (TrainConfig { distillation, ..config() }, None, "expected a teacher"),
        (TrainConfig { precise_bn: Some(1), ..config() }, None, "expected a model to take statistics with"),
        (config(), Some(&teacher as &dyn candle_nn::ModuleT), "expected a temperature and a weight"),
    ] {
        let text = error(config, teacher);
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn data_that_makes_no_batch() {
    let empty = || std::sync::Arc::new(Split::new(vec![], vec![], 8, 8).unwrap());
    let good = data(20, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let folder = tempfile::tempdir().unwrap();
    let error = |data: FitData, config| fit_error(&model, config, &data, folder.path(), &RunOptions::default());
    assert!(matches!(error(FitData { train: empty(), ..good.clone() }, config()), Error::EmptySplit("training")));
    assert!(matches!(error(FitData { eval: empty(), ..good.clone() }, config()), Error::EmptySplit("evaluation")));
    assert!(matches!(
        error(FitData { train: split(1, 1), ..good.clone() }, config()),
        Error::NoBatches { images: 1, .. }
    ));
    let drop_last = TrainConfig { drop_last: true, ..config() };
    assert!(matches!(error(FitData { train: split(15, 1), ..good }, drop_last), Error::NoBatches { images: 15, .. }));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_lone_last_image_is_left_out() {
    for (images, batch_size, drop_last, steps) in
        [(33, 16, false, 2), (34, 16, false, 3), (34, 16, true, 2), (3, 1, false, 3), (32, 16, false, 2)]
    {
        let config = TrainConfig { batch_size, drop_last, epochs: 1, warmup_epochs: 0.0, ..config() };
        assert_eq!(config.steps_per_epoch(images), steps, "{images} {batch_size} {drop_last}");
        if batch_size > 1 {
            let model = Mlp::new(4, 1);
            let folder = tempfile::tempdir().unwrap();
            let data = data(images, 4, EvalSplit::Test);
            let stop =
                model.trainer(config.clone()).fit(&data, folder.path(), &RunOptions::default(), &mut StopAfter(steps));
            assert!(matches!(stop, Err(Error::Stopped { step, .. }) if step == steps), "{stop:?}");
            let folder = tempfile::tempdir().unwrap();
            model.trainer(config).fit(&data, folder.path(), &RunOptions::default(), &mut StopAfter(steps + 1)).unwrap();
        }
    }
}

#[test]
fn labels_that_the_model_has_no_output_for() {
    let logits = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let labels = |labels: &[u32]| Tensor::new(labels, &Device::Cpu).unwrap();
    let error = cross_entropy(&logits, &labels(&[2, 3]), 0.0).unwrap_err();
    assert!(matches!(error, Error::Label { label: 3, index: 1, classes: 3 }), "{error}");
    for wrong in [&[0][..], &[0, 1, 2], &[]] {
        assert!(matches!(cross_entropy(&logits, &labels(wrong), 0.0), Err(Error::Shape { .. })), "{wrong:?}");
    }
    let split = std::sync::Arc::new(Split::new(vec![0; 8 * 8 * 3], vec![7], 8, 8).unwrap());
    let model = Mlp::new(4, 1);
    let norm = data(4, 4, EvalSplit::Test).normalization;
    let error =
        evaluate(&model, &split, norm, 4, &Device::Cpu, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::Label { label: 7, index: 0, classes: 3 }), "{error}");
}

#[test]
fn targets_that_make_no_sense() {
    let logits = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let labels = |labels: &[u32]| Tensor::new(labels, &Device::Cpu).unwrap();
    let (own, partners) = (labels(&[2, 1]), labels(&[0, 1]));
    let message = |targets: &Targets<'_>| loss(&logits, targets).unwrap_err().to_string();

    for label_smoothing in [-0.1, 1.1, f64::NAN] {
        let found = message(&Targets { label_smoothing, ..Targets::new(&own) });
        assert_eq!(found, format!("label_smoothing is {label_smoothing}, expected 0 to 1"));
    }
    for (labels, lambda, expected) in [
        (partners, 1.5, "lambda is 1.5, expected 0 to 1"),
        (labels(&[0, 3]), 0.5, "label 3 of image 1 in the batch is out of range: the model has 3 classes"),
        (labels(&[0]), 0.5, "logits [2, 3] and labels [1] do not fit: expected [n, classes] and [n]"),
    ] {
        assert_eq!(message(&Targets { mixed: Some(&Mixed { labels, lambda }), ..Targets::new(&own) }), expected);
    }
    let teacher = Tensor::new(&[[0f32, 0.0, 0.0], [0.0, f32::NAN, 0.0]], &Device::Cpu).unwrap();
    let finite = teacher.zeros_like().unwrap();
    for (logits, temperature, weight, expected) in [
        (&finite, 0.0, 0.5, "distillation temperature is 0, expected a number above 0"),
        (&finite, f64::INFINITY, 0.5, "distillation temperature is inf, expected a number above 0"),
        (&finite, 1.0, -0.5, "distillation weight is -0.5, expected 0 to 1"),
        (&teacher, 1.0, 0.5, "the teacher's logits of image 1 in the batch hold NaN, expected finite numbers"),
        (
            &finite.t().unwrap(),
            1.0,
            0.5,
            "logits [2, 3] and the teacher's logits [3, 2] do not fit: expected the same shape",
        ),
    ] {
        let teacher = Some(Teacher { logits, temperature, weight });
        assert_eq!(message(&Targets { teacher, ..Targets::new(&own) }), expected);
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_update() {
    let data = data(20, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let folder = tempfile::tempdir().unwrap();
    let broken = func_t(|xs: &Tensor, train| candle_nn::ModuleT::forward_t(&model, xs, train)? * f64::INFINITY);
    let trainer = Trainer::new(&broken, &model.vars, DropoutRng::new(), config(), &Device::Cpu).unwrap();
    let error = trainer.fit(&data, folder.path(), &RunOptions::default(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::NonFiniteLoss { epoch: 1, step: 1, steps: 2, lr, .. } if lr == 5e-4), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("NaN in epoch 1, step 1 of 2, at learning rate 5e-4"), "{text}");
    let weights =
        |bits: Vec<(String, Vec<u32>)>| bits.into_iter().filter(|(n, _)| !n.contains("running")).collect::<Vec<_>>();
    assert_eq!(weights(model.bits()), weights(Mlp::new(4, 1).bits()));
}

#[test]
fn another_folder_or_resume_is_asked_for() {
    let data = data(51, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let folder = stopped_run(&model, &data, &RunOptions::default());
    let error = fit_error(&model, config(), &data, folder.path(), &RunOptions::default());
    assert!(matches!(error, Error::RunExists { .. }), "{error}");
}

#[test]
fn other_settings_are_listed() {
    let data = data(51, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let with_model = |width: f64| RunOptions { model: serde_json::json!({ "width_mult": width }), ..resume() };
    let folder = stopped_run(&model, &data, &with_model(1.0));
    let mut other_pixels = data.clone();
    other_pixels.train = split(51, 9);
    let cases = [
        (
            TrainConfig { epochs: 4, seed: 7, ..config() },
            &data,
            1.0,
            "train.epochs was 3, now 4; train.seed was 1, now 7",
        ),
        (TrainConfig { batch_size: 8, ..config() }, &data, 1.0, "train.batch_size was 16, now 8"),
        (config(), &data, 0.5, "model.width_mult was 1.0, now 0.5"),
        (config(), &other_pixels, 1.0, "data.train_contents was "),
    ];
    for (config, data, width, expected) in cases {
        let error = fit_error(&model, config, data, folder.path(), &with_model(width)).to_string();
        assert!(error.contains(CHECKPOINT_FILE) && error.contains(expected), "{error}");
    }
    let sgd = TrainConfig { optimizer: OptimizerConfig::Sgd(SgdConfig::default()), ..config() };
    let error = fit_error(&model, sgd, &data, folder.path(), &with_model(1.0)).to_string();
    assert!(error.contains("train.optimizer.name was \"adamw\", now \"sgd\""), "{error}");
}

#[test]
fn a_checkpoint_of_another_model_lists_the_tensors() {
    let data = data(51, 20, EvalSplit::Test);
    let folder = stopped_run(&Mlp::new(4, 1), &data, &RunOptions::default());
    let error = fit_error(&Mlp::new(5, 1), config(), &data, folder.path(), &resume());
    let Error::ModelMismatch { missing, extra, misshapen, .. } = &error else { panic!("{error}") };
    assert!(missing.is_empty() && extra.is_empty(), "{error}");
    assert!(misshapen.contains(&"model.norm.weight: [4] F32 in the file, [5] F32 in the model".to_string()), "{error}");

    let model = Mlp::new(4, 1);
    let before = model.bits();
    let var = model.vars.data().lock().unwrap().remove("out.bias").unwrap();
    model.vars.data().lock().unwrap().insert("new".into(), var);
    let error = fit_error(&model, config(), &data, folder.path(), &resume());
    let Error::ModelMismatch { missing, extra, misshapen, .. } = &error else { panic!("{error}") };
    assert_eq!(missing, &["model.new"]);
    assert_eq!(extra, &["model.out.bias", "optimizer.exp_avg.out.bias", "optimizer.exp_avg_sq.out.bias"]);
    assert!(misshapen.is_empty());
    let var = model.vars.data().lock().unwrap().remove("new").unwrap();
    model.vars.data().lock().unwrap().insert("out.bias".into(), var);
    assert_eq!(model.bits(), before, "nothing is changed by a file that does not fit");
}

/// Cut at every length, and files that are something else: an error that names the file, never a panic.
#[test]
fn a_file_that_is_cut_short_or_no_checkpoint() {
    let data = data(51, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let folder = stopped_run(&model, &data, &RunOptions::default());
    let path = folder.path().join(CHECKPOINT_FILE);
    let whole = std::fs::read(&path).unwrap();
    let mut damaged = 0;
    for length in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = fit_error(&model, config(), &data, folder.path(), &resume());
        damaged += usize::from(matches!(error, Error::Damaged { .. }));
        assert!(matches!(error, Error::Damaged { .. } | Error::NotACheckpoint { .. }), "{length}: {error}");
        assert!(error.to_string().contains(CHECKPOINT_FILE), "{error}");
    }
    assert!(damaged > 10, "{damaged}");

    let weights =
        std::collections::HashMap::from([("a", Tensor::zeros(2, candle_core::DType::F32, &Device::Cpu).unwrap())]);
    candle_core::safetensors::save(&weights, &path).unwrap();
    let error = fit_error(&model, config(), &data, folder.path(), &resume());
    assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
    std::fs::write(&path, b"PK\x03\x04 this is no safetensors file at all").unwrap();
    let error = fit_error(&model, config(), &data, folder.path(), &resume());
    assert!(matches!(error, Error::NotACheckpoint { .. } | Error::Damaged { .. }), "{error}");

    let text = String::from_utf8_lossy(&whole[8..600]).to_string();
    assert!(text.contains("format_version"), "{text}");
    let at = whole.windows(19).position(|w| w == b"format_version\\\":1,").unwrap();
    let mut newer = whole.clone();
    newer[at + 17] = b'9';
    std::fs::write(&path, newer).unwrap();
    let error = fit_error(&model, config(), &data, folder.path(), &resume());
    assert!(matches!(error, Error::FormatVersion { found: 9, expected: 1, .. }), "{error}");
}

/// Positions and histories that no run has written are refused at once, and the file is named.
#[test]
fn positions_that_no_run_can_have() {
    let data = data(51, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let folder = stopped_run(&model, &data, &RunOptions::default());
    let path = folder.path().join(CHECKPOINT_FILE);
    let whole = std::fs::read(&path).unwrap();
    let change = |key: &str, value: serde_json::Value| {
        let (_, header) = safetensors::SafeTensors::read_metadata(&whole).unwrap();
        let mut metadata = header.metadata().clone().unwrap();
        let text = metadata.get_mut("mobilenet_train").unwrap();
        let mut json: serde_json::Value = serde_json::from_str(text).unwrap();
        assert!(!json["progress"][key].is_null());
        json["progress"][key] = value;
        *text = json.to_string();
        let file = safetensors::SafeTensors::deserialize(&whole).unwrap();
        std::fs::write(&path, safetensors::serialize(file.tensors(), Some(metadata)).unwrap()).unwrap();
        fit_error(&model, config(), &data, folder.path(), &resume())
    };
    for (key, value, expected) in [
        ("steps_done", 1_000_000_000_000_000_000u64.into(), "1000000000000000000 steps done, expected at most 4"),
        ("epochs_done", 4.into(), "4 epochs done, expected at most 3"),
        ("epochs_done", 2.into(), "a history of 1 epochs, expected 2"),
    ] {
        let error = change(key, value);
        assert!(matches!(error, Error::NotACheckpoint { .. }), "{error}");
        assert!(error.to_string().contains(CHECKPOINT_FILE) && error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn folders_and_disks_that_cannot_be_written() {
    let data = data(20, 20, EvalSplit::Test);
    let model = Mlp::new(4, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = fit_error(&model, config(), &data, &file.join("run"), &RunOptions::default());
    assert!(matches!(error, Error::Io { action: "create", .. }), "{error}");

    // A checkpoint that turns unwritable in the middle of the run: here its name is taken by a folder.
    let run = folder.path().join("run");
    struct Obstruct(std::path::PathBuf);
    impl mobilenet_train::Observer for Obstruct {
        fn on_evaluation(&mut self, _: usize, _: usize) -> std::ops::ControlFlow<()> {
            if self.0.is_file() {
                std::fs::remove_file(&self.0).unwrap();
                std::fs::create_dir(&self.0).unwrap();
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut observer = Obstruct(run.join(CHECKPOINT_FILE));
    let error = model.trainer(config()).fit(&data, &run, &RunOptions::default(), &mut observer).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", .. }), "{error}");
    assert!(error.to_string().contains(CHECKPOINT_FILE), "{error}");
    let left: Vec<_> = std::fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".writing")), "{left:?}");
}

#[test]
fn variables_must_be_f32() {
    let vars = candle_nn::VarMap::new();
    vars.get(2, "x", candle_nn::Init::Const(0.0), candle_core::DType::F64, &Device::Cpu).unwrap();
    let error = Optimizer::new(&vars, OptimizerConfig::default()).err();
    assert!(matches!(error, Some(Error::VariableType { .. })), "{error:?}");
}
