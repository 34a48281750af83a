//! Fine-tuning on a folder of pictures: step by step as PyTorch does it (`fixtures/fine_tuning.py`), and through the
//! program.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use image::{Rgb, RgbImage};
use mobilenet_common::random::{SplitMix64, fnv1a};
use mobilenet_data::{Augment, LoadOptions, Normalization, load};
use mobilenet_layers::seeded_var_builder;
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};
use mobilenet_train::{
    AdamWConfig, Balance, EvalSplit, FitData, LrFactor, Observer, OptimizerConfig, RunOptions, SgdConfig, StepReport,
    TrainConfig, Trainer, Variables,
};
use serde::Deserialize;
use serde_json::Value;

use crate::common::{Place, SMALLEST, text};

const CLASSES: [(&str, usize); 3] = [("ash", 18), ("birch", 12), ("cedar", 6)];
const SIZE: usize = 48;

#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    lr: f64,
    body: f64,
    smoothing: f64,
    weights: bool,
    losses: Vec<f64>,
}

/// The picture of the Python.
fn picture(label: usize, i: usize) -> RgbImage {
    let (height, width) = (48 + 4 * (i % 4), 50 + 5 * (i % 5));
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let (x, y) = (x as usize, y as usize);
        let channel =
            |k: usize| ((x * (2 + label) + y * (3 + 2 * k) + x * y / (5 + 4 * label) + 31 * i + 57 * k) % 256) as u8;
        Rgb([0, 1, 2].map(channel))
    })
}

/// So many pictures of each class.
fn fill(folder: &Path, counts: &[(&str, usize)]) {
    for (label, (class, n)) in counts.iter().enumerate() {
        fs::create_dir_all(folder.join(class)).unwrap();
        for i in 0..*n {
            picture(label, i).save(folder.join(class).join(format!("{i:02}.png"))).unwrap();
        }
    }
}

/// The weights of the Python: `weight` of mobilenet-models' `torchvision_parity.py`, not those for training.
fn set_weights(vars: &VarMap) {
    for (name, var) in vars.data().lock().unwrap().iter() {
        let (dims, mut numbers) = (var.dims(), SplitMix64::new(fnv1a(name.as_bytes())));
        let bound = (6.0 / dims[1..].iter().product::<usize>() as f64).sqrt();
        let value = |u: f64| match () {
            () if dims.len() > 1 => u * bound,
            () if name.ends_with(".running_var") || name.ends_with(".weight") => 1.0 + 0.2 * u,
            () => 0.1 * u,
        };
        let values: Vec<f32> = (0..var.elem_count())
            .map(|_| value((numbers.next_u64() >> 40) as f64 / 2f64.powi(23) - 1.0) as f32)
            .collect();
        var.set(&Tensor::from_vec(values, dims, &Device::Cpu).unwrap()).unwrap();
    }
}

struct Losses(Vec<f64>);

impl Observer for Losses {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        self.0.push(report.loss);
        ControlFlow::Continue(())
    }
}

#[test]
fn every_step_has_pytorchs_loss() {
    let dir = tempfile::tempdir().unwrap();
    fill(&dir.path().join("set/train"), &CLASSES);
    fill(&dir.path().join("set/test"), &CLASSES.map(|(class, _)| (class, 1)));
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/fine_tuning.json")).unwrap();
    for (case, picture_cache) in cases.iter().zip([0, u64::MAX]) {
        let options = LoadOptions {
            data_dir: Some(dir.path().join("set")),
            image_size: SIZE,
            picture_cache,
            ..LoadOptions::default()
        };
        let set = load(&options, &mut |_| {}).unwrap();
        let data = FitData {
            train: Arc::new(set.train),
            eval: Arc::new(set.test),
            eval_split: EvalSplit::Test,
            normalization: Normalization { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
        };
        let network = ModelConfig {
            width_mult: 0.5,
            dropout: 0.0,
            ..ModelConfig::new(Arch::V3Small, CLASSES.len(), Preset::Imagenet)
        };
        let vars = VarMap::new();
        let model = MobileNet::new(&network, seeded_var_builder(&vars, 0, DType::F32, &Device::Cpu)).unwrap();
        set_weights(&vars);
        let lr = case.lr;
        let config = TrainConfig {
            epochs: 2,
            batch_size: 8,
            seed: 7,
            label_smoothing: case.smoothing,
            optimizer: match case.name.as_str() {
                "sgd" => OptimizerConfig::Sgd(SgdConfig { lr, ..SgdConfig::default() }),
                _ => OptimizerConfig::AdamW(AdamWConfig { lr, weight_decay: 0.05, ..AdamWConfig::default() }),
            },
            lr_factors: vec![LrFactor { variables: Variables::Below("features".into()), factor: case.body }],
            augment: Augment::NONE,
            balance: if case.weights { Balance::Weights } else { Balance::None },
            ..TrainConfig::default()
        };
        let trainer = Trainer::new(&model, &vars, model.dropout_rng().clone(), config, &Device::Cpu).unwrap();
        let mut losses = Losses(Vec::new());
        trainer.fit(&data, &dir.path().join(&case.name), &RunOptions::default(), &mut losses).unwrap();
        assert_eq!(losses.0.len(), case.losses.len());
        for (step, (found, expected)) in losses.0.iter().zip(&case.losses).enumerate() {
            let error = (found / expected - 1.0).abs();
            assert!(error < 0.01, "{}, step {step}: {found}, expected {expected}: {:?}", case.name, losses.0);
        }
    }
}

#[test]
fn the_recipe_for_fine_tuning_starts_from_weights() {
    let place = Place::new();
    fill(&place.path("set/train"), &[("oak", 16), ("elm", 4)]);
    fill(&place.path("set/test"), &[("elm", 2), ("oak", 2)]);
    place.run(&format!("train {} --data-dir data --limit-train 16 --epochs 1 --out first", SMALLEST.join(" ")));
    let line = "train --init-from first --recipe finetune --balance sampler --data-dir set --image-size 32 --epochs 2 \
                --warmup-epochs 0.5 --batch-size 8";
    let losses = |out: &str| -> Vec<Value> {
        let metrics = fs::read_to_string(place.path(out).join("metrics.jsonl")).unwrap();
        let metrics = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        metrics.map(|epoch| serde_json::json!([epoch["train_loss"], epoch["test_loss"]])).collect()
    };
    // Decoded when they are needed or kept, on one thread or two: the same.
    let kept = place.command(&format!("{line} --out kept")).output().unwrap();
    assert!(kept.status.success() && !text(&kept.stderr).contains("decoded as"), "{}", text(&kept.stderr));
    let streamed = place.command(&format!("{line} --picture-cache 0 --out streamed --threads 2")).output().unwrap();
    let said =
        "data: pictures are decoded as they are needed: 24 of 32x32 would take 73.7 kB, the picture cache has 0.0 kB";
    assert!(streamed.status.success() && text(&streamed.stderr).contains(said), "{}", text(&streamed.stderr));
    assert_eq!(losses("kept"), losses("streamed"));
    let weights = |out: &str| fs::read(place.path(out).join("model.safetensors")).unwrap();
    assert!(weights("kept") == weights("streamed"), "other weights");
    let config: Value = serde_json::from_slice(&fs::read(place.path("kept/config.json")).unwrap()).unwrap();
    let train = &config["train"];
    assert_eq!(
        (&config["recipe"], &train["balance"], &train["label_smoothing"]),
        (&"finetune".into(), &"sampler".into(), &0.1.into())
    );
    assert_eq!(train["lr_factors"][0]["factor"], 0.3);

    let from_nothing = format!(
        "train {} --recipe finetune --data-dir set --image-size 32 --epochs 1 --warmup-epochs 0 --balance weights --out r",
        SMALLEST.join(" ")
    );
    let output = place.command(&from_nothing).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("starts from no weights"), "{}", text(&output.stderr));
}
