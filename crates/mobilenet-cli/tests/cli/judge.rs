//! `mobilenet eval` on any set and `mobilenet predict` on any pictures, by any kind of trained network.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use crate::common::{Place, SMALLEST, assert_fails, read, text};

/// The same classes as CIFAR-10's, in folders: names sorted, which is their order, so that `prefix` changes it.
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

fn png(path: &Path, color: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(34, 40, |x, _| image::Rgb(color.map(|c| c.saturating_add(x as u8)))).save(path).unwrap();
}

/// A set `metadata.csv` whose classes come in the order of their appearance in the file: not the network's.
fn listed(place: &Place, folder: &str, classes: &[&str]) {
    let mut text = "file_name,label\n".to_owned();
    for i in 0..3u8 {
        for (class, name) in classes.iter().enumerate() {
            let file = format!("{i}-{class}.png");
            png(&place.path(folder).join(&file), [class as u8 * 20, 20 * i, 60]);
            text += &format!("{file},{name}\n");
        }
    }
    fs::write(place.path(folder).join("metadata.csv"), text).unwrap();
}

fn trained() -> Place {
    let place = Place::new();
    place.run(&(place.train("run").replace("--epochs 3", "--epochs 1")));
    place
}

/// The program with bytes on its standard input.
fn fed(place: &Place, line: &str, bytes: &[u8]) -> Output {
    let mut command = place.command(line);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_run_is_scored_and_has_a_page() {
    let place = trained();
    let eval = place.json("eval --run run --report page.html --json");
    let scores = &eval["scores"];
    let (labels, predicted) = (eval["labels"].as_array().unwrap(), eval["predicted"].as_array().unwrap());
    let of = |list: &[Value], class: u64| list.iter().filter(|found| found.as_u64() == Some(class)).count() as u64;
    for (class, found) in scores["by_class"].as_array().unwrap().iter().enumerate() {
        assert_eq!(
            (&found["class"], found["images"].as_u64()),
            (&CLASSES[class].into(), Some(of(labels, class as u64)))
        );
        assert_eq!(found["answers"].as_u64(), Some(of(predicted, class as u64)));
    }
    let bins = scores["calibration"]["bins"].as_array().unwrap();
    assert_eq!((bins.len(), bins.iter().map(|bin| bin["images"].as_u64().unwrap()).sum::<u64>()), (15, 24));
    let page = text(&read(place.path("page.html")));
    assert!(page.contains("Worst mistakes") && page.contains("data:image/png;base64,") && !page.contains("<script"));
    assert!(page.contains("<title>MobileNetV3-Small, width 0.35 on cifar10, test</title>"), "{page}");
    assert!(page.contains("What is taken for what") && page.contains("calibration error"), "{page}");
    let said = place.run("eval --run run");
    assert!(said.contains("macro F1 ") && said.contains("calibration error (ECE) "), "{said}");
}

#[test]
fn another_set_is_judged_by_the_names_of_its_classes() {
    let place = trained();
    let before = place.json("eval --run run --json");
    let stored = read(place.path("run/eval.json"));
    // The same pictures under classes in order and out of order: the same answers to them.
    let mut turned = CLASSES;
    turned.reverse();
    listed(&place, "straight", &CLASSES);
    listed(&place, "reversed", &turned);
    let of = |line: &str| place.json(&format!("eval {line} --part all --json"));
    let (straight, reversed) = (of("--run run --data-dir straight"), of("--run run --data-dir reversed"));
    assert_eq!(read(place.path("run/eval.json")), stored, "another set's result is not the run's");
    assert_eq!((&straight["test_images"], &straight["part"]), (&30.into(), &"all".into()));
    assert_eq!(straight["classes"], before["classes"]);
    // Counted are the answers, whose classes are the network's whatever the set's order is.
    let answers = |eval: &Value| -> Vec<u64> {
        let rows = eval["confusion"].as_array().unwrap();
        (0..10).map(|j| rows.iter().map(|row| row[j].as_u64().unwrap()).sum()).collect()
    };
    assert_eq!(answers(&straight), answers(&reversed));
    let (a, b) = (&straight["scores"]["by_class"], &reversed["scores"]["by_class"]);
    assert_eq!((a[3]["class"].as_str(), b[3]["class"].as_str()), (Some("cat"), Some("cat")));
    // Mistakes are told by the names of their files, and by nothing else of their paths.
    place.run("eval --run run --data-dir reversed --part all --report page.html");
    let page = text(&read(place.path("page.html")));
    let wrong = b.as_array().unwrap().iter().map(|class| class["images"].as_u64().unwrap()).sum::<u64>()
        - b.as_array().unwrap().iter().map(|class| class["right"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(page.matches(".png</small>").count() as u64, wrong.min(24), "{page}");
    assert!(!page.contains("reversed/"), "{page}");

    // Some of the classes will do, others will not.
    listed(&place, "few", &["truck", "Cat"]);
    let output = place.command("eval --run run --data-dir few --part all").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let notes = text(&output.stderr);
    assert!(
        notes.contains("the data has 2 of the network's 10 classes") && notes.contains("nothing is stored"),
        "{notes}"
    );
    listed(&place, "other", &["truck", "wolf", "cat"]);
    let line = "eval --run run --data-dir other";
    let output = place.command(line).output().unwrap();
    assert_fails(&output, line, 1, "other classes than the network: expected some of airplane");
    assert!(text(&output.stderr).contains("found wolf"), "{}", text(&output.stderr));
    // A limit is another set, too.
    assert_eq!(place.json("eval --run run --limit-test 10 --json")["test_images"], 10);
    assert_eq!(read(place.path("run/eval.json")), stored);
}

#[test]
fn weights_and_shipped_files_are_judged_as_their_run() {
    let place = trained();
    let run = place.json("eval --run run --json");
    place.run("export --run run --out shipped.safetensors");
    let config: Value = serde_json::from_slice(&read(place.path("run/config.json"))).unwrap();
    let numbers: Vec<String> =
        ["mean", "std"].iter().flat_map(|key| config["data"][key].as_array().unwrap()).map(Value::to_string).collect();
    let weights = format!("--weights run/model.safetensors --mean-std {}", numbers.join(","));
    for line in [weights.clone(), weights.clone() + " --model v3-small", "--model-file shipped.safetensors".into()] {
        let found = place.json(&format!("eval {line} --data-dir data --json --report page.html"));
        for key in ["test_top1", "test_top5", "predicted", "labels", "confusion"] {
            assert_eq!(found[key], run[key], "{line}: {key}");
        }
        let f1 = |eval: &Value| eval["scores"]["macro_f1"].as_f64().unwrap();
        assert!((f1(&found) - f1(&run)).abs() < 1e-9, "{line}");
        assert!(text(&read(place.path("page.html"))).contains("Worst mistakes"));
        let cut = place.json(&format!("eval {line} --data-dir data --limit-test 10 --part train --json"));
        assert_eq!(cut["labels"].as_array().unwrap().len(), 10);
    }
    // Names in a file, and pictures of another size.
    fs::write(place.path("names.txt"), CLASSES.join("\n")).unwrap();
    listed(&place, "few", &["truck", "cat"]);
    let found = place.json(&format!("eval {weights} --classes names.txt --data-dir few --part all --json"));
    assert_eq!((&found["test_images"], found["labels"][0].as_u64()), (&6.into(), Some(9)));
    for (line, expected) in [
        (format!("eval {weights} --data-dir few"), "the weights are of 10 classes and the data has 2"),
        (format!("eval {weights} --model v2 --data-dir data"), "the weights do not fit the model"),
        (format!("eval {weights} --classes run/config.json --data-dir data"), "expected 10 names, one a line"),
        (
            "eval --model-file shipped.safetensors --data-dir data --image-size 40".into(),
            "--image-size: expected the 32",
        ),
        ("eval --run run --report no/such/page.html".into(), "cannot write no/such/page.html"),
        ("predict --weights run/model.safetensors a.png".into(), "expected --mean-std"),
    ] {
        assert_fails(&place.command(&line).output().unwrap(), &line, 1, expected);
    }
}

#[test]
fn pictures_come_from_folders_and_standard_input() {
    let place = trained();
    png(&place.path("photos/b/1.png"), [10, 200, 10]);
    png(&place.path("photos/a.png"), [200, 10, 10]);
    fs::rename(place.path("photos/a.png"), place.path("photos/a-without-ending")).unwrap();
    fs::write(place.path("photos/notes.txt"), "no picture").unwrap();
    fs::write(place.path("photos/.DS_Store"), "hidden").unwrap();
    let output = place.command("predict --run run photos --json --top 2").output().unwrap();
    assert!(text(&output.stderr).contains("photos: 1 files that are no pictures left out"), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let images = found["images"].as_array().unwrap();
    let paths: Vec<&str> = images.iter().map(|image| image["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["photos/a-without-ending", "photos/b/1.png"]);
    assert_eq!(images[0]["predictions"].as_array().unwrap().len(), 2);

    // From standard input, the same answer.
    let bytes = read(place.path("photos/b/1.png"));
    let piped = fed(&place, "predict --run run --json --top 2 -", &bytes);
    let piped: Value = serde_json::from_slice(&piped.stdout).unwrap();
    let (one, other) = (&piped["images"][0]["predictions"], &images[1]["predictions"]);
    assert_eq!(one[0]["label"], other[0]["label"]);
    let probability = |value: &Value| value[0]["probability"].as_f64().unwrap();
    assert!((probability(one) - probability(other)).abs() < 1e-5, "{one} {other}");
    let output = fed(&place, "predict --run run -", b"no picture");
    assert_fails(&output, "predict -", 1, "standard input: not a picture");

    // CSV, and pictures that are broken.
    let csv = place.run("predict --run run photos --csv --top 1");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("file,class,probability", 3));
    assert!(lines[2].starts_with("photos/b/1.png,") && lines[2].split(',').count() == 3, "{csv}");
    for name in ["x.jpg", "y.png"] {
        fs::write(place.path("photos").join(name), "no picture").unwrap();
    }
    let line = "predict --run run photos";
    let output = place.command(line).output().unwrap();
    assert_fails(&output, line, 1, "2 of 4 pictures cannot be read; --skip-broken goes on without them");
    assert!(text(&output.stderr).contains("photos/x.jpg: ") && text(&output.stderr).contains("photos/y.png: "));
    let found = place.json("predict --run run photos --skip-broken --json");
    assert_eq!((found["images"].as_array().unwrap().len(), found["broken"].as_array().unwrap().len()), (2, 2));
}

/// Weights of ImageNet's thousand classes know their names, sizes, and what pictures are normalized by.
#[test]
fn imagenets_classes_have_names() {
    let place = trained();
    let mut weights: HashMap<String, Tensor> =
        candle_core::safetensors::load(place.path("run/model.safetensors"), &Device::Cpu).unwrap();
    let inner = weights["classifier.3.weight"].dims()[1];
    let mut bias = vec![0f32; 1000];
    bias[285] = 50.0;
    weights.insert("classifier.3.weight".into(), Tensor::zeros((1000, inner), DType::F32, &Device::Cpu).unwrap());
    weights.insert("classifier.3.bias".into(), Tensor::new(bias, &Device::Cpu).unwrap());
    let prefixed: HashMap<String, Tensor> =
        weights.into_iter().map(|(name, tensor)| (format!("state_dict.{name}"), tensor)).collect();
    candle_core::safetensors::save(&prefixed, place.path("imagenet.safetensors")).unwrap();
    png(&place.path("cats/1.png"), [99, 99, 99]);
    let said = place.run("predict --weights imagenet.safetensors cats");
    assert!(said.contains("Egyptian cat") && said.contains("100.0 %"), "{said}");
    let [model, width] = [SMALLEST[1], SMALLEST[3]];
    let found = place.json(&format!("predict --weights imagenet.safetensors --model {model} cats/1.png --json"));
    assert_eq!(
        (&found["model"], &found["images"][0]["predictions"][0]["label"]),
        (&model.into(), &285.into()),
        "{width}"
    );
    listed(&place, "set", &["goldfish", "Egyptian_cat"]);
    let found = place.json("eval --weights imagenet.safetensors --data-dir set --part all --json");
    assert_eq!((&found["test_images"], &found["test_top1"]), (&6.into(), &0.5.into()));
    assert_eq!(found["scores"]["by_class"][285]["right"], 3);
}
