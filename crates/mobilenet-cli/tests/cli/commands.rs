//! Every command once, from training to prediction, and what its JSON holds.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::common::{Place, SMALLEST, assert_fails, read, text};
use mobilenet_schema::RunConfig;
use serde_json::Value;

fn assert_keys(value: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(value.get(key).is_some(), "no {key} in {value}");
    }
}

#[test]
fn from_training_to_prediction() {
    let place = Place::new();
    let train = place.train("run") + " --limit-train 64 --limit-test 16 --json";
    let record = place.json(&train);
    assert_keys(&record, "epochs final seconds seconds_per_epoch images_per_second peak_rss_bytes weights");
    assert_eq!((&record["epochs"], &record["weights"]), (&3.into(), &"last epoch".into()));

    let written = text(&read(place.path("run/config.json")));
    // Whoever reads it by its type has all of it.
    let config: RunConfig = serde_json::from_str(&written).unwrap();
    assert_eq!(serde_json::to_string_pretty(&config).unwrap() + "\n", written);
    let config: Value = serde_json::from_str(&written).unwrap();
    assert_keys(
        &config["environment"],
        "commit processor cores threads memory_bytes os rustc version candle features date",
    );
    assert_eq!(config["model"]["arch"], "v3-small");
    assert_eq!(config["data"]["train_images"], 64);
    assert_eq!(config["data"]["test_images"], 16);
    assert_eq!(config["command"], format!("mobilenet {train}"));
    let metrics = text(&read(place.path("run/metrics.jsonl")));
    assert_eq!(metrics.lines().count(), 3);
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!(last, record["final"]);

    // What was trained can be had again, and is what eval finds.
    let again = place.command(&train).output().unwrap();
    assert_fails(&again, "training into the same folder", 1, "--resume");
    let complete = place.command(&(train + " --resume")).output().unwrap();
    assert!(complete.status.success() && text(&complete.stderr).contains("complete"), "{}", text(&complete.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&complete.stdout).unwrap(), record);

    let eval = place.json("eval --run run --json");
    assert_eq!(serde_json::from_slice::<Value>(&read(place.path("run/eval.json"))).unwrap(), eval);
    assert_keys(
        &eval,
        "run model data copy test_loss test_top5 train_loss train_top1 train_top5 images_per_second weights",
    );
    assert_eq!((&eval["test_images"], &eval["train_images"]), (&16.into(), &64.into()));
    assert_eq!(eval["test_top1"], last["test_top1"]);
    assert_eq!(eval["test_loss"], last["test_loss"]);
    for list in ["labels", "predicted", "confidence"] {
        assert_eq!(eval[list].as_array().unwrap().len(), 16, "{list}");
    }
    let rows = eval["confusion"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
    assert_eq!(rows.map(|n| n.as_u64().unwrap()).sum::<u64>(), 16);

    // A picture of another size and shape, as a PNG and as a JPEG.
    let picture = image::RgbImage::from_fn(90, 50, |x, y| image::Rgb([x as u8, y as u8, 99]));
    picture.save(place.path("a.png")).unwrap();
    picture.save(place.path("b.jpg")).unwrap();
    let predicted = place.json("predict --run run a.png b.jpg --json");
    let images = predicted["images"].as_array().unwrap();
    assert_eq!(images.len(), 2);
    for image in images {
        let predictions = image["predictions"].as_array().unwrap();
        let probabilities: Vec<f64> = predictions.iter().map(|p| p["probability"].as_f64().unwrap()).collect();
        assert_eq!(predictions.len(), 5);
        assert!(probabilities.is_sorted_by(|a, b| a >= b) && probabilities[4] > 0.0, "{probabilities:?}");
        assert!(predictions[0]["class"].is_string());
    }
    let lines = place.run("predict --run run a.png");
    assert_eq!((lines.lines().next(), lines.lines().count()), (Some("a.png"), 6));
}

#[test]
fn validation_images_choose_the_weights() {
    let place = Place::new();
    let record = place.json(&(place.train("run") + " --validation 16 --optimizer sgd --lr 0.05 --json"));
    assert_eq!(record["weights"], "best on 16 validation images");
    assert!(record["final"]["valid_top1"].is_number() && record["final"]["test_top1"].is_null());
    let eval = place.json("eval --run run --json");
    assert_eq!((&eval["train_images"], &eval["test_images"]), (&80.into(), &24.into()));
    assert_eq!(eval["weights"], record["weights"]);
    // Fine-tuning starts where that ended.
    let tune = place.train("tuned").replace("--epochs 3", "--epochs 1") + " --init run/model.safetensors";
    let tuned = place.command(&tune).output().unwrap();
    assert!(tuned.status.success() && text(&tuned.stderr).contains("initial weights: "), "{}", text(&tuned.stderr));
}

#[test]
fn summary_counts_as_published() {
    let place = Place::new();
    let summary = place.json("summary --model v3-large --num-classes 10 --preset cifar --json");
    assert_keys(&summary, "model preset input num_classes width_mult params macs activation_bytes");
    assert_eq!(summary["params"], 4_214_842);
    assert_eq!(summary["layers"][0]["name"], "features.0.0");
    assert_keys(&summary["layers"][0], "name kind output params macs activation_bytes block");
    assert!(place.run("summary --model v2 --num-classes 1000 --preset imagenet").contains("3,504,872"));
    assert_ne!(
        place.json("summary --model v2 --width 0.75 --json")["params"],
        place.json("summary --model v2 --json")["params"]
    );
}

#[test]
fn bf16_is_advised_against_where_the_processor_does_not_multiply_it() {
    let place = Place::new();
    for (precision, says) in [("bf16", true), ("f32", false)] {
        let line = format!("bench {} --train --batch 2 --warmup 0 --iterations 1", SMALLEST.join(" "));
        let mut command = place.command(&format!("{line} --precision {precision}"));
        let output = command.env("MOBILENET_SIMD", "baseline").output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("bf16: this processor does not multiply it"), says, "{said}");
    }
}

/// Without a GPU and without CUDA in the program.
#[test]
fn bench_plans_what_cuda_launches() {
    let place = Place::new();
    for model in ["v2", "v3-large"] {
        for (mode, most, batch) in [("--train", 600, 128), ("", 150, 1)] {
            for precision in ["f32", "bf16"] {
                let line = format!("bench --model {model} {mode} --device cuda --precision {precision} --plan");
                let plan = place.json(&format!("{line} --json"));
                assert_keys(&plan, "model preset mode precision batch launches products bytes memory_bytes stages");
                let number = |value: &Value, key: &str| value[key].as_u64().unwrap();
                let stages = plan["stages"].as_array().unwrap();
                for key in ["launches", "bytes"] {
                    let sum: u64 = stages.iter().map(|stage| number(stage, key)).sum();
                    assert_eq!(sum, number(&plan, key), "{key} of {line}");
                }
                assert!((30..=most).contains(&number(&plan, "launches")), "{line}: {}", plan["launches"]);
                assert_eq!(number(&plan, "batch"), batch);
                if mode == "--train" {
                    assert!(number(&plan, "limit_bytes") < number(&plan, "bytes"), "{line}");
                }
                let text = place.run(&line);
                assert!(text.contains("classifier") && text.contains("counted, not run"), "{text}");
            }
        }
    }
    for (line, expected) in [
        ("bench --model v2 --plan", "expected --device cuda, found --device cpu"),
        ("bench --model v2 --precision bf16", "expected --train or --device cuda"),
        ("bench --model v2 --train --precision tf32", "--precision tf32: expected --device cuda"),
        ("train --model v2 --precision tf32 --data shapes10 --out tf32", "--precision tf32: expected --device cuda"),
    ] {
        assert_fails(&place.command(line).output().unwrap(), line, 1, expected);
    }
}

#[test]
fn bench_measures_inference_and_training() {
    let place = Place::new();
    let network = SMALLEST.join(" ");
    let bench = place.json(&format!("bench {network} --warmup 1 --iterations 4 --threads 1 --json"));
    assert_keys(&bench, "model preset batch device width_mult warmup images_per_second environment");
    assert_eq!((&bench["mode"], &bench["threads"], &bench["iterations"]), (&"inference".into(), &1.into(), &4.into()));
    assert_keys(&bench["latency_ms"], "p50 p90 p99 mean std min max");
    assert_eq!(bench["throughput"].as_array().unwrap().len(), 3);
    if cfg!(target_os = "linux") {
        let bytes = |key: &str| bench[key].as_u64().unwrap();
        assert!(bytes("peak_rss_bytes") > bytes("baseline_rss_bytes"), "{bench}");
    }
    let training = place.json(&format!("bench {network} --train --batch 4 --warmup 0 --iterations 2 --json"));
    assert_eq!((&training["mode"], &training["batch"]), (&"training".into(), &4.into()));
    assert!(training["images_per_second"].as_f64().unwrap() > 0.0);
}

#[test]
fn bench_shows_where_the_time_goes() {
    let place = Place::new();
    for options in ["", " --preset imagenet --width 0.35 --batch 2", " --dilated --reduced-tail"] {
        let network = format!("--model v3-small{options}");
        let summary = place.json(&format!("summary {} --json", network.replace(" --batch 2", "")));
        let bench = place.json(&format!("bench {network} --blocks --warmup 1 --iterations 3 --json"));
        let blocks = bench["blocks"].as_array().unwrap();
        let names: Vec<&str> = blocks.iter().map(|block| block["name"].as_str().unwrap()).collect();
        let expected: Vec<String> = (1..=11).map(|i| format!("block {i}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_eq!(names, [&["stem"], &expected[..], &["last conv", "classifier"]].concat(), "{network}");

        let sum = |key: &str| blocks.iter().map(|block| block[key].as_f64().unwrap()).sum::<f64>();
        assert_eq!(
            (sum("macs"), sum("params")),
            (summary["macs"].as_f64().unwrap(), summary["params"].as_f64().unwrap())
        );
        for share in ["latency_share", "macs_share"] {
            assert!((sum(share) - 1.).abs() < 1e-9, "{network}: {share}");
        }
        assert!((sum("p50_ms") - bench["sum_ms"].as_f64().unwrap()).abs() < 1e-9, "{network}");
        for block in blocks {
            let number = |key: &str| block[key].as_f64().unwrap();
            let flops = 2. * number("macs") * bench["batch"].as_f64().unwrap();
            assert!(number("p50_ms") > 0. && number("bytes") > 0., "{network}: {block}");
            assert!((number("flop_per_byte") * number("bytes") / flops - 1.).abs() < 1e-9, "{network}: {block}");
            assert!((number("gflop_per_second") * number("p50_ms") * 1e6 / flops - 1.).abs() < 1e-9, "{block}");
        }
        assert_keys(&bench["latency_ms"], "p50 p90 p99 mean std min max");
    }
    let text = place.run("bench --model v2 --blocks --warmup 0 --iterations 2");
    assert!(text.contains("block 17") && text.contains("the whole network"), "{text}");
}

#[test]
fn roofline_measures_the_machine() {
    let place = Place::new();
    let roofline = place.json("roofline --threads 1 --json");
    assert_keys(&roofline, "threads instruction_set peak_gflop_per_second bandwidths environment");
    assert_eq!(roofline["threads"], 1);
    let bandwidths = roofline["bandwidths"].as_array().unwrap();
    assert_eq!((&bandwidths[0]["level"], &bandwidths[bandwidths.len() - 1]["level"]), (&"l2".into(), &"memory".into()));
    assert!(roofline["peak_gflop_per_second"].as_f64().unwrap() > 0.);
    assert!(bandwidths.iter().all(|found| found["gb_per_second"].as_f64().unwrap() > 0.), "{roofline}");
}

#[test]
fn data_describes_a_set_and_hands_out_pictures() {
    let place = Place::new();
    let data = place.json("data --data-dir data --images 3,17 --json");
    assert_keys(&data, "copy mean std");
    assert_eq!((&data["name"], &data["fallback"]), (&"cifar10".into(), &false.into()));
    assert_eq!((&data["train_images"], &data["test_images"]), (&96.into(), &24.into()));
    assert_eq!(data["images"][1]["index"], 17);
    assert_eq!(data["images"][1]["label"], 7);
    // The first bytes of a PNG, in base64.
    assert!(data["images"][0]["png_base64"].as_str().unwrap().starts_with("iVBORw0KGgo"));
    let beyond = place.command("data --data-dir data --images 24 --json").output().unwrap();
    assert_fails(&beyond, "an image beyond the end", 1, "there is no test image 24");

    let fallback = place.command("data --json").output().unwrap();
    assert!(text(&fallback.stderr).starts_with("warning: "), "{}", text(&fallback.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&fallback.stdout).unwrap()["fallback"], true);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let place = Place::new();
    // More than a pipe holds, so that the program is still writing when the reader goes.
    let images = (0..24).cycle().take(600).map(|i: usize| i.to_string()).collect::<Vec<_>>().join(",");
    for line in [format!("data --data-dir data --json --images {images}"), "summary --model v2 --image-size 64".into()]
    {
        let mut child = place.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::with_capacity(16, child.stdout.take().unwrap());
        stdout.fill_buf().unwrap();
        drop(stdout);
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(child.wait().unwrap().success(), "{line}: {stderr}");
        assert_eq!(stderr, "");
    }
}

#[test]
fn the_number_of_threads_comes_from_the_option_or_the_environment() {
    let place = Place::new();
    let bench = "bench --model v3-small --width 0.35 --batch 2 --warmup 0 --iterations 1 --json";
    for (line, environment, expected) in
        [(bench.to_owned(), "1", 1), (bench.to_owned(), "2", 2), (format!("--threads 2 {bench}"), "1", 2)]
    {
        let output = place.command(&line).env("RAYON_NUM_THREADS", environment).output().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["threads"], expected, "{line} with {environment}");
    }
    let output = place.command(bench).env("RAYON_NUM_THREADS", "1000000").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr).unwrap().starts_with("error: RAYON_NUM_THREADS is 1000000, expected 1 to ")
    );
}

/// A finished run goes on for more epochs; what was known of the shorter one is gone until it is evaluated again.
#[test]
fn a_finished_run_goes_on_for_more_epochs() {
    let place = Place::new();
    place.run(&place.train("run").replace("--epochs 3", "--epochs 1"));
    place.run("eval --run run");
    let output = place.command("train --resume --epochs 2 --out run").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("2 epochs instead of 1: the schedule (cosine) is that of 2 epochs from here on"),
        "{stderr}"
    );
    assert!(!place.path("run/eval.json").exists());
    let config: Value = serde_json::from_slice(&read(place.path("run/config.json"))).unwrap();
    assert_eq!(config["train"]["epochs"], 2);
    let record = place.json("train --resume --out run --json");
    assert_eq!((&record["epochs"], &record["final"]["epoch"]), (&2.into(), &2.into()));
    let line = "train --resume --epochs 1 --out run";
    assert_fails(&place.command(line).output().unwrap(), line, 1, "train.epochs is 1, was 2");
}
