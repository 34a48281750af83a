//! Weights of other programs: `train --init` takes them, `mobilenet weights` says what they are.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::common::{Place, SMALLEST, assert_fails};

fn tensors(path: impl AsRef<Path>) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

/// A place with a run of one epoch in it, and its weights.
fn trained() -> (Place, HashMap<String, Tensor>) {
    let place = Place::new();
    place.run(&place.train("run").replace("--epochs 3", "--epochs 1"));
    let weights = tensors(place.path("run/model.safetensors"));
    (place, weights)
}

fn renamed(weights: &HashMap<String, Tensor>, name: impl Fn(&str) -> String) -> HashMap<String, Tensor> {
    weights.iter().map(|(key, tensor)| (name(key), tensor.clone())).collect()
}

#[test]
fn a_prefix_is_taken_off_and_said() {
    let (place, weights) = trained();
    let wrapped = renamed(&weights, |name| format!("state_dict.model._orig_mod.{name}"));
    candle_core::safetensors::save(&wrapped, place.path("wrapped.safetensors")).unwrap();
    let line = place.train("new").replace("--epochs 3", "--epochs 1") + " --init wrapped.safetensors";
    let output = place.command(&line).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let expected = format!("initial weights: {} tensors loaded from state_dict.model._orig_mod\n", weights.len());
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn what_does_not_fit_is_one_short_line() {
    let (place, weights) = trained();
    let other = renamed(&weights, |name| format!("x{name}"));
    candle_core::safetensors::save(&other, place.path("other.safetensors")).unwrap();
    fs::write(place.path("lfs.pth"), "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n").unwrap();
    fs::write(place.path("page.pth"), "<!DOCTYPE html><html><body>404</body></html>").unwrap();
    for (file, expected) in [
        ("other.safetensors", "more"),
        ("lfs.pth", "found a Git LFS pointer: the file itself was not downloaded"),
        ("page.pth", "found an HTML page"),
    ] {
        let line = place.train("new") + " --init " + file;
        let output = place.command(&line).output().unwrap();
        assert_fails(&output, &line, 1, expected);
        let error = String::from_utf8(output.stderr).unwrap();
        let error = error.lines().last().unwrap();
        assert!(error.len() < 700 && error.contains(file), "{error}");
        let _ = fs::remove_dir_all(place.path("new"));
    }
    // A run of another network: the error says which.
    let line = "train --model v2 --data-dir data --epochs 1 --out new --init run/model.safetensors";
    let output = place.command(line).output().unwrap();
    assert_fails(&output, line, 1, "(the file holds MobileNetV3-Small, width 0.35, 10 classes)");
}

#[test]
fn weights_says_what_is_in_a_file() {
    let (place, mut weights) = trained();
    let text = place.run("weights run/model.safetensors");
    assert!(text.contains("features.0.0.weight  "), "{text}");
    let ending =
        "network: MobileNetV3-Small, width 0.35, 10 classes (--model v3-small --width 0.35), torchvision's names\n";
    assert!(text.ends_with(ending), "{text}");

    // A network without its last layer can start a training, not answer.
    let last = ["classifier.3.weight", "classifier.3.bias"];
    let [weight, bias] = last.map(|name| weights.remove(name).unwrap());
    candle_core::safetensors::save(&weights, place.path("body.safetensors")).unwrap();
    let text = place.run("weights body.safetensors");
    assert!(text.contains("network: MobileNetV3-Small, width 0.35, no classifier (--model v3-small"), "{text}");
    assert!(place.json("weights body.safetensors --json")["network"]["num_classes"].is_null());
    let line = "eval --weights body.safetensors --mean-std cifar10 --data-dir data";
    let output = place.command(line).output().unwrap();
    assert_fails(&output, line, 1, "body.safetensors: has no classifier.3: it can start a training (train --init)");
    let line = place.train("from-body").replace("--epochs 3", "--epochs 1") + " --init body.safetensors";
    let output = place.command(&line).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("classifier.3 is fresh: the file has none"), "{stderr}");
    weights.extend(last.map(str::to_owned).into_iter().zip([weight, bias]));

    weights.remove("features.0.1.bias").unwrap();
    candle_core::safetensors::save(&weights, place.path("less.safetensors")).unwrap();
    let text = place.run("weights less.safetensors");
    assert!(text.contains("1 tensors do not fit:\n  missing features.0.1.bias (expected [8])\n"), "{text}");
    let json = place.json("weights less.safetensors --json");
    assert_eq!(json["network"]["model"], "v3-small");
    assert_eq!((&json["network"]["fits"], json["tensors"].as_array().unwrap().len()), (&false.into(), weights.len()));
    assert!(json["tensors"].as_array().unwrap().iter().all(|tensor| tensor["dtype"] == "float32"));

    fs::write(place.path("text"), "hello there").unwrap();
    let output = place.command("weights text").output().unwrap();
    assert_fails(&output, "weights text", 1, "text: expected weights");
}

#[test]
fn weights_are_converted_to_timms_names_and_back() {
    let (place, weights) = trained();
    place.run("weights run/model.safetensors --convert timm.safetensors --names timm");
    let timm = tensors(place.path("timm.safetensors"));
    assert!(timm.contains_key("conv_stem.weight") && timm.len() == weights.len());
    assert_eq!(timm["conv_head.weight"].dims().len(), 4);

    let [model, width] = [SMALLEST[1], SMALLEST[3]];
    let json = place.json("weights timm.safetensors --json");
    assert_eq!((&json["network"]["model"], &json["names"]), (&model.into(), &"timm".into()));
    assert_eq!(json["network"]["width"].to_string(), width);
    place.run("weights timm.safetensors --convert back.safetensors");
    for (name, tensor) in tensors(place.path("back.safetensors")) {
        let difference = (&tensor - &weights[&name]).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-6, "{name}");
    }
    let line = place.train("new").replace("--epochs 3", "--epochs 1") + " --init timm.safetensors";
    let output = place.command(&line).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("timm's names, its batch norm's eps of 1e-5 made up for in the variances"), "{stderr}");

    for (line, expected) in [
        ("weights run/model.safetensors --convert out.pth", "--convert out.pth: expected a name that ends in"),
        ("weights run/model.safetensors --convert no/such/out.safetensors", "cannot write no/such/out.safetensors"),
    ] {
        assert_fails(&place.command(line).output().unwrap(), line, 1, expected);
    }
}

/// Weights of ImageNet's classes want its mean and standard deviation; another choice is kept, too.
#[test]
fn images_are_normalized_as_the_weights_expect() {
    let (place, mut weights) = trained();
    let last = &weights["classifier.3.weight"];
    let (inner, dtype) = (last.dims()[1], last.dtype());
    weights.insert("classifier.3.weight".into(), Tensor::zeros((1000, inner), dtype, &Device::Cpu).unwrap());
    weights.insert("classifier.3.bias".into(), Tensor::zeros(1000, dtype, &Device::Cpu).unwrap());
    candle_core::safetensors::save(&weights, place.path("imagenet.safetensors")).unwrap();
    let train = |out: &str, more: &str| {
        place.run(&(place.train(out).replace("--epochs 3", "--epochs 1") + more));
        let config: serde_json::Value =
            serde_json::from_slice(&fs::read(place.path(out).join("config.json")).unwrap()).unwrap();
        place.run(&format!("eval --run {out}"));
        place.run(&format!("train --resume --out {out}"));
        config["data"].clone()
    };
    let imagenet = train("a", " --init imagenet.safetensors");
    assert_eq!((&imagenet["fixed_mean_std"], imagenet["mean"][0].as_f64().unwrap() as f32), (&true.into(), 0.485));
    let data = train("b", " --init imagenet.safetensors --mean-std data");
    assert!(data["fixed_mean_std"].is_null() && data["mean"] != imagenet["mean"]);
    let own = train("c", " --mean-std 0.5,0.5,0.5,0.25,0.25,0.25");
    assert_eq!((&own["mean"], &own["std"]), (&vec![0.5; 3].into(), &vec![0.25; 3].into()));
    let line = place.train("d") + " --mean-std 0,0,0,0,0,0";
    assert_fails(&place.command(&line).output().unwrap(), &line, 2, "--mean-std");
}

/// Numbers that no network works with are refused wherever weights are read.
#[test]
fn weights_that_are_not_finite_are_refused() {
    let (place, mut weights) = trained();
    let bias = &weights["features.0.1.bias"];
    weights.insert("features.0.1.bias".into(), (bias * f64::NAN).unwrap());
    candle_core::safetensors::save(&weights, place.path("run/model.safetensors")).unwrap();
    let expected = "run/model.safetensors: features.0.1.bias holds NaN or infinite numbers";
    for line in [
        "eval --run run".to_owned(),
        "predict --run run picture.png".to_owned(),
        place.train("new") + " --init run/model.safetensors",
    ] {
        let image = image::RgbImage::new(32, 32);
        image.save(place.path("picture.png")).unwrap();
        assert_fails(&place.command(&line).output().unwrap(), &line, 1, expected);
    }
    // A checkpoint's, too; and a normalization that divides by nothing.
    fs::remove_file(place.path("run/model.safetensors")).unwrap();
    let path = place.path("run/checkpoint.safetensors");
    let mut checkpoint = tensors(&path);
    for (name, tensor) in &mut checkpoint {
        if name == "model.features.0.1.bias" {
            *tensor = (&*tensor * f64::INFINITY).unwrap();
        }
    }
    candle_core::safetensors::save(&checkpoint, &path).unwrap();
    let line = "eval --run run";
    assert_fails(&place.command(line).output().unwrap(), line, 1, "features.0.1.bias holds NaN or infinite numbers");

    let config = place.path("run/config.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    settings["data"]["std"] = serde_json::json!([0.0, 0.0, 0.0]);
    fs::write(&config, settings.to_string()).unwrap();
    assert_fails(
        &place.command(line).output().unwrap(),
        line,
        1,
        "config.json: data.std[0]: expected a number above 0",
    );
}
