//! Bad input ends in one clear line and a non-zero exit status, never in a panic.

use std::fs;

use crate::common::{Place, assert_fails, read, records};

fn fails(place: &Place, line: &str, status: i32, expected: &str) {
    assert_fails(&place.command(line).output().unwrap(), line, status, expected);
}

#[test]
fn bad_options() {
    let place = Place::new();
    for (line, expected) in [
        ("train --model v2 --out r --epochs 0", "--epochs"),
        ("train --model v2 --out r --batch-size 0", "--batch-size"),
        ("train --model v2 --out r --width -1", "--width"),
        ("summary --model v2 --width -1", "--width"),
        ("summary --model v4", "v2, v2-hs, v2-hs-se, v2-hs-se-k5, v3-large, v3-small"),
        ("summary --model v2 --num-classes 0", "--num-classes"),
        ("bench --model v2 --batch 0", "--batch"),
        ("bench --model v2 --batch -1", "--batch"),
        ("train --model v2 --out r --epochs -inf", "--epochs"),
        ("bench --model v2 --threads 1000000", "--threads is 1000000, expected 1 to "),
        ("bench --model v2 --iterations 18446744073709551615", "--iterations"),
        ("bench --model v2 --device gpu", "cpu, cuda, cuda:N or metal"),
        ("data --data mnist", "cifar10"),
    ] {
        fails(&place, line, 2, expected);
    }
    for (line, expected) in [
        ("summary --model v2 --width 1e9", "error: --width: expected a number above 0, at most 8, found 1000000000"),
        ("summary --model v2 --width 1e308", "found 1e308"),
        ("summary --model v2 --reduced-tail", "error: --reduced-tail: "),
        ("train --model v2 --out r --epochs 2 --warmup-epochs 3", "error: --warmup-epochs: expected"),
        ("train --resume --out r", "no run to resume"),
    ] {
        fails(&place, line, 1, expected);
    }
    if !cfg!(feature = "cuda") {
        fails(&place, "bench --model v2 --device cuda", 1, "--features cuda");
    }
    assert!(!place.path("r").exists(), "a refused training must leave nothing behind");
}

#[test]
fn an_instruction_set_that_the_processor_lacks() {
    let place = Place::new();
    let line = "summary --model v2";
    let output = place.command(line).env("MOBILENET_SIMD", "mmx").output().unwrap();
    assert_fails(
        &output,
        line,
        2,
        "MOBILENET_SIMD: unknown instruction set \"mmx\": expected one of baseline, neondot, avx2",
    );
    assert!(place.command(line).env("MOBILENET_SIMD", "baseline").output().unwrap().status.success());
}

#[test]
fn bad_data() {
    let place = Place::new();
    let folder = |name: &str, files: &[(&str, &[u8])]| {
        for (file, bytes) in files {
            let path = place.path(name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    };
    let good = records(16);
    let mut label = good.clone();
    label[3073 * 2] = 10;
    fs::create_dir(place.path("empty")).unwrap();
    folder("cut", &[("data_batch_1.bin", &good[..5000]), ("test_batch.bin", &good)]);
    folder("label", &[("data_batch_1.bin", &label), ("test_batch.bin", &good)]);
    folder("half", &[("data_batch_1.bin", &good)]);
    folder("noise", &[("train.parquet", &good[..900]), ("test.parquet", &good[..900])]);
    folder("short", &[("train.parquet", b"PAR1\0\0"), ("test.parquet", b"PAR1\0\0")]);
    let folders = ["train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/dog/d.png"];
    folder("pictures", &folders.map(|file| (file, &b"not a picture"[..])));
    for (name, expected) in [
        ("missing", "missing: "),
        ("empty", "empty"),
        ("cut", "data_batch_1.bin: truncated"),
        ("label", "label out of range: expected 0 to 9, found 10"),
        ("half", "test_batch.bin: missing"),
        ("noise", "train.parquet"),
        ("short", "train.parquet"),
        ("pictures", "not a picture"),
    ] {
        fails(&place, &format!("data --data-dir {name} --json"), 1, expected);
        fails(&place, &format!("train --model v2 --epochs 1 --data-dir {name} --out r"), 1, expected);
    }
    fails(&place, "data --data shapes10 --data-dir data", 1, "shapes10");
    fails(&place, "data --data cifar10", 1, "cifar10 is not available");
    fails(&place, "data --data folder", 1, "folder");
}

#[test]
fn bad_places() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    fails(&place, &place.train("file/below"), 1, "file/below");
    fails(&place, &place.train("file"), 1, "file");
    for command in ["eval", "predict a.png"] {
        fails(&place, &format!("{command} --run nowhere"), 1, "nowhere: no such folder");
        fails(&place, &format!("{command} --run data"), 1, "not a run");
    }
}

#[test]
fn bad_weights_and_pictures() {
    let place = Place::new();
    place.run(&place.train("run").replace("--epochs 3", "--epochs 1"));
    fs::write(place.path("text.png"), "no picture at all").unwrap();
    fails(&place, "predict --run run text.png", 1, "text.png: not a picture");
    fails(&place, "predict --run run missing.png", 1, "missing.png");

    // The final weights, then (in their absence) the checkpoint: cut short, of something else, of another network.
    let other = place.train("other").replace("v3-small", "v2").replace("--epochs 3", "--epochs 1");
    place.run(&other);
    for name in ["model.safetensors", "checkpoint.safetensors"] {
        let path = place.path("run").join(name);
        let good = read(&path);
        for (bytes, expected) in [
            (good[..good.len() / 2].to_vec(), name),
            (good[..4].to_vec(), name),
            (b"no weights, but some longer text".to_vec(), name),
            (Vec::new(), name),
            (read(place.path("other").join(name)), "features."),
        ] {
            fs::write(&path, bytes).unwrap();
            fails(&place, "eval --run run", 1, expected);
            if name == "checkpoint.safetensors" {
                let _ = fs::remove_file(place.path("run/train.json"));
                fails(&place, "train --resume --out run", 1, name);
            } else {
                fails(&place, &(place.train("new") + " --init run/model.safetensors"), 1, expected);
                let _ = fs::remove_dir_all(place.path("new"));
            }
        }
        fs::remove_file(&path).unwrap();
    }
    fails(&place, "eval --run run", 1, "nothing has been trained yet");

    for settings in ["{", "{}", "[]"] {
        fs::write(place.path("run/config.json"), settings).unwrap();
        fails(&place, "eval --run run", 1, "config.json");
    }
}

/// A pipe without a writer, a device without an end: an error at once.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused() {
    let place = Place::new();
    place.run(&place.train("run").replace("--epochs 3", "--epochs 1"));
    let pipe = |name: &str| {
        let path = place.path(name);
        let _ = fs::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    pipe("pipe");
    for found in ["pipe", "/dev/zero", "data"] {
        let expected = "expected a regular file";
        let predicted = if found == "data" { "data: holds no pictures" } else { expected };
        fails(&place, &format!("predict --run run {found}"), 1, predicted);
        fails(&place, &(place.train("new") + &format!(" --init {found}")), 1, expected);
        assert!(!place.path("new").exists(), "what is no weights is refused before anything is made");
    }
    fs::create_dir(place.path("run/eval.json")).unwrap();
    fails(&place, "eval --run run --data-dir nowhere", 1, "run/eval.json: a folder, expected a regular file");

    // A link that leads nowhere does not make a run take the checkpoint's weights.
    fs::remove_dir(place.path("run/eval.json")).unwrap();
    fs::remove_file(place.path("run/model.safetensors")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("run/model.safetensors")).unwrap();
    fails(&place, "eval --run run", 1, "model.safetensors");
    fs::remove_file(place.path("run/model.safetensors")).unwrap();
    pipe("run/checkpoint.safetensors");
    fails(&place, "eval --run run", 1, "checkpoint.safetensors: a named pipe, expected a regular file");
    pipe("data/data_batch_1.bin");
    fails(&place, &place.train("new"), 1, "data_batch_1.bin: a named pipe, expected a regular file");
}

#[cfg(unix)]
#[test]
fn a_folder_takes_one_training_at_a_time() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    let lock = fs::File::open(place.path("run")).unwrap();
    lock.lock().unwrap();
    fails(&place, &place.train("run"), 1, "run: in use: another training is running there");
    assert!(!place.path("run/config.json").exists());
    // Not by dropping it: a program that another test is starting may still have a copy of it.
    lock.unlock().unwrap();
    place.run(&place.train("run").replace("--epochs 3", "--epochs 1"));
}
