//! Comparisons for tests.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use mobilenet_arch::{Network, Selection};
use serde_json::Value;

use super::{Gathered, Scope, gather};
use crate::plan::run_name;

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
