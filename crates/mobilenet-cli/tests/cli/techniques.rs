//! What a training can be told beyond optimizer and schedule, through the real program.

use serde_json::Value;

use crate::common::{Place, assert_fails, read, text};

/// A training of the smallest network that ends in seconds.
fn train(place: &Place, out: &str, options: &str) -> Value {
    place.json(&format!("{} {options} --epochs 2 --limit-train 64 --json", place.train(out).replace("--epochs 3 ", "")))
}

fn config(place: &Place, run: &str) -> Value {
    serde_json::from_slice(&read(place.path(run).join("config.json"))).unwrap()
}

#[test]
fn the_fast_recipe_and_what_is_changed_of_it() {
    let place = Place::new();
    let options =
        "--recipe fast --ema 0.5 --precise-bn 2 --final-lr 0.1 --low-resolution 16 --low-resolution-share 0.5";
    let record = train(&place, "run", options);
    assert_eq!(record["weights"], "last epoch, moving average 0.5");
    let config = config(&place, "run");
    assert_eq!((&config["recipe"], &config["train"]["epochs"]), (&"fast".into(), &2.into()));
    assert_eq!(config["train"]["optimizer"]["name"], "muon");
    assert_eq!(config["train"]["low_resolution"]["size"], 16);
    assert_eq!((&config["train"]["precise_bn"], &config["train"]["final_lr"]), (&2.into(), &0.1.into()));
    // The figures are those of the average, which is what the folder holds.
    let eval = place.json("eval --run run --json");
    assert_eq!(eval["test_top1"], record["final"]["test_top1"]);
    assert!(eval["test_top1_mirrored"].as_f64().is_some());
    // So are those of a run that is cut off before its end.
    for file in ["model.safetensors", "train.json"] {
        std::fs::remove_file(place.path("run").join(file)).unwrap();
    }
    assert_eq!(place.json("eval --run run --json")["test_loss"], eval["test_loss"]);
    place.run("train --resume --out run");
    // The same command gives the same weights.
    train(&place, "again", options);
    let weights = |run: &str| read(place.path(run).join("model.safetensors"));
    assert_eq!(weights("run"), weights("again"));
}

#[test]
fn mixed_erased_and_accumulated() {
    let place = Place::new();
    for (out, options) in [
        ("mixup", "--mixup 0.2 --random-erasing 0.5 --accumulate 2"),
        ("cutmix", "--cutmix 1 --alternate-flip --reflect --bias-lr 2"),
    ] {
        let record = train(&place, out, options);
        assert!(record["final"]["train_loss"].as_f64().is_some_and(f64::is_finite), "{record}");
        let augment = config(&place, out)["train"]["augment"]["mix"]["name"].clone();
        assert_eq!(augment, out);
    }
}

#[test]
fn a_teacher_teaches_its_own_classes_only() {
    let place = Place::new();
    train(&place, "teacher", "");
    train(&place, "student", "--teacher teacher --temperature 2 --teacher-weight 0.9 --seed 2");
    let student = config(&place, "student");
    assert_eq!(student["teacher"], "teacher");
    assert_eq!(student["train"]["distillation"]["weight"], 0.9);

    let line =
        "train --model v3-small --width 0.35 --data shapes10 --limit-train 64 --epochs 1 --teacher teacher --out other";
    let output = place.command(line).output().unwrap();
    assert_fails(&output, "a teacher of other classes", 1, "--teacher: teacher knows other classes");
    let output = place.command(&(place.train("r") + " --teacher nowhere")).output().unwrap();
    assert_fails(&output, "a teacher that is not there", 1, "nowhere: no such folder");
}

#[test]
fn a_model_file_teaches_as_its_run_does() {
    let place = Place::new();
    train(&place, "teacher", "");
    place.run("export --run teacher --out float32.safetensors");
    place.run("export --run teacher --out int8.safetensors --int8 --calibrate 16");
    let loss = |out: &str, teacher: &str| {
        let record = train(&place, out, &format!("--teacher {teacher} --teacher-weight 0.9 --seed 2"));
        record["final"]["train_loss"].as_f64().unwrap()
    };
    let (by_run, by_file) = (loss("by-run", "teacher"), loss("by-file", "float32.safetensors"));
    assert!((by_run - by_file).abs() < 1e-3 * by_run, "{by_run} {by_file}");
    assert_eq!(config(&place, "by-file")["teacher"], "float32.safetensors");
    // 8 bits teach a little differently, but the number of threads changes no bit.
    let weights = |run: &str| read(place.path(run).join("model.safetensors"));
    loss("threads-1", "int8.safetensors --threads 1");
    loss("threads-3", "int8.safetensors --threads 3");
    assert_eq!(weights("threads-1"), weights("threads-3"));
    assert_ne!(weights("threads-1"), weights("by-file"));
    // A run that goes on has the same teacher.
    place.run("train --resume --epochs 3 --out by-file");
    assert_eq!(config(&place, "by-file")["teacher"], "float32.safetensors");
    let output = place.command("train --resume --teacher teacher --epochs 4 --out by-file").output().unwrap();
    let expected = "the run was started with other settings: teacher is \"teacher\", was \"float32.safetensors\"";
    assert_fails(&output, "another teacher", 1, expected);
}

#[test]
fn a_model_file_that_cannot_teach_is_named_with_what_is_expected() {
    let place = Place::new();
    train(&place, "teacher", "");
    place.run("export --run teacher --out file.safetensors");
    let shapes = "train --model v3-small --width 0.35 --data shapes10 --limit-train 64 --epochs 1 --out r";
    let own = place.train("r");
    for (line, expected) in [
        (
            format!("{shapes} --teacher file.safetensors"),
            "--teacher: file.safetensors knows other classes: expected circle as class 0, found airplane",
        ),
        (
            format!("{own} --mean-std cifar10 --teacher file.safetensors"),
            "--teacher: file.safetensors saw its images with another mean and standard deviation: expected 0.4914,0.4822,",
        ),
        (
            format!("{own} --image-size 24 --teacher file.safetensors"),
            "--teacher: file.safetensors takes images of 32x32, the training has images of 24x24",
        ),
        (
            format!("{own} --low-resolution 16 --low-resolution-share 0.5 --teacher file.safetensors"),
            "takes images of 32x32, the training also has --low-resolution 16; a run takes any",
        ),
        (
            format!("{own} --teacher teacher/model.safetensors"),
            "--teacher: teacher/model.safetensors: not a network for this runtime",
        ),
        (format!("{own} --teacher teacher/config.json"), "--teacher: teacher/config.json: not a safetensors file"),
    ] {
        let output = place.command(&line).output().unwrap();
        assert_fails(&output, &line, 1, expected);
    }
}

#[test]
fn fine_tuning_leaves_frozen_layers_alone() {
    let place = Place::new();
    train(&place, "first", "");
    let shape = "--data shapes10 --limit-train 64 --limit-test 20 --epochs 1 --batch-size 8";
    place.run(&format!("train --init-from first --freeze features {shape} --out tuned"));
    place.run(&format!("train --init-from first --body-lr 0.1 {shape} --out moved"));
    assert_eq!(config(&place, "tuned")["model"]["width_mult"], 0.35);
    let weights = |run: &str| read(place.path(run).join("model.safetensors"));
    let stem = |run: &str| {
        let bytes = weights(run);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        ["features.0.0.weight", "features.0.1.running_mean", "classifier.3.weight"]
            .map(|name| file.tensor(name).unwrap().data().to_vec())
    };
    let (first, tuned, moved) = (stem("first"), stem("tuned"), stem("moved"));
    assert_eq!((&tuned[0], &tuned[1]), (&first[0], &first[1]));
    assert_ne!(tuned[2], first[2]);
    assert_ne!(moved[0], first[0]);
    let output = place.command("train --init-from first --model v2 --out r").output().unwrap();
    assert_fails(&output, "another network", 1, "--init-from holds a v3-small, --model asks for v2");
}

#[test]
fn early_stopping_needs_held_out_images() {
    let place = Place::new();
    let record = train(&place, "run", "--validation 16 --early-stop 1");
    assert!(record["epochs"].as_u64().is_some_and(|n| n <= 2));
    let output = place.command(&(place.train("r") + " --early-stop 1")).output().unwrap();
    assert_fails(&output, "nothing held out", 1, "--early-stop: expected held-out images");
    assert!(text(&output.stderr).contains("nothing is chosen on test images"));
}
