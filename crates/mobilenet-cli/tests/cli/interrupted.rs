//! A training that is killed, or has no room to write, can be resumed and loses nothing.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Place, assert_fails, read, records, text};

const SIGKILL: i32 = 9;

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn killed_and_resumed_it_ends_in_the_same_bytes() {
    let place = Place::new();
    place.run(&place.train("whole"));

    // Killed half an epoch after the first one's metrics are there: in the second, or on a busy machine the third.
    let mut child = place.command(&place.train("killed")).stderr(Stdio::null()).spawn().unwrap();
    let epochs = || -> Vec<Value> {
        let lines = fs::read_to_string(place.path("killed/metrics.jsonl")).unwrap_or_default();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let started = Instant::now();
    while epochs().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "no first epoch");
        sleep(Duration::from_millis(2));
    }
    sleep(Duration::from_secs_f64(epochs()[0]["seconds"].as_f64().unwrap() / 2.0));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(SIGKILL), "it was over before it was killed");
    assert!(epochs().len() < 3 && !place.path("killed/train.json").exists());

    // Its checkpoint can be evaluated meanwhile.
    let eval = place.json("eval --run killed --json");
    assert_eq!(eval["weights"], "checkpoint of an unfinished training");
    assert_eq!(eval["test_loss"], epochs().last().unwrap()["test_loss"]);

    let other = place.command(&(place.train("killed") + " --resume --seed 7")).output().unwrap();
    assert_fails(&other, "resuming with another seed", 1, "train.seed is 7, was 1");
    fs::write(place.path("data/test_batch.bin"), records(23)).unwrap();
    let other = place.command("train --resume --out killed").output().unwrap();
    assert_fails(&other, "resuming on other data", 1, "the data is not the run's");
    fs::write(place.path("data/test_batch.bin"), records(24)).unwrap();

    place.run("train --resume --out killed");
    let weights = |run: &str| read(place.path(run).join("model.safetensors"));
    assert!(weights("whole") == weights("killed"), "the resumed run ends in other weights");
    let untimed = |run: &str| -> Vec<Value> {
        let lines = text(&read(place.path(run).join("metrics.jsonl")));
        let mut epochs: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for epoch in &mut epochs {
            for key in ["seconds", "eval_seconds", "elapsed_seconds", "images_per_second"] {
                epoch.as_object_mut().unwrap().remove(key);
            }
        }
        epochs
    };
    assert_eq!(untimed("whole"), untimed("killed"));
}

/// The program where no file may grow beyond `blocks` of 512 bytes: writing fails as on a full disk.
fn on_a_full_disk(place: &Place, blocks: u32, line: &str) -> Command {
    let program = place.command(line);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$0\" \"$@\"")]);
    shell.arg(program.get_program()).args(program.get_args()).current_dir(place.path(""));
    shell
}

#[test]
fn a_full_disk_leaves_the_earlier_files_as_they_were() {
    let place = Place::new();
    let train = place.train("run").replace("--epochs 3", "--epochs 1");
    // Room for the settings and a first checkpoint, not for one with the optimizer's state.
    let full = on_a_full_disk(&place, 3000, &train).output().unwrap();
    assert_fails(&full, "training on a full disk", 1, "run/checkpoint.safetensors");
    assert_eq!(names(&place.path("run")), ["config.json"]);

    // With room again it just starts.
    place.run(&train);
    place.run("eval --run run");
    let before: Vec<_> = names(&place.path("run")).into_iter().map(|name| read(place.path("run").join(name))).collect();
    let full = on_a_full_disk(&place, 1, "eval --run run").output().unwrap();
    assert_fails(&full, "evaluating on a full disk", 1, "run/eval.json");
    fs::remove_file(place.path("run/train.json")).unwrap();
    let full = on_a_full_disk(&place, 16, "train --resume --out run").output().unwrap();
    assert_fails(&full, "saving weights on a full disk", 1, "run/model.safetensors");
    assert_eq!(names(&place.path("run")).len(), before.len() - 1, "only train.json is gone, and nothing new is there");
    for (name, bytes) in
        ["checkpoint.safetensors", "config.json", "eval.json", "metrics.jsonl", "model.safetensors"].iter().zip(before)
    {
        assert!(read(place.path("run").join(name)) == bytes, "{name} has changed");
    }
}

/// Ctrl-C and SIGTERM: within seconds a checkpoint, the way on, the shell's exit status; resumed, the same bytes.
#[test]
fn asked_to_stop_it_writes_a_checkpoint_and_says_how_to_go_on() {
    let place = Place::new();
    place.run(&place.train("whole"));
    for (signal, status, word) in [("-INT", 130, "interrupted"), ("-TERM", 143, "terminated")] {
        let out = word;
        let child = place.command(&place.train(out)).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while !place.path(out).join("checkpoint.safetensors").exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "no first checkpoint");
            sleep(Duration::from_millis(2));
        }
        let first = read(place.path(out).join("checkpoint.safetensors"));
        sleep(Duration::from_millis(300));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let asked = Instant::now();
        let ended = child.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
        let stderr = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{stderr}");
        let last = stderr.lines().last().unwrap();
        assert!(last.starts_with(word), "{stderr}");
        assert!(last.ends_with(&format!("go on with: mobilenet train --resume --out {out}")), "{stderr}");
        // On a busy machine two seconds may be too short for a step.
        if last.contains("the checkpoint is written") {
            assert!(read(place.path(out).join("checkpoint.safetensors")) != first, "no checkpoint of what was done");
        }
        place.run(&format!("train --resume --out {out}"));
        let weights = |run: &str| read(place.path(run).join("model.safetensors"));
        assert!(weights("whole") == weights(out), "the resumed run ends in other weights");
    }
}

/// Work that cannot be gone on with ends at once, with a word.
#[test]
fn other_commands_end_at_once() {
    let place = Place::new();
    let line = "bench --model v2 --iterations 1000000";
    let child = place.command(line).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sleep(Duration::from_millis(1500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr).as_str()), (Some(130), "interrupted\n"));
}
