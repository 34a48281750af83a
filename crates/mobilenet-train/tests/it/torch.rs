//! Losses, optimizers and schedules against the numbers in `fixtures/torch.json`, which `fixtures/make_torch_json.py`
//! made.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarMap;
use mobilenet_data::Mixed;
use mobilenet_train::{
    AdamWConfig, Ema, MuonConfig, Optimizer, OptimizerConfig, Schedule, SgdConfig, Targets, Teacher, TrainConfig,
    cross_entropy, loss,
};
use serde::Deserialize;

const CPU: &Device = &Device::Cpu;

#[derive(Deserialize)]
struct Fixture {
    losses: Vec<LossCase>,
    soft: SoftLosses,
    ema: Vec<EmaCase>,
    optimizers: Optimizers,
    muon: Vec<MuonCase>,
    schedules: Vec<ScheduleCase>,
}

#[derive(Deserialize)]
struct LossCase {
    name: String,
    logits: Vec<Vec<f32>>,
    labels: Vec<u32>,
    smoothing: f64,
    loss: f32,
    grad: Vec<Vec<f32>>,
}

/// Losses of the same logits, in float64.
#[derive(Deserialize)]
struct SoftLosses {
    logits: Vec<Vec<f32>>,
    teacher: Vec<Vec<f32>>,
    labels: Vec<u32>,
    partners: Vec<u32>,
    cases: Vec<SoftCase>,
}

#[derive(Debug, Deserialize)]
struct SoftCase {
    lambda: Option<f64>,
    smoothing: f64,
    #[serde(default)]
    class_weights: Option<Vec<f64>>,
    temperature: Option<f64>,
    weight: Option<f64>,
    loss: f64,
    grad: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Params {
    weight: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

#[derive(Deserialize)]
struct Optimizers {
    start: Params,
    lrs: Vec<f64>,
    gradients: Vec<Params>,
    cases: Vec<OptimizerCase>,
}

/// Weights and running statistics after each step, and their average.
#[derive(Deserialize)]
struct EmaCase {
    decay: f64,
    steps: Vec<Averaged>,
    after: Vec<Averaged>,
}

#[derive(Deserialize)]
struct Averaged {
    weight: Vec<Vec<f32>>,
    running_mean: Vec<f32>,
}

#[derive(Deserialize)]
struct OptimizerCase {
    config: OptimizerConfig,
    after: Vec<Params>,
}

#[derive(Deserialize)]
struct MuonCase {
    options: MuonOptions,
    start: Vec<Vec<f32>>,
    gradients: Vec<Vec<Vec<f32>>>,
    after: Vec<Vec<Vec<f32>>>,
}

#[derive(Debug, Deserialize)]
struct MuonOptions {
    momentum: f64,
    nesterov: bool,
    weight_decay: f64,
}

#[derive(Deserialize)]
struct ScheduleCase {
    name: String,
    total: usize,
    r#final: f64,
    factors: Vec<f64>,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../fixtures/torch.json")).unwrap()
}

fn close(got: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (a, b) in got.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}: {got:?}, expected {expected:?}");
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    for case in fixture().losses {
        let what = format!("{} {}", case.name, case.smoothing);
        let logits = Var::from_tensor(&Tensor::new(case.logits, CPU).unwrap()).unwrap();
        let labels = Tensor::new(case.labels, CPU).unwrap();
        let loss = cross_entropy(&logits, &labels, case.smoothing).unwrap();
        close(&[loss.to_scalar().unwrap()], &[case.loss], 1e-6, &what);
        let grads = loss.backward().unwrap();
        let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        close(&grad, &case.grad.concat(), 1e-6, &what);
    }
}

#[test]
fn mixed_smoothed_and_distilled_losses_and_their_gradients() {
    let SoftLosses { logits, teacher, labels, partners, cases } = fixture().soft;
    let (labels, partners) = (Tensor::new(labels, CPU).unwrap(), Tensor::new(partners, CPU).unwrap());
    let teacher = Var::new(teacher, CPU).unwrap();
    for case in cases {
        let logits = Var::new(logits.clone(), CPU).unwrap();
        let mixed = case.lambda.map(|lambda| Mixed { labels: partners.clone(), lambda });
        let teacher_of = |(temperature, weight)| Teacher { logits: &teacher, temperature, weight };
        let targets = Targets {
            labels: &labels,
            mixed: mixed.as_ref(),
            label_smoothing: case.smoothing,
            class_weights: case.class_weights.as_deref().unwrap_or_default(),
            teacher: case.temperature.zip(case.weight).map(teacher_of),
        };
        let value = loss(&logits, &targets).unwrap();
        let grads = value.backward().unwrap();
        assert!(grads.get(&teacher).is_none(), "the teacher must not learn");
        let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let found = grad.into_iter().chain([value.to_scalar().unwrap()]).map(f64::from);
        for (a, b) in found.zip(case.grad.concat().into_iter().chain([case.loss])) {
            assert!((a - b).abs() <= 1e-6 * b.abs(), "{a}, expected {b}: {case:?}");
        }
    }
}

#[test]
fn optimizers_step_by_step() {
    let Optimizers { start, lrs, gradients, cases } = fixture().optimizers;
    for case in cases {
        let what = format!("{:?}", case.config);
        let vars = VarMap::new();
        let weight = Var::new(start.weight.clone(), CPU).unwrap();
        let bias = Var::new(start.bias.clone(), CPU).unwrap();
        // Running statistics: a variable that takes no part in the loss.
        let idle = Var::new(&[3f32, 4.0], CPU).unwrap();
        let all = BTreeMap::from([("weight", &weight), ("bias", &bias), ("idle", &idle)]);
        vars.data().lock().unwrap().extend(all.into_iter().map(|(name, var)| (name.to_string(), var.clone())));

        let mut optimizer = Optimizer::new(&vars, case.config).unwrap();
        for ((lr, gradient), after) in lrs.iter().zip(&gradients).zip(&case.after) {
            // d sum(w * g) / d w = g
            let on_weight = (weight.as_tensor() * Tensor::new(gradient.weight.clone(), CPU).unwrap()).unwrap();
            let on_bias = (bias.as_tensor() * Tensor::new(gradient.bias.clone(), CPU).unwrap()).unwrap();
            let loss = (on_weight.sum_all().unwrap() + on_bias.sum_all().unwrap()).unwrap();
            optimizer.step(&loss.backward().unwrap(), *lr).unwrap();
            close(&weight.flatten_all().unwrap().to_vec1().unwrap(), &after.weight.concat(), 1e-6, &what);
            close(&bias.to_vec1().unwrap(), &after.bias, 1e-6, &what);
        }
        assert_eq!(optimizer.steps(), lrs.len() as u64);
        assert_eq!(idle.to_vec1::<f32>().unwrap(), [3.0, 4.0]);
    }
}

#[test]
fn muon_step_by_step() {
    let Fixture { optimizers: Optimizers { lrs, .. }, muon, .. } = fixture();
    for MuonCase { options, start, gradients, after } in muon {
        let MuonOptions { momentum, nesterov, weight_decay } = options;
        let config = MuonConfig { momentum, nesterov, weight_decay, ..MuonConfig::default() };
        let matrix = |rows: Vec<Vec<f32>>| Tensor::new(rows, CPU).unwrap().unsqueeze(2).unwrap().unsqueeze(3).unwrap();
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();

        let vars = VarMap::new();
        let mut before = start.concat();
        let weight = Var::from_tensor(&matrix(start)).unwrap();
        vars.data().lock().unwrap().insert("conv.weight".into(), weight.clone());
        let mut optimizer = Optimizer::new(&vars, OptimizerConfig::Muon(config)).unwrap();
        for ((gradient, after), lr) in gradients.into_iter().zip(after).zip(&lrs) {
            let loss = (weight.as_tensor() * matrix(gradient)).unwrap().sum_all().unwrap();
            optimizer.step(&loss.backward().unwrap(), *lr).unwrap();
            let (found, after) = (values(&weight), after.concat());
            let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
            let (error, step) = (distance(&found, &after), distance(&after, &before));
            assert!(error <= 1e-4 * step, "{options:?}: {error} away after a step of {step}");
            before = after;
        }
    }
}

/// What Muon has no matrix of, or what a bias belongs to, is AdamW's.
#[test]
fn muon_is_adamw_but_for_matrices() {
    let muon = MuonConfig { decay_norm_and_bias: false, ..MuonConfig::default() };
    let adamw =
        AdamWConfig { lr: muon.lr, weight_decay: muon.weight_decay, decay_norm_and_bias: false, ..Default::default() };
    let shapes: [(&str, &[usize]); 7] = [
        ("pointwise.weight", &[4, 6, 1, 1]),
        ("squeeze.weight", &[4, 6, 1, 1]),
        ("squeeze.bias", &[4]),
        ("depthwise.weight", &[6, 1, 3, 3]),
        ("stem.weight", &[4, 3, 3, 3]),
        ("norm.weight", &[4]),
        ("linear.weight", &[4, 6]),
    ];
    let stepped = |config| {
        let vars = VarMap::new();
        let mut loss = Tensor::new(0f32, CPU).unwrap();
        for (name, shape) in shapes {
            let wave = Tensor::arange(1f32, 1.0 + shape.iter().product::<usize>() as f32, CPU).unwrap();
            let var = Var::from_tensor(&wave.sin().unwrap().reshape(shape).unwrap()).unwrap();
            loss = (loss + var.sqr().unwrap().sum_all().unwrap()).unwrap();
            vars.data().lock().unwrap().insert(name.into(), var);
        }
        Optimizer::new(&vars, config).unwrap().step(&loss.backward().unwrap(), 0.01).unwrap();
        let map = vars.data().lock().unwrap();
        shapes.map(|(name, _)| map[name].flatten_all().unwrap().to_vec1::<f32>().unwrap())
    };
    let (found, expected) = (stepped(OptimizerConfig::Muon(muon)), stepped(OptimizerConfig::AdamW(adamw)));
    assert_ne!(found[0], expected[0], "the pointwise convolution");
    assert_eq!(found[1..], expected[1..]);
}

#[test]
fn schedules_step_by_step() {
    for case in fixture().schedules {
        let schedule: Schedule = case.name.parse().unwrap();
        let optimizer = OptimizerConfig::Sgd(SgdConfig { lr: 1.0, ..SgdConfig::default() });
        let config = TrainConfig { epochs: 1, optimizer, schedule, final_lr: case.r#final, ..TrainConfig::default() };
        assert_eq!(case.factors.len(), case.total);
        for (step, expected) in case.factors.iter().enumerate() {
            let got = config.lr(step, case.total);
            assert!(
                (got - expected).abs() < 1e-9,
                "{schedule} {}: step {step}: {got}, expected {expected}",
                case.total
            );
        }
    }
}

#[test]
fn moving_averages_step_by_step() {
    for EmaCase { decay, steps, after } in fixture().ema {
        let vars = VarMap::new();
        let weight = Var::zeros((2, 3), DType::F32, CPU).unwrap();
        let mean = Var::zeros(3, DType::F32, CPU).unwrap();
        let all = [("weight", &weight), ("running_mean", &mean)];
        vars.data().lock().unwrap().extend(all.map(|(name, var)| (name.to_string(), var.clone())));
        let mut ema = Ema::new(&vars, decay).unwrap();
        for (step, after) in steps.iter().zip(&after) {
            weight.set(&Tensor::new(step.weight.clone(), CPU).unwrap()).unwrap();
            mean.set(&Tensor::new(step.running_mean.clone(), CPU).unwrap()).unwrap();
            ema.update().unwrap();
            ema.swap().unwrap();
            let what = format!("decay {decay}");
            close(&weight.flatten_all().unwrap().to_vec1().unwrap(), &after.weight.concat(), 1e-6, &what);
            close(&mean.to_vec1().unwrap(), &after.running_mean, 1e-6, &what);
            ema.swap().unwrap();
            assert_eq!(weight.to_vec2::<f32>().unwrap(), step.weight);
        }
        assert_eq!(ema.updates(), steps.len() as u64);
    }
}
