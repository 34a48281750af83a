//! Comparisons for tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use mobilenet_arch::{Network, Selection};
use mobilenet_schema::{Environment, Form};
use serde_json::{Value, json};

use super::{Gathered, Scope, gather};
use crate::plan::{Advice, Stage, run_name};

/// A small comparison, committed: two networks, one seed, twelve test images.
pub fn fixture() -> Gathered {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison");
    gather(&folder, Scope { pictures: true, ..Scope::default() }).unwrap()
}

/// A copy of the fixture to change; runs are folders as `mobilenet` leaves them, but without weights.
pub fn copy_of_fixture(name: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison");
    let to = std::env::temp_dir().join(format!("mobilenet-report-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&to);
    copy(&from, &to);
    to
}

/// A folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// Adds a network in a form, right on the first so many of twelve images, with the median latency of each round.
pub fn ship(out: &Path, network: &str, form: Form, right: usize, rounds: &[f64]) {
    const IMAGES: usize = 12;
    let labels = vec![0; IMAGES];
    let predicted: Vec<usize> = (0..IMAGES).map(|i| usize::from(i >= right)).collect();
    ship_answers(out, network, form, (labels, predicted), rounds);
}

/// The same with classes and answers of its own.
pub fn ship_answers(
    out: &Path,
    network: &str,
    form: Form,
    (labels, predicted): (Vec<usize>, Vec<usize>),
    rounds: &[f64],
) {
    std::fs::create_dir_all(out.join("shipped")).unwrap();
    let network: Network = network.parse().unwrap();
    let write = |stage: Stage, value: &Value| std::fs::write(stage.artefact(out), value.to_string()).unwrap();
    let shipped = json!({"file": "x.safetensors", "bytes": 2 << 20, "model": network.arch, "width_mult": 1.0,
                         "precision": form, "changes": []});
    let with = |more: Value| {
        let mut value = shipped.clone();
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    let right = labels.iter().zip(&predicted).filter(|(a, b)| a == b).count();
    let eval = json!({"data": "cifar10", "copy": "x", "test_images": labels.len(), "test_loss": 1.0,
                      "test_top1": right as f64 / labels.len() as f64, "images_per_second": 800.0, "threads": 2,
                      "labels": labels, "predicted": predicted});
    write(Stage::ShippedEval(network, form), &with(eval));
    for (round, p50) in (1..).zip(rounds) {
        let bench = json!({"image": [32, 32], "batch": 1, "threads": 2, "instructions": "AVX2", "warmup": 1,
                           "iterations": 9, "images_per_second": 1000.0 / p50, "peak_rss_bytes": 20 << 20,
                           "baseline_rss_bytes": 5 << 20, "environment": Environment::default(),
                           "latency_ms": {"p50": p50, "p90": 1.1 * p50, "p99": 1.2 * p50, "mean": p50}});
        write(Stage::ShippedBench { network, form, round }, &with(bench));
    }
}

/// Adds a training of V2 with a piece of the article's advice, or without any, evaluated on so many images, of which it is
/// right on the first so many; `change` rewrites its `config.json`.
pub fn advise(out: &Path, advice: Advice, (images, right): (usize, usize), change: &dyn Fn(&mut Value)) {
    let run = advice.run(out);
    copy(&out.join("v2-s1"), &run);
    let rewrite = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut value: Value = mobilenet_schema::read(&run.join(name)).unwrap();
        change(&mut value);
        std::fs::write(run.join(name), value.to_string()).unwrap();
    };
    rewrite("config.json", &|config| {
        match advice {
            Advice::Plain => {}
            Advice::LabelSmoothing => config["train"]["label_smoothing"] = 0.1.into(),
            Advice::Distillation => {
                config["teacher"] = "runs/v3-large-s1".into();
                config["train"]["distillation"] = json!({"temperature": 4.0, "weight": 0.5});
            }
            Advice::HigherRate => config["train"]["optimizer"]["lr"] = 0.004.into(),
        }
        change(config);
    });
    rewrite("eval.json", &|eval| {
        let predicted: Vec<usize> = (0..images).map(|i| usize::from(i >= right)).collect();
        eval["confusion"] = json!(vec![vec![0; 10]; 10]);
        (eval["confusion"][0][0], eval["confusion"][0][1]) = (right.into(), (images - right).into());
        (eval["labels"], eval["predicted"]) = (json!(vec![0; images]), json!(predicted));
        (eval["confidence"], eval["test_images"]) = (json!(vec![0.5; images]), images.into());
        eval["test_top1"] = (right as f64 / images as f64).into();
    });
}

/// The fixture with other networks (keys as on the command line): each is its V2 under another name, a little faster,
/// smaller and less accurate than the one before it.
pub fn fixture_of(models: &str) -> Gathered {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison");
    let networks = models.split(',').flat_map(|word| word.parse::<Selection>().unwrap().0);
    let networks: Vec<Network> = networks.collect();
    // Tests run side by side, some with the same networks.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("mobilenet-report-{}-{call}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let read = |name: &str| mobilenet_schema::read::<Value>(&fixture.join(name)).unwrap();
    let write = |name: String, value: &Value| {
        std::fs::write(folder.join(name), serde_json::to_vec(value).unwrap()).unwrap();
    };
    write("data.json".to_owned(), &read("data.json"));
    let mut plan = read("plan.json");
    plan["models"] = serde_json::to_value(&networks).unwrap();
    write("plan.json".to_owned(), &plan);
    for (i, network) in networks.iter().enumerate() {
        let share = 1.0 - i as f64 / 20.0;
        let mut summary = read("summary-v2.json");
        summary["params"] = ((2e6 * share) as u64).into();
        write(format!("summary-{network}.json"), &summary);
        let mut bench = read("bench-v2.json");
        bench["latency_ms"]["p50"] = (2.0 * share).into();
        write(format!("bench-{network}.json"), &bench);
        let run = run_name(*network, 1);
        std::fs::create_dir_all(folder.join(&run)).unwrap();
        for name in ["config.json", "metrics.jsonl", "train.json"] {
            std::fs::copy(fixture.join("v2-s1").join(name), folder.join(&run).join(name)).unwrap();
        }
        let mut eval = read("v2-s1/eval.json");
        eval["test_top1"] = (0.5 * share).into();
        write(format!("{run}/eval.json"), &eval);
    }
    let gathered = gather(&folder, Scope::default()).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    gathered
}
