//! Choosing a network from comparisons: this machine's, another's, and none at all.

use std::fs;

use mobilenet_bench::{BuildInfo, environment};
use serde_json::{Value, json};

use crate::common::{Place, assert_fails, text};

/// This machine's name for its processor.
fn processor() -> String {
    environment(BuildInfo::default()).processor
}

/// A comparison's `results.json` in `runs/NAME`: (model, accuracy, milliseconds, parameters) of each network.
fn write(place: &Place, name: &str, processor: &str, networks: &[(&str, f64, f64, u64)]) {
    let models: Vec<Value> = networks
        .iter()
        .map(|(model, top1, ms, params)| {
            json!({"model": model, "label": format!("Mobile {model}"), "width_mult": 1.0, "epochs": 4,
                   "params": params, "macs": 20 * params, "test_top1": top1,
                   "test_top1_interval": [top1 - 0.01, (top1 + 0.01).min(1.0)], "runs": [{"seed": 1, "test_top1": top1}],
                   "latency_ms": {"p50": ms, "p90": 2.0 * ms, "p99": 3.0 * ms, "mean": 1.2 * ms},
                   "training_images_per_second": 100.0,
                   "peak_rss_bytes": 30_000_000, "threads": 2, "processor": processor})
        })
        .collect();
    let settings = json!({"profile": "quick", "models": [], "seeds": [1], "data": "cifar10", "device": "cpu",
                          "recipe": {"epochs": 4, "batch_size": 128}});
    let results = json!({"settings": settings, "data": {"name": "cifar10", "fallback": false},
                         "environment": {"processor": processor, "threads": 2}, "models": models});
    let folder = place.path("runs").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("results.json"), results.to_string()).unwrap();
}

fn place() -> Place {
    let place = Place::new();
    let here = [
        ("v3-small", 0.80, 0.7, 1_500_000),
        ("v2@0.75", 0.846, 1.6, 1_400_000),
        ("v3-large@0.75", 0.85, 1.9, 2_500_000),
        ("v3-large", 0.87, 2.6, 4_200_000),
    ];
    write(&place, "widths", &processor(), &here);
    write(&place, "elsewhere", "Abacus 9000", &[("v2", 0.99, 0.1, 1_000_000)]);
    place
}

#[test]
fn the_best_of_this_machine_within_the_limits() {
    let place = place();
    let said = place.run("--threads 2 choose --max-latency-ms 2 --max-params 3M");
    for part in [
        "runs/widths: 4 networks on cifar10, 4 epochs",
        "Mobile v3-large@0.75 (v3-large@0.75), the most accurate of the 3 within the limits",
        "1.90 ms    (at most 2.00 ms)",
        "v3-large: 87.0 % (+2.0 points), but latency 2.60 ms is over 2.00 ms, parameters 4.20 M is over 3.00 M",
        "Second: Mobile v2@0.75 (v2@0.75): 84.6 % (-0.4 points); saves 0.30 ms of latency, 1.10 M of parameters",
        "within noise",
        "runs/elsewhere: measured on Abacus 9000, 2 threads (v2)",
    ] {
        assert!(said.contains(part), "no \"{part}\" in:\n{said}");
    }

    let found = place.json("--threads 2 choose --from runs/widths --max-macs 30M --json");
    let answer = &found["comparisons"][0];
    assert_eq!((&answer["chosen"]["model"], &answer["within_limits"]), (&"v2@0.75".into(), &2.into()));
    assert_eq!(
        (&answer["runner_up"]["model"], &answer["runner_up"]["within_noise"]),
        (&"v3-small".into(), &false.into())
    );
    assert_eq!(answer["more_accurate"][0]["breaks"][0]["figure"], "multiply-adds");
    assert_eq!(found["limits"]["max_macs"], 30_000_000);
    assert_eq!(found["left_out"], json!([]));
}

/// A network in a form that it was shipped in is chosen by that form's figures.
#[test]
fn what_is_shipped_can_be_chosen() {
    let place = place();
    let path = place.path("runs/widths/results.json");
    let mut results: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let form = |form: &str, top1: f64, ms: f64, processor: &str| {
        json!({"form": form, "bytes": 2_400_000, "test_images": 10_000, "test_top1": top1,
               "test_top1_interval": [top1 - 0.01, top1 + 0.01], "images_per_second": 900.0,
               "latency_ms": {"p50": ms, "p90": ms, "p99": ms, "mean": ms}, "peak_rss_bytes": 12_000_000,
               "threads": 2, "processor": processor})
    };
    let here = processor();
    results["models"][3]["shipped"] =
        json!([form("float32", 0.87, 1.3, &here), form("int8", 0.865, 0.6, &here), form("relu6", 0.9, 0.5, "Abacus")]);
    fs::write(&path, results.to_string()).unwrap();
    let found = place.json("--threads 2 choose --from runs/widths --max-latency-ms 1 --json");
    let answer = &found["comparisons"][0];
    assert_eq!((&answer["networks"], &answer["chosen"]["model"]), (&6.into(), &"v3-large int8".into()));
    assert_eq!(answer["chosen"]["label"], "Mobile v3-large, int8");
    assert_eq!(
        (&answer["chosen"]["params"], &answer["chosen"]["peak_rss_bytes"]),
        (&4_200_000.into(), &12_000_000.into())
    );
    assert_eq!(found["left_out"][0]["model"], "v3-large relu6");
    let said = place.run("--threads 2 choose --from runs/widths --max-memory-mb 20");
    assert!(said.contains("Mobile v3-large, float32 (v3-large float32), the most accurate of the 2"), "{said}");
}

/// A comparison is not compared with another: another data set, another recipe.
#[test]
fn each_comparison_has_a_choice_of_its_own() {
    let place = place();
    write(&place, "longer", &processor(), &[("v2", 0.93, 2.1, 2_200_000), ("v3-small", 0.9, 0.7, 1_500_000)]);
    let found = place.json("--threads 2 choose --max-latency-ms 2 --json");
    let chosen: Vec<_> =
        found["comparisons"].as_array().unwrap().iter().map(|c| (&c["from"], &c["chosen"]["model"])).collect();
    assert_eq!(
        chosen,
        [(&json!("runs/longer"), &json!("v3-small")), (&json!("runs/widths"), &json!("v3-large@0.75")),]
    );
    let said = place.run("--threads 2 choose --min-accuracy 0.91");
    assert!(said.contains("runs/longer: 2 networks") && said.contains("the only one within the limits"), "{said}");
    assert!(
        said.contains("None of them keeps the limits (accuracy at least 91.0 %). The nearest is v3-large"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_answered_says_how_to_go_on() {
    let place = place();
    let fails = |line: &str, status: i32, expected: &str| {
        assert_fails(&place.command(line).output().unwrap(), line, status, expected);
    };
    let measure = "to measure: cargo xtask compare --models widths";
    fails("--threads 2 choose --from runs/elsewhere", 1, measure);
    fails("--threads 2 choose --from runs/elsewhere", 1, "v2 in runs/elsewhere: measured on Abacus 9000, 2 threads");
    fails("--threads 1 choose", 1, "(and 4 more left out)");
    fails(
        "--threads 2 choose --max-latency-ms 0.1",
        1,
        "(latency at most 0.10 ms); nearest in runs/widths is v3-small",
    );
    fails("choose --from nowhere", 1, "--from nowhere: no results.json of a comparison there");
    fails("choose --max-params 3X", 2, "3M, 2.5M, 500k or 120000");

    // Something else of that name: named if it was asked for, else passed over.
    fs::create_dir(place.path("runs/other")).unwrap();
    fs::write(place.path("runs/other/results.json"), "{}").unwrap();
    fails("choose --from runs/other", 1, "runs/other/results.json is not the results of a comparison");
    write(&place, "damaged", &processor(), &[("v2", 42.0, 1.0, 1_000_000)]);
    let problem = "results.json: models[0].test_top1: expected a share from 0 to 1, found 42";
    fails("choose --from runs/damaged", 1, problem);
    let said = place.run("--threads 2 choose");
    assert!(said.contains(problem) && !said.contains("4200"), "{said}");
    assert!(place.run("--threads 2 choose").contains("runs/other: "));

    let empty = Place::new();
    let output = empty.command("choose").output().unwrap();
    assert_fails(&output, "choose without runs", 1, "no results.json of a comparison is there");
    assert!(text(&output.stderr).contains(measure), "{}", text(&output.stderr));
}
