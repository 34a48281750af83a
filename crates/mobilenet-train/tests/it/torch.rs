//! Loss, optimizers and schedules against the numbers in `fixtures/torch.json`, which `fixtures/make_torch_json.py` made.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use candle_nn::VarMap;
use mobilenet_train::{Optimizer, OptimizerConfig, Schedule, cross_entropy};
use serde::Deserialize;

const CPU: &Device = &Device::Cpu;

#[derive(Deserialize)]
struct Fixture {
    losses: Vec<LossCase>,
    optimizers: Optimizers,
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

#[derive(Deserialize)]
struct OptimizerCase {
    config: OptimizerConfig,
    after: Vec<Params>,
}

#[derive(Deserialize)]
struct ScheduleCase {
    name: String,
    total: usize,
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
fn schedules_step_by_step() {
    for case in fixture().schedules {
        let schedule: Schedule = case.name.parse().unwrap();
        assert_eq!(case.factors.len(), case.total);
        for (step, expected) in case.factors.iter().enumerate() {
            let got = schedule.factor(step, case.total, 0);
            assert!(
                (got - expected).abs() < 1e-9,
                "{schedule} {}: step {step}: {got}, expected {expected}",
                case.total
            );
        }
    }
}
