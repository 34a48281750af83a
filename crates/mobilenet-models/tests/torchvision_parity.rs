//! Logits, losses, gradients and running statistics are torchvision's.
//!
//! The weights and images are made here as `tests/fixtures/torchvision_parity.py` makes them; the fixture holds what
//! torchvision computed from them in float64.

mod hashed;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use hashed::{hashed, weight};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};
use serde::Deserialize;

/// Of the largest logit, as an absolute value.
const LOGIT_TOLERANCE: f64 = 1e-4;
/// Of each gradient's norm.
const GRADIENT_TOLERANCE: f64 = 1e-3;
/// Of each running statistic's norm.
const STATISTIC_TOLERANCE: f64 = 1e-5;
/// Gradients that are exactly zero (a bias before a batch norm) must be below this share of the largest.
const ZERO_TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Case {
    arch: Arch,
    preset: Preset,
    num_classes: usize,
    batch: usize,
    /// The name their pixels are made from.
    images: String,
    #[serde(default = "one")]
    width_mult: f64,
    #[serde(default)]
    reduced_tail: bool,
    #[serde(default)]
    dilated: bool,
    eval: Expected,
    train: Expected,
}

#[derive(Deserialize)]
struct Expected {
    loss: f64,
    max_logit: f64,
    /// The first of each image.
    logits: Vec<Vec<f64>>,
    logits_digest: Digest,
    #[serde(default)]
    gradients: BTreeMap<String, Digest>,
    #[serde(default)]
    statistics: BTreeMap<String, Digest>,
}

/// A tensor's norm and its product with a hashed vector.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Digest(f64, f64);

fn one() -> f64 {
    1.0
}

/// timm's, in `fixtures/timm_v1.json`: torchvision has no such network.
#[test]
fn v1() {
    check_all(include_str!("fixtures/timm_v1.json"), Arch::V1, &Preset::ALL);
}

#[test]
fn v2() {
    check(Arch::V2, &Preset::ALL);
}

#[test]
fn v3_large() {
    check(Arch::V3Large, &Preset::ALL);
}

/// Among the cases: half the width, with the reduced tail and dilation.
#[test]
fn v3_small() {
    check(Arch::V3Small, &Preset::ALL);
}

/// torchvision has no such networks; the fixture's are made of its V2 and of V3's blocks.
#[test]
fn steps_from_v2_to_v3_large() {
    for arch in [Arch::V2HSwish, Arch::V2HSwishSe, Arch::V2HSwishSe5x5] {
        check(arch, &[Preset::Cifar]);
    }
}

fn check(arch: Arch, presets: &[Preset]) {
    check_all(include_str!("fixtures/torchvision_parity.json"), arch, presets);
}

/// The cases of a network that a fixture has; one for each of these presets at least.
fn check_all(fixture: &str, arch: Arch, presets: &[Preset]) {
    let cases: Vec<Case> = serde_json::from_str(fixture).unwrap();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.arch == arch).collect();
    assert!(presets.iter().all(|preset| cases.iter().any(|case| case.preset == *preset)));
    for case in cases {
        let what = format!("{} {}{}", case.arch, case.preset, if case.dilated { " dilated" } else { "" });
        eval(&case, &format!("{what} in evaluation"));
        train(&case, &format!("{what} in training"));
    }
}

fn eval(case: &Case, what: &str) {
    let (model, _vars) = model(case, false);
    let (images, labels) = batch(case);
    let logits = model.forward_t(&images, false).unwrap();
    check_logits(&logits, &labels, &case.eval, what);
}

fn train(case: &Case, what: &str) {
    let (model, vars) = model(case, true);
    let (images, labels) = batch(case);
    let logits = model.forward_t(&images, true).unwrap();
    let loss = check_logits(&logits, &labels, &case.train, what);

    let gradients = loss.backward().unwrap();
    let expected = &case.train.gradients;
    let largest = expected.values().map(|digest| digest.0).fold(0.0, f64::max);
    for (name, &expected) in expected {
        let found = digest(name, gradients.get(vars[name].as_tensor()).expect(name));
        let (scale, tolerance) =
            if expected.0 < 1e-9 * largest { (largest, ZERO_TOLERANCE) } else { (expected.0, GRADIENT_TOLERANCE) };
        check_digest(found, expected, scale * tolerance, &format!("{what}: gradient of {name}"));
    }
    assert_eq!(case.train.statistics.len() + expected.len(), vars.len());
    for (name, &expected) in &case.train.statistics {
        let found = digest(name, vars[name].as_tensor());
        check_digest(found, expected, expected.0 * STATISTIC_TOLERANCE, &format!("{what}: {name}"));
    }
}

/// The model without dropout, its weights hashed.
fn model(case: &Case, train: bool) -> (MobileNet, BTreeMap<String, Var>) {
    let config = ModelConfig {
        dropout: 0.0,
        width_mult: case.width_mult,
        reduced_tail: case.reduced_tail,
        dilated: case.dilated,
        ..ModelConfig::new(case.arch, case.num_classes, case.preset)
    };
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let model = MobileNet::new(&config, vb).unwrap();
    let vars: BTreeMap<String, Var> = vars.data().lock().unwrap().clone().into_iter().collect();
    for (name, var) in &vars {
        let values = weight(name, var.dims(), train);
        var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu).unwrap()).unwrap();
    }
    (model, vars)
}

fn batch(case: &Case) -> (Tensor, Tensor) {
    let size = case.preset.image_size();
    let n = case.batch;
    let pixels: Vec<f32> = hashed(&case.images, n * 3 * size * size).map(|u| u as f32 * 2.0).collect();
    let labels: Vec<u32> = (0..n).map(|i| (i * 7 % case.num_classes) as u32).collect();
    let device = &Device::Cpu;
    (Tensor::from_vec(pixels, (n, 3, size, size), device).unwrap(), Tensor::from_vec(labels, n, device).unwrap())
}

/// Checks logits and loss; returns the loss.
fn check_logits(logits: &Tensor, labels: &Tensor, expected: &Expected, what: &str) -> Tensor {
    let rows: Vec<Vec<f32>> = logits.to_vec2().unwrap();
    let tolerance = LOGIT_TOLERANCE * expected.max_logit;
    assert_eq!(rows.len(), expected.logits.len(), "{what}");
    for (found, expected) in rows.iter().zip(&expected.logits).flat_map(|(row, expected)| row.iter().zip(expected)) {
        let found = f64::from(*found);
        assert!((found - expected).abs() <= tolerance, "{what}: logit {found}, expected {expected}");
    }
    let norm = expected.logits_digest.0;
    check_digest(digest("logits", logits), expected.logits_digest, LOGIT_TOLERANCE * norm, &format!("{what}: logits"));
    let loss = candle_nn::loss::cross_entropy(logits, labels).unwrap();
    let found = f64::from(loss.to_scalar::<f32>().unwrap());
    assert!((found - expected.loss).abs() <= tolerance, "{what}: loss {found}, expected {}", expected.loss);
    loss
}

fn digest(name: &str, t: &Tensor) -> Digest {
    let values: Vec<f32> = t.flatten_all().unwrap().to_vec1().unwrap();
    let squares: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
    let product = values.iter().zip(hashed(&format!("digest {name}"), values.len())).map(|(&x, u)| f64::from(x) * u);
    Digest(squares.sqrt(), product.sum())
}

fn check_digest(found: Digest, expected: Digest, tolerance: f64, what: &str) {
    let close = |found: f64, expected: f64| (found - expected).abs() <= tolerance;
    assert!(
        close(found.0, expected.0) && close(found.1, expected.1),
        "{what}: {found:?}, expected {expected:?} within {tolerance:e}"
    );
}
