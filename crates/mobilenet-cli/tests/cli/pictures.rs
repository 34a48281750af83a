//! Sets of pictures as people have them, through the program.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::{Place, SMALLEST, assert_fails, records, text};

/// A picture of one color.
fn png(path: &Path, side: u32, color: [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(side, side + 5, image::Rgb(color)).save(path).unwrap();
}

/// Folders of two classes with so many pictures each.
fn fill(place: &Place, folder: &str, n: u32) {
    for i in 0..n {
        png(&place.path(&format!("{folder}/cat/{i}.png")), 30 + i, [200, 10, 10]);
        png(&place.path(&format!("{folder}/dog/{i}.png")), 30 + i, [10, 10, 200]);
    }
}

#[test]
fn broken_pictures_are_listed_and_skipping_them_is_recorded() {
    let place = Place::new();
    fill(&place, "set/Training", 6);
    fill(&place, "set/valid", 2);
    for name in ["Training/cat/bad0.jpg", "Training/dog/bad1.png", "valid/dog/bad2.webp"] {
        fs::write(place.path("set").join(name), "no picture").unwrap();
    }
    let output = place.command("data --data-dir set").output().unwrap();
    assert_fails(&output, "data", 1, "--skip-broken goes on without them");
    for name in ["bad0.jpg", "bad1.png", "bad2.webp"] {
        assert!(text(&output.stderr).contains(name), "{}", text(&output.stderr));
    }
    let info = place.json("data --data-dir set --skip-broken --json");
    assert_eq!((&info["train_images"], &info["test_images"], &info["left_out"]), (&12.into(), &4.into(), &3.into()));
    let train = format!(
        "train {} --data-dir set --skip-broken --epochs 1 --batch-size 4 --image-size 32 --resized-crop 0.3,1 --policy \
         rand-augment:1,9 --color-jitter 0.2,0.2,0.2,0.1 --crop-share 0.9 --out run",
        SMALLEST.join(" ")
    );
    place.run(&train);
    let config: Value = serde_json::from_slice(&fs::read(place.path("run/config.json")).unwrap()).unwrap();
    assert_eq!((&config["data"]["left_out"], &config["data"]["read"]["skip_broken"]), (&3.into(), &true.into()));
    assert_eq!(config["train"]["augment"]["policy"]["magnitude"], 9);
    // The run's own options are those of its evaluation.
    let eval = place.json("eval --run run --json");
    assert_eq!((&eval["test_images"], eval["copy"].as_str().unwrap().contains("32x32 of 36")), (&4.into(), true));
    place.run("predict --run run set/valid/cat/0.png");
}

#[test]
fn a_set_without_parts_is_split_and_that_is_said() {
    let place = Place::new();
    fill(&place, "set", 10);
    let output = place.command("data --data-dir set").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("16 training and 4 test images of 32x32 pixels"), "{}", text(&output.stdout));
    assert!(
        text(&output.stderr).contains("data: no test part: 20 % of each class held out"),
        "{}",
        text(&output.stderr)
    );
    let half = place.json("data --data-dir set --test-share 0.5 --split-seed 3 --image-size 24 --json");
    assert_eq!((&half["test_images"], &half["image"][0]), (&10.into(), &24.into()));
}

#[test]
fn an_image_size_is_never_ignored_and_limits_are_fair() {
    let place = Place::new();
    let info = place.json("data --data-dir data --image-size 40 --json");
    assert_eq!(info["image"], serde_json::json!([40, 40]));
    // Sorted by class.
    let sorted: Vec<u8> = {
        let all = records(100);
        let mut records: Vec<&[u8]> = all.chunks(3073).collect();
        records.sort_by_key(|record| record[0]);
        records.concat()
    };
    fs::create_dir(place.path("sorted")).unwrap();
    fs::write(place.path("sorted/data_batch_1.bin"), &sorted).unwrap();
    fs::write(place.path("sorted/test_batch.bin"), &sorted).unwrap();
    let line = format!(
        "train {} --data-dir sorted --limit-train 20 --limit-test 10 --epochs 1 --batch-size 10 --out fair",
        SMALLEST.join(" ")
    );
    place.run(&line);
    let eval = place.json("eval --run fair --json");
    let mut labels: Vec<u64> = eval["labels"].as_array().unwrap().iter().map(|label| label.as_u64().unwrap()).collect();
    labels.sort_unstable();
    assert_eq!(labels, (0..10).collect::<Vec<_>>());
}

#[test]
fn other_classes_are_named() {
    let place = Place::new();
    fill(&place, "set", 4);
    place.run(&format!("train {} --data-dir set --epochs 1 --batch-size 3 --out run", SMALLEST.join(" ")));
    fs::rename(place.path("set/dog"), place.path("set/wolf")).unwrap();
    let output = place.command("eval --run run").output().unwrap();
    assert_fails(&output, "eval", 1, "expected dog as class 1, found wolf");
}

#[cfg(unix)]
#[test]
fn names_do_nothing_to_a_terminal() {
    let place = Place::new();
    fill(&place, "set/train", 2);
    fill(&place, "set/test", 1);
    let odd = place.path("set/train/dog/\x1b[31mred\n.png");
    fs::write(odd, "no picture").unwrap();
    let output = place.command("data --data-dir set").output().unwrap();
    assert_fails(&output, "data", 1, "\u{fffd}[31mred");
    assert!(!text(&output.stderr).contains('\x1b'), "{}", text(&output.stderr));
}
