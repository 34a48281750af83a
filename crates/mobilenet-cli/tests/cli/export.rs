//! What is exported answers as the run does, also after some training, and what cannot be exported is refused.

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{Place, assert_fails, read, text};
use serde_json::{Value, json};

fn close(found: &Value, expected: &Value, within: f64) -> bool {
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    (found - expected).abs() <= within * expected.abs().max(1.0)
}

#[test]
fn shipped_networks_answer_as_the_run_does() {
    let place = Place::new();
    image::RgbImage::from_fn(90, 50, |x, y| image::Rgb([x as u8, y as u8, 99])).save(place.path("a.png")).unwrap();
    for model in ["v1", "v2", "v3-small"] {
        let shape = format!("--model {model} --width 0.35 --data-dir data --epochs 2 --batch-size 8");
        place.run(&format!("train {shape} --out {model}"));
        let eval = place.json(&format!("eval --run {model} --json"));
        let exported = place.json(&format!("export --run {model} --out {model}.safetensors --json"));
        assert_eq!(exported["precision"], "float32");
        assert_eq!(exported["bytes"], read(place.path(&format!("{model}.safetensors"))).len());

        let shipped = place.json(&format!("eval --model-file {model}.safetensors --data-dir data --json"));
        assert_eq!((&shipped["test_top1"], &shipped["predicted"]), (&eval["test_top1"], &eval["predicted"]), "{model}");
        assert!(
            close(&shipped["test_loss"], &eval["test_loss"], 1e-5),
            "{model}: {} {}",
            shipped["test_loss"],
            eval["test_loss"]
        );
        let of = |what: &str| place.json(&format!("predict {what} a.png --json"))["images"][0]["predictions"].clone();
        let (by_run, by_file) = (of(&format!("--run {model}")), of(&format!("--model-file {model}.safetensors")));
        for (found, expected) in by_file.as_array().unwrap().iter().zip(by_run.as_array().unwrap()) {
            assert_eq!(found["label"], expected["label"], "{model}");
            assert!(close(&found["probability"], &expected["probability"], 1e-5), "{model}: {found} {expected}");
        }

        // Half the size; answers close to those of the weights before they were rounded.
        let bf16 = place.json(&format!("export --run {model} --out {model}-bf16.safetensors --bf16 --report --json"));
        let (steps, changes) = (bf16["steps"].as_array().unwrap(), &bf16["changes"]);
        assert_eq!((&bf16["precision"], changes), (&json!("bf16"), &json!(["rounded to bf16"])), "{model}");
        assert_eq!((steps[1]["what"].as_str(), &steps[1]["bytes"]), (Some("rounded to bf16"), &bf16["bytes"]));
        let share = bf16["bytes"].as_f64().unwrap() / exported["bytes"].as_f64().unwrap();
        assert!(share < 0.55, "{model}: {share}");
        let rounded = place.json(&format!("eval --model-file {model}-bf16.safetensors --data-dir data --json"));
        assert!(rounded["precision"] == "bf16" && shipped["precision"] == "float32", "{model}");
        assert!(close(&rounded["test_loss"], &shipped["test_loss"], 0.02), "{model}: {}", rounded["test_loss"]);
        let by_bf16 = of(&format!("--model-file {model}-bf16.safetensors"));
        for (found, expected) in by_bf16.as_array().unwrap().iter().zip(by_file.as_array().unwrap()) {
            assert!(close(&found["probability"], &expected["probability"], 0.02), "{model}: {found} {expected}");
        }
        let bench = place.run(&format!("bench --model-file {model}-bf16.safetensors --warmup 1 --iterations 2"));
        assert!(bench.contains(&format!("{model} in bf16")), "{bench}");

        // Threads change no bit, 8 bits little.
        let int8 = format!("export --run {model} --out {model}-int8.safetensors --int8 --calibrate 32 --report --json");
        let int8 = place.json(&int8);
        // Three ways to end a range, and for V1 and V2, where channels can be equalized, each with that too.
        let ways = int8["tried"].as_array().unwrap();
        assert_eq!(int8["precision"], "int8");
        assert!(ways.len() == 6 || ways.len() == 3 && model == "v3-small", "{model}: {ways:?}");
        assert_eq!(int8["steps"].as_array().unwrap().len(), 2);
        let noise = int8["noise"].as_array().unwrap();
        assert!(noise.iter().all(|layer| layer["signal_to_noise_db"].as_f64().unwrap() > 3.0), "{model}: {noise:?}");
        assert!(int8["bytes"].as_u64() < exported["bytes"].as_u64());
        let of = |threads: usize| {
            let line = format!("--threads {threads} eval --model-file {model}-int8.safetensors --data-dir data --json");
            place.json(&line)["test_loss"].clone()
        };
        assert_eq!(of(1), of(3));
        assert!(close(&of(1), &shipped["test_loss"], 0.1), "{model}: {} {}", of(1), shipped["test_loss"]);
        let bench =
            place.json(&format!("bench --model-file {model}-int8.safetensors --warmup 1 --iterations 3 --json"));
        assert!(bench["latency_ms"]["p50"].as_f64().unwrap() > 0.0 && bench["precision"] == "int8");
        place.run(&format!("export --run {model} --out {model}.onnx --int8 --calibrate 8"));
    }
    let pieces = place.json("export --run v3-small --out pieces.safetensors --activation pieces:5 --json");
    assert!(pieces["changes"][0].as_str().unwrap().starts_with("5 straight pieces for "), "{pieces}");
    let shipped = text(&place.command("bench --model-file pieces.safetensors --iterations 2").output().unwrap().stdout);
    assert!(shipped.contains("v3-small in float32"), "{shipped}");
}

#[test]
fn what_was_changed_is_trained_a_little_more() {
    let place = Place::new();
    place.run(&format!("{} --validation 16", place.train("run")));
    for (options, changes) in [
        ("--activation relu6 --finetune-epochs 3", ["as trained", "ReLU6 for ", "fine-tuned for 3 epochs"]),
        ("--int8 --qat-epochs 3 --qat-lr 3e-4", ["as trained", "8 bits, ranges by ", "trained in 8 bits for 3 epochs"]),
    ] {
        let line = format!("export --run run --out a.safetensors {options}");
        let report = place.json(&format!("{line} --json"));
        let steps = report["steps"].as_array().unwrap();
        for (step, what) in steps.iter().zip(changes) {
            assert!(step["what"].as_str().unwrap().starts_with(what), "{step} {what}");
            assert!(step["images"] == "validation" && step["image_count"] == 16 && step["latency_ms_p50"].is_number());
        }
        let loss = |step: usize| steps[step]["loss"].as_f64().unwrap();
        assert!(steps.len() == 3 && loss(2) < loss(1), "{options}: {steps:?}");
        assert_eq!(report["changes"].as_array().unwrap().len(), 2);
        let bytes = read(place.path("a.safetensors"));
        assert_eq!(steps[2]["bytes"], bytes.len());

        // The same once more gives the same bytes, and leaves nothing else.
        let said = place.run(&line);
        assert!(said.contains("of 16 validation images") && said.contains(changes[2]), "{said}");
        assert!(read(place.path("a.safetensors")) == bytes, "{options}: other bytes");
        let names = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with('a')).collect();
        assert_eq!(names, ["a.safetensors"]);
    }
}

#[test]
fn an_interrupted_training_leaves_no_file_and_goes_on() {
    let place = Place::new();
    place.run(&(place.train("run") + " --limit-train 48"));
    let line = |out: &str| format!("export --run run --out {out}.safetensors --int8 --qat-epochs 6");
    place.run(&line("whole"));
    let mut child = place.command(&line("killed")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let folder = place.path("killed.safetensors.trained-in-8-bits");
    let started = Instant::now();
    while std::fs::read(folder.join("metrics.jsonl")).map_or(true, |lines| lines.is_empty()) {
        assert!(started.elapsed() < Duration::from_secs(60), "no first epoch");
        sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success(), "it was over before it was killed");
    assert!(!place.path("killed.safetensors").exists());

    let other = place.command(&(line("killed") + " --qat-lr 1e-3")).output().unwrap();
    let expected = "goes on from killed.safetensors.trained-in-8-bits, which may be removed: ";
    assert_fails(&other, "with another learning rate", 1, expected);
    place.run(&line("killed"));
    assert!(read(place.path("whole.safetensors")) == read(place.path("killed.safetensors")), "other bytes");
    assert!(!folder.exists());
}

#[test]
fn what_cannot_be_exported_is_refused() {
    let place = Place::new();
    place.run(&(place.train("run") + " --limit-train 16 --limit-test 8"));
    std::fs::write(place.path("junk.safetensors"), "junk").unwrap();
    for (line, status, expected) in [
        ("export --run run --out x.bin", 1, "--out x.bin: expected a name that ends in .safetensors or .onnx"),
        ("export --run nowhere --out x.onnx", 1, "nowhere: no such folder"),
        ("export --run run --out no/x.onnx", 1, "cannot write no/x.onnx"),
        ("export --run run --out x.onnx --activation relu", 1, "has no activation that this would take the place of"),
        (
            "export --run run --out x.onnx --activation pieces:9",
            2,
            "expected relu6, relu or pieces:N with N from 1 to 7",
        ),
        ("export --run run --out x.onnx --bf16", 1, "--bf16: expected --out FILE.safetensors, found x.onnx"),
        ("export --run run --out x.onnx --int8 --calibrate 3", 2, "expected 4 to 50000, found 3"),
        (
            "export --run run --out x.onnx --int8 --qat-epochs 0",
            2,
            "expected a whole number, at least 1 and at most 1,000",
        ),
        ("eval --model-file run/model.safetensors", 1, "run/model.safetensors: not a network for this runtime"),
        ("bench --model-file junk.safetensors", 1, "junk.safetensors: not a safetensors file"),
        ("predict --model-file none.safetensors a.png", 1, "cannot read none.safetensors"),
    ] {
        assert_fails(&place.command(line).output().unwrap(), line, status, expected);
    }
    let both = place.command("export --run run --out x.safetensors --bf16 --int8").output().unwrap();
    assert_eq!(both.status.code(), Some(2));
    assert!(text(&both.stderr).starts_with("error: the argument '--bf16' cannot be used with '--int8'\n"));
    std::fs::remove_file(place.path("run/model.safetensors")).unwrap();
    let line = "export --run run --out x.safetensors";
    assert_fails(&place.command(line).output().unwrap(), line, 1, "run: holds no model.safetensors");
    assert!(!place.path("x.safetensors").exists());
}
