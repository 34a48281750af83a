//! What cannot be true is refused with the file, the field, what was expected and what was found.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use mobilenet_schema::{Artefact, Bench, DataInfo, EpochMetrics, Eval, RooflineRecord, TrainRecord, read, read_lines};
use serde_json::{Value, json};

/// A file in a folder of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        // Tests run side by side, some with files of the same name.
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let folder = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("schema-{}-{folder}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
        Self(folder.join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap_or(Path::new("no-such-folder")));
    }
}

/// Reads `good`, then each change of it, which must be refused in these words.
fn refuses<T: Artefact>(name: &str, good: &Value, changes: &[(&str, Value, &str)]) {
    let file = Scratch::new(name, &good.to_string());
    read::<T>(&file.0).unwrap_or_else(|error| panic!("{error}"));
    for (pointer, value, words) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is not in {name}")) = value.clone();
        std::fs::write(&file.0, bad.to_string()).unwrap();
        let error = read::<T>(&file.0).err().unwrap_or_else(|| panic!("{name} with {pointer} = {value} is read"));
        assert_eq!(error.to_string(), format!("{}: {words}", file.0.display()));
    }
}

fn eval() -> Value {
    json!({
        "test_images": 3, "test_loss": 1.5, "test_top1": 0.75, "test_top5": 1.0, "train_images": 2, "train_top1": 0.5,
        "classes": ["a", "b"], "confusion": [[1, 0], [1, 1]], "labels": [0, 1, 1], "predicted": [0, 0, 1],
        "confidence": [0.5, 0.75, 1.0],
    })
}

#[test]
fn evaluations() {
    let share = "expected a share from 0 to 1, found";
    refuses::<Eval>(
        "eval.json",
        &eval(),
        &[
            ("/test_top1", json!(7.5), &format!("test_top1: {share} 7.5")),
            ("/test_top5", json!(-0.1), &format!("test_top5: {share} -0.1")),
            ("/train_top1", json!(42), &format!("train_top1: {share} 42")),
            ("/test_images", json!(0), "test_images: expected at least 1, found 0"),
            ("/test_images", json!(4), "labels: expected 4 entries, one for each test image, found 3"),
            ("/predicted", json!([0, 0]), "predicted: expected 3 entries, one for each test image, found 2"),
            ("/confidence", json!([]), "confidence: expected 3 entries, one for each test image, found 0"),
            ("/confidence", json!([0.5, 1.5, 0.1]), "confidence[1]: expected a probability from 0 to 1, found 1.5"),
            ("/labels", json!([0, 1, 2]), "labels[2]: expected one of 2 classes, found 2"),
            ("/predicted", json!([5, 0, 1]), "predicted[0]: expected one of 2 classes, found 5"),
            ("/confusion", json!([[1, 0]]), "confusion: expected 2 entries, one for each class, found 1"),
            ("/confusion", json!([[1, 0], [2]]), "confusion[1]: expected 2 entries, one for each class, found 1"),
            ("/confusion", json!([[1, 0], [1, 9]]), "confusion: expected 3 test images in all, found 11"),
        ],
    );
}

#[test]
fn benchmarks() {
    let block = json!({
        "name": "stem", "output": [8, 4, 4], "macs": 9, "p50_ms": 0.5, "latency_share": 1.0, "macs_share": 1.0,
        "gflop_per_second": 2.0, "flop_per_byte": 3.0,
    });
    let good = json!({
        "model": "v2", "batch": 1, "latency_ms": {"p50": 2.0, "p90": 2.5, "p99": 3.0, "mean": 2.1},
        "images_per_second": 480.0, "peak_rss_bytes": null, "throughput": [{"batch": 8, "images_per_second": 500.0}],
        "sum_ms": 0.5, "blocks": [block],
    });
    refuses::<Bench>(
        "bench-v2.json",
        &good,
        &[
            ("/batch", json!(0), "batch: expected at least 1, found 0"),
            ("/latency_ms/p50", json!(-2.0), "latency_ms.p50: expected a number above 0, found -2"),
            ("/latency_ms/p99", json!(0), "latency_ms.p99: expected a number above 0, found 0"),
            ("/images_per_second", json!(-1), "images_per_second: expected a number above 0, found -1"),
            (
                "/throughput/0/images_per_second",
                json!(0),
                "throughput[0].images_per_second: expected a number above 0, found 0",
            ),
            ("/sum_ms", json!(null), "sum_ms: expected the sum of the blocks' times, found none"),
            ("/blocks/0/latency_share", json!(1.5), "blocks[0].latency_share: expected a share from 0 to 1, found 1.5"),
        ],
    );
}

#[test]
fn rooflines() {
    let good = json!({
        "threads": 2, "instruction_set": "avx2", "peak_gflop_per_second": 100.0,
        "bandwidths": [{"level": "memory", "gb_per_second": 20.0}],
    });
    refuses::<RooflineRecord>(
        "roofline.json",
        &good,
        &[
            ("/threads", json!(0), "threads: expected at least 1, found 0"),
            ("/peak_gflop_per_second", json!(0), "peak_gflop_per_second: expected a number above 0, found 0"),
            ("/bandwidths", json!([]), "bandwidths: expected at least the memory's, found none"),
            (
                "/bandwidths/0/gb_per_second",
                json!(-3.5),
                "bandwidths[0].gb_per_second: expected a number above 0, found -3.5",
            ),
        ],
    );
}

#[test]
fn data_sets() {
    let good = json!({
        "name": "x", "copy": "y", "classes": ["a"], "train_images": 5, "test_images": 2, "fallback": false,
        "std": [0.5, 0.5, 0.5],
    });
    refuses::<DataInfo>(
        "data.json",
        &good,
        &[
            ("/classes", json!([]), "classes: expected at least one, found none"),
            ("/train_images", json!(0), "train_images: expected at least 1, found 0"),
            ("/test_images", json!(0), "test_images: expected at least 1, found 0"),
            ("/std", json!([0.5, 0.0, 0.5]), "std[1]: expected a number above 0, found 0"),
        ],
    );
}

fn epoch() -> Value {
    json!({
        "epoch": 1, "lr": 0.1, "train_loss": 2.0, "train_top1": 0.25, "train_top5": 0.5, "test_loss": 1.0,
        "test_top1": 0.5, "test_top5": 0.75, "images_per_second": 10.0, "seconds": 5.0, "eval_seconds": 1.0,
        "elapsed_seconds": 6.0,
    })
}

#[test]
fn trainings() {
    let good = json!({
        "epochs": 1, "final": epoch(), "seconds": 6.0, "seconds_per_epoch": 5.0, "images_per_second": 10.0,
        "peak_rss_bytes": null, "weights": "last epoch",
    });
    refuses::<TrainRecord>(
        "train.json",
        &good,
        &[
            ("/epochs", json!(0), "epochs: expected at least 1, found 0"),
            ("/final/test_top1", json!(7.5), "final.test_top1: expected a share from 0 to 1, found 7.5"),
            ("/seconds_per_epoch", json!(0), "seconds_per_epoch: expected a number above 0, found 0"),
            ("/images_per_second", json!(-1.5), "images_per_second: expected a number above 0, found -1.5"),
        ],
    );
}

#[test]
fn lines_of_metrics() {
    let line = epoch().to_string();
    let check = |text: String, want: Result<usize, &str>| {
        let file = Scratch::new("metrics.jsonl", &text);
        let found = read_lines::<EpochMetrics>(&file.0);
        match want {
            Ok(n) => assert_eq!(found.unwrap_or_else(|error| panic!("{text}: {error}")).len(), n, "{text}"),
            Err(words) => {
                let error = found.expect_err(&text).to_string();
                assert!(error.starts_with(&format!("{}{words}", file.0.display())), "{error}");
            }
        }
    };
    check(format!("{line}\n{line}\n"), Ok(2));
    check(format!("{line}\n\n{line}"), Ok(2));
    // A kill cuts the last line short.
    check(format!("{line}\n{}", &line[..40]), Ok(1));
    check(format!("{line}\n{}\n{line}\n", &line[..40]), Err(", line 2, is not an epoch's metrics: "));
    check("garbage\n".to_owned(), Err(", line 1, is not an epoch's metrics: "));
    let wrong = line.replace("\"test_top1\":0.5", "\"test_top1\":7.5");
    check(format!("{line}\n{wrong}\n"), Err(": line 2.test_top1: expected a share from 0 to 1, found 7.5"));
}

#[test]
fn what_is_not_of_the_form_is_named() {
    let file = Scratch::new("roofline.json", "garbage");
    let error = read::<RooflineRecord>(&file.0).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{} is not a machine's roofline: ", file.0.display())), "{error}");
    let error = read::<Eval>(Path::new("no-such-run/eval.json")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read no-such-run/eval.json: "), "{error}");
}
