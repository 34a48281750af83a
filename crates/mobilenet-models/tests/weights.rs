//! Weights from and to files: what comes back, and what is said of files that are no good.

mod hashed;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use hashed::{hashed, weight};
use mobilenet_models::weights::{self, FreshClassifier};
use mobilenet_models::{Arch, Error, MobileNet, ModelConfig, Preset, TensorProblem};

const ZIP: &[u8] = include_bytes!("fixtures/torch_zip.pth");
const LEGACY: &[u8] = include_bytes!("fixtures/torch_legacy.pth");
const CHECKPOINT: &[u8] = include_bytes!("fixtures/torch_checkpoint.pth");

fn values(vars: &VarMap) -> BTreeMap<String, Vec<f32>> {
    let vars = vars.data().lock().unwrap();
    vars.iter().map(|(name, var)| (name.clone(), var.flatten_all().unwrap().to_vec1().unwrap())).collect()
}

fn var_map(shapes: &[(&str, &[usize])]) -> VarMap {
    let vars = VarMap::new();
    for (name, shape) in shapes {
        let var = Var::zeros(*shape, DType::F32, &Device::Cpu).unwrap();
        vars.data().lock().unwrap().insert(name.to_string(), var);
    }
    vars
}

/// The variables of the network in `fixtures/torch_save.py`.
fn small() -> VarMap {
    var_map(&[
        ("features.0.0.weight", &[4, 3, 3, 3]),
        ("features.0.1.weight", &[4]),
        ("features.0.1.bias", &[4]),
        ("features.0.1.running_mean", &[4]),
        ("features.0.1.running_var", &[4]),
        ("classifier.1.weight", &[5, 4]),
        ("classifier.1.bias", &[5]),
    ])
}

/// A narrow model, its weights hashed with a salt.
fn model(arch: Arch, classes: usize, salt: &str) -> VarMap {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu);
    let config = ModelConfig { width_mult: 0.05, ..ModelConfig::new(arch, classes, Preset::Cifar) };
    MobileNet::new(&config, vb).unwrap();
    for (name, var) in vars.data().lock().unwrap().iter() {
        let values: Vec<f32> = hashed(&format!("{salt}{name}"), var.elem_count()).map(|u| u as f32).collect();
        var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu).unwrap()).unwrap();
    }
    vars
}

/// The error of loading `bytes`; the variables must not have changed.
fn failure(vars: &VarMap, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken-file");
    fs::write(&path, bytes).unwrap();
    let before = values(vars);
    let error = weights::load(vars, &path).expect_err("an error").to_string();
    assert_eq!(values(vars), before);
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(!error.contains('\n'), "{error}");
    error
}

fn saved(vars: &VarMap) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::save(vars, &path).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn what_is_saved_comes_back() {
    for arch in Arch::all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (a, b) = (model(arch, 10, "a"), model(arch, 10, "b"));
        weights::save(&b, &path).unwrap();
        weights::save(&a, &path).unwrap();
        let report = weights::load(&b, &path).unwrap();
        assert_eq!(report.loaded, values(&a).len());
        assert_eq!(report.fresh_classifier, None);
        assert_eq!(values(&b), values(&a));
        assert_eq!(saved(&b), fs::read(&path).unwrap(), "equal weights give equal bytes");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary file is left");
    }
}

#[test]
fn files_of_torch_save_are_read() {
    for (bytes, tolerance) in [(ZIP, 0.0), (LEGACY, 0.0), (CHECKPOINT, 1e-3)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("any name");
        fs::write(&path, bytes).unwrap();
        let vars = small();
        assert_eq!(weights::load(&vars, &path).unwrap().loaded, 7);
        for (name, var) in vars.data().lock().unwrap().iter() {
            let found: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
            for (found, expected) in found.iter().zip(weight(name, var.dims(), false)) {
                assert!((found - expected).abs() <= tolerance, "{name}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn a_classifier_for_other_classes_stays_fresh() {
    for (arch, name) in [(Arch::V2, "classifier.1"), (Arch::V3Small, "classifier.3")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (file, vars) = (model(arch, 100, "file"), model(arch, 10, "fresh"));
        weights::save(&file, &path).unwrap();
        let (before, file) = (values(&vars), values(&file));
        let report = weights::load(&vars, &path).unwrap();
        let fresh = FreshClassifier { name: name.to_string(), model_classes: 10, file_classes: 100 };
        assert_eq!(report.fresh_classifier, Some(fresh));
        assert_eq!(report.loaded, before.len() - 2);
        assert!(report.to_string().ends_with(&format!("{name} is fresh: it has 10 classes, the file's has 100")));
        for (key, value) in values(&vars) {
            let expected = if key.starts_with(name) { &before[&key] } else { &file[&key] };
            assert_eq!(&value, expected, "{key}");
        }
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_listed() {
    let bytes = saved(&var_map(&[("b", &[3, 2]), ("c", &[4]), ("d", &[1]), ("e.num_batches_tracked", &[1])]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, bytes).unwrap();
    let vars = var_map(&[("a", &[2]), ("b", &[2, 3]), ("c", &[4])]);
    let Err(Error::Mismatch { problems, .. }) = weights::load(&vars, &path) else { panic!("a mismatch") };
    assert_eq!(
        problems,
        [
            TensorProblem::Missing { name: "a".into(), expected: vec![2] },
            TensorProblem::Unexpected { name: "d".into(), found: vec![1] },
            TensorProblem::Shape { name: "b".into(), expected: vec![2, 3], found: vec![3, 2] },
        ]
    );
    let error = failure(&vars, &fs::read(&path).unwrap());
    assert!(
        error.ends_with(
            "3 tensors: missing a (expected [2]); unexpected d (found [1]); \
             b has another shape (expected [2, 3], found [3, 2])"
        ),
        "{error}"
    );
}

#[test]
fn weights_of_another_model_or_of_integers_are_refused() {
    let error = failure(&model(Arch::V2, 10, "v2"), &saved(&model(Arch::V3Small, 10, "v3")));
    assert!(error.contains("missing features.1.conv.0.0.weight"), "{error}");
    assert!(error.ends_with("; and 429 more (the file holds MobileNetV3-Small, width 0.05, 10 classes)"), "{error}");

    let header = r#"{"n":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend([0; 8]);
    let error = failure(&var_map(&[("n", &[1])]), &bytes);
    assert!(error.ends_with("n has another type (expected floating point, found I64)"), "{error}");
}

#[test]
fn files_that_are_no_weights_are_refused() {
    for (bytes, found) in [
        (&b""[..], "an empty file"),
        (b"\x89PNG\r\n\x1a\n and so on", "a PNG picture"),
        (b"PK", "a file that begins with the bytes 50 4b"),
    ] {
        let error = failure(&small(), bytes);
        assert!(error.ends_with(found), "{error}");
    }
    for (path, cause) in [("no/such/file", "cannot read"), (env!("CARGO_MANIFEST_DIR"), "cannot read")] {
        let error = weights::load(&small(), path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path}: {cause}: ")), "{error}");
    }
    let error = weights::save(&small(), Path::new("no/such/folder/model.safetensors")).unwrap_err().to_string();
    assert!(error.starts_with("no/such/folder/model.safetensors: cannot write: "), "{error}");
}

/// Each format cut at many lengths: always an error, never a panic, and the variables stay.
#[test]
fn files_cut_short_are_refused() {
    for bytes in [ZIP, LEGACY, CHECKPOINT, &saved(&small())[..]] {
        for length in (0..bytes.len()).step_by(37).chain(bytes.len() - 8..bytes.len()) {
            failure(&small(), &bytes[..length]);
        }
    }
}

/// One byte changed, here and there: a zip's checksums tell; the other formats have none, but nothing may panic or
/// allocate more than the file holds.
#[test]
fn damaged_files_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let (vars, good) = (small(), saved(&small()));
    for bytes in [ZIP, LEGACY, CHECKPOINT, &good[..]] {
        for (i, flip) in (0..bytes.len()).step_by(4).zip([0xff, 0x01, 0x80].into_iter().cycle()) {
            let mut damaged = bytes.to_vec();
            damaged[i] ^= flip;
            fs::write(&path, &damaged).unwrap();
            let _ = weights::load(&vars, &path);
        }
    }
    let number = weight("features.0.1.weight", &[4], false)[0].to_le_bytes();
    let entry = ZIP.windows(4).position(|window| window == number).unwrap();
    let mut damaged = ZIP.to_vec();
    damaged[entry] ^= 1;
    assert!(failure(&vars, &damaged).contains("damaged or incomplete PyTorch file: "));

    let mut huge = good.clone();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(failure(&vars, &huge).contains("damaged or incomplete safetensors file: "));
}
