//! Weights under timm's names give timm's logits, and go back to timm's names.
//!
//! `fixtures/timm_parity.py` computes the logits with weights that are functions of timm's names. The names are not in
//! the fixture: they are what `convert` makes of torchvision's, and the fixture's digest says whether they are right.

mod hashed;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use hashed::{hashed, weight};
use mobilenet_common::random::fnv1a;
use mobilenet_models::weights::{self, Naming};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};
use serde::Deserialize;

/// Of the logits' norm.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Case {
    timm: String,
    arch: Arch,
    width_mult: f64,
    /// FNV-1a of a line for each tensor: its name and its shape.
    names: String,
    tensors: usize,
    logits: Vec<Vec<f64>>,
    eps_matters: f64,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/timm_parity.json")).unwrap()
}

fn model(case: &Case) -> (MobileNet, VarMap) {
    let vars = VarMap::new();
    let config = ModelConfig { width_mult: case.width_mult, ..ModelConfig::new(case.arch, 7, Preset::Imagenet) };
    let model = MobileNet::new(&config, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu)).unwrap();
    (model, vars)
}

fn tensors(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// A file of hashed weights under timm's names.
fn timm_file(case: &Case, folder: &Path) -> std::path::PathBuf {
    let (ours, theirs) = (folder.join("ours.safetensors"), folder.join("theirs.safetensors"));
    weights::save(&model(case).1, &ours).unwrap();
    let conversion = weights::convert(&ours, &theirs, Naming::Timm).unwrap();
    assert_eq!((conversion.tensors, conversion.from), (case.tensors, Naming::Torchvision));
    let mut hashed = tensors(&theirs);
    let mut lines: Vec<String> = hashed.iter().map(|(name, tensor)| format!("{name} {:?}", tensor.dims())).collect();
    lines.sort();
    assert_eq!(format!("{:016x}", fnv1a(lines.join("\n").as_bytes())), case.names, "{}", case.timm);
    for (name, tensor) in &mut hashed {
        *tensor = Tensor::from_vec(weight(name, tensor.dims(), false), tensor.dims(), &Device::Cpu).unwrap();
    }
    candle_core::safetensors::save(&hashed, &theirs).unwrap();
    theirs
}

#[test]
fn logits_are_timms() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = timm_file(&case, folder.path());
        let (model, vars) = model(&case);
        let report = weights::load(&vars, &file).unwrap();
        assert_eq!((report.naming, report.loaded), (Naming::Timm, case.tensors), "{}", case.timm);
        assert_eq!(report.eps_folded, case.arch.is_v3());
        let images: Vec<f32> = hashed("timm images", 2 * 3 * 64 * 64).map(|u| (u * 2.0) as f32).collect();
        let images = Tensor::from_vec(images, (2, 3, 64, 64), &Device::Cpu).unwrap();
        let logits = model.forward_t(&images, false).unwrap().to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
        let pairs = logits.iter().flatten().zip(case.logits.iter().flatten());
        let off = pairs.map(|(found, expected)| (found - expected).powi(2)).sum::<f64>().sqrt();
        let norm = case.logits.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
        assert!(off / norm < TOLERANCE, "{}: off by {:e}", case.timm, off / norm);
        assert!(case.eps_matters > 10.0 * TOLERANCE, "a wrong eps would show");
    }
}

/// From timm's names to torchvision's and back: the same numbers but for what two roundings of a variance cost.
#[test]
fn names_go_there_and_back() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = timm_file(&case, folder.path());
        let (ours, back) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        let there = weights::convert(&file, &ours, Naming::Torchvision).unwrap();
        assert_eq!((there.network.arch, there.network.num_classes, there.from), (case.arch, 7, Naming::Timm));
        assert!((there.network.width_mult - case.width_mult).abs() < 1e-9);
        weights::convert(&ours, &back, Naming::Timm).unwrap();
        let (before, after) = (tensors(&file), tensors(&back));
        assert_eq!(before.len(), after.len());
        for (name, tensor) in before {
            let difference = (tensor - &after[&name]).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() <= 2e-7, "{name}");
        }
    }
}

#[test]
fn networks_are_recognized() {
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        let file = timm_file(&case, folder.path());
        let found = weights::inspect(&file).unwrap();
        let network = found.network.unwrap();
        assert_eq!((network.arch, network.width_mult, network.num_classes), (case.arch, case.width_mult, 7));
        assert!(found.problems.is_empty() && found.naming == Naming::Timm);

        // One tensor less: the network is the same, and the tensor is missing.
        let mut tensors = tensors(&file);
        tensors.remove("bn1.bias").unwrap();
        candle_core::safetensors::save(&tensors, &file).unwrap();
        let found = weights::inspect(&file).unwrap();
        assert_eq!(found.network.unwrap().arch, case.arch);
        let problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems[0].starts_with("missing features.0.1.bias"), "{problems:?}");
        let error = weights::convert(&file, folder.path().join("out"), Naming::Torchvision).unwrap_err();
        assert!(error.to_string().contains("1 tensor: missing features.0.1.bias"), "{error}");
    }
}

#[test]
fn timm_has_no_steps_between_v2_and_v3() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let vars = VarMap::new();
    let config = ModelConfig { width_mult: 0.05, ..ModelConfig::new(Arch::V2HSwish, 7, Preset::Cifar) };
    MobileNet::new(&config, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu)).unwrap();
    weights::save(&vars, &path).unwrap();
    let error = weights::convert(&path, folder.path().join("out"), Naming::Timm).unwrap_err().to_string();
    assert!(error.ends_with("which timm does not have"), "{error}");
}
