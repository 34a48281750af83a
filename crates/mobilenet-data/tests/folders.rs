//! Folders of pictures as people have them.

mod common;

use std::fs;
use std::path::Path;

use common::{encoded, picture, write};
use image::ImageFormat;
use mobilenet_data::{Dataset, Error, LoadOptions, ReadOptions, Source, load, load_image};
use tempfile::tempdir;

fn png(i: usize) -> Vec<u8> {
    encoded(&picture(i, 40, 30), ImageFormat::Png)
}

/// Two pictures of each class in each of these folders.
fn fill(dir: &Path, folders: &[&str]) {
    for (at, folder) in folders.iter().enumerate() {
        for (class, i) in [("cat", 0), ("cat", 1), ("dog", 0), ("dog", 1)] {
            write(&dir.join(folder).join(class).join(format!("{i}.png")), png(at * 10 + i));
        }
    }
}

fn read(dir: &Path, read: ReadOptions) -> Result<Dataset, Error> {
    let options = LoadOptions { data_dir: Some(dir.into()), image_size: 8, read, ..Default::default() };
    load(&options, &mut |_| {})
}

fn counts(set: &Dataset) -> (usize, usize) {
    (set.train.len(), set.test.len())
}

#[test]
fn parts_have_many_names() {
    for (train, test) in [
        ("train", "test"),
        ("Train", "TEST"),
        ("training", "testing"),
        ("TRAINING", "val"),
        ("train", "Valid"),
        ("train", "validation"),
        ("train", "eval"),
    ] {
        let dir = tempdir().unwrap();
        fill(dir.path(), &[train, test]);
        let set = read(dir.path(), ReadOptions::default()).unwrap_or_else(|e| panic!("{train} {test}: {e}"));
        assert_eq!((counts(&set), set.classes.join(" ")), ((4, 4), "cat dog".into()), "{train} {test}");
        assert_eq!(set.notes, Vec::<String>::new());
    }
    let dir = tempdir().unwrap();
    fill(dir.path(), &["train", "val", "fit", "deep/fold 1"]);
    let named =
        ReadOptions { train_part: Some("fit".into()), test_part: Some("deep/fold 1".into()), ..Default::default() };
    let set = read(dir.path(), named.clone()).unwrap();
    // The last channel is the picture's number.
    let blue = |set: &Dataset| set.test.pixels().unwrap()[2];
    assert_eq!((counts(&set), blue(&set) / 10, set.train.pixels().unwrap()[2] / 10), ((4, 4), 3, 2));
    let error = read(dir.path(), ReadOptions { test_part: Some("fold 9".into()), ..named }).unwrap_err().to_string();
    assert!(error.contains("fold 9: missing"), "{error}");
}

#[test]
fn the_best_part_is_taken_and_the_others_are_named() {
    let dir = tempdir().unwrap();
    fill(dir.path(), &["train", "val", "test"]);
    let set = read(dir.path(), ReadOptions::default()).unwrap();
    assert_eq!((set.test.pixels().unwrap()[2] / 10, set.notes.len()), (2, 1));
    assert_eq!(set.notes[0], "test images are those of test; not used: val");
    // A test part without labels, as in a competition.
    fs::remove_dir_all(dir.path().join("test")).unwrap();
    write(&dir.path().join("test/0.png"), png(0));
    let set = read(dir.path(), ReadOptions::default()).unwrap();
    assert_eq!((set.test.pixels().unwrap()[2] / 10, set.notes.len()), (1, 1));
    assert_eq!(set.notes[0], "test has no folders of classes and is not used");
}

#[test]
fn without_parts_some_are_held_out() {
    let dir = tempdir().unwrap();
    for i in 0..10 {
        write(&dir.path().join(format!("set/cat/{i}.png")), png(i));
        write(&dir.path().join(format!("set/dog/{i}.png")), png(i));
    }
    write(&dir.path().join("set/docs/about.txt"), "no class");
    for path in [dir.path().join("set"), dir.path().into()] {
        let set = read(&path, ReadOptions::default()).unwrap();
        assert_eq!((counts(&set), set.classes.join(" ")), ((16, 4), "cat dog".into()));
        assert_eq!(set.test.labels().iter().filter(|&&label| label == 0).count(), 2);
        assert_eq!(set.notes, ["no test part: 20 % of each class held out as test images, seed 0"]);
        assert!(set.copy.contains("20 % of each class held out"), "{}", set.copy);
    }
    // Each picture knows its file, in memory or not, through whatever is taken out of the set.
    for picture_cache in [0, u64::MAX] {
        let options =
            LoadOptions { data_dir: Some(dir.path().into()), image_size: 8, picture_cache, ..Default::default() };
        let set = load(&options, &mut |_| {}).unwrap();
        let (rest, held_out) = set.train.split_off_validation(6, 1).unwrap();
        let mut files = Vec::new();
        for split in [rest.take(9), held_out, set.test] {
            for i in 0..split.len() {
                let file = split.file(i).unwrap();
                let found = load_image(file, 8).unwrap();
                assert_eq!(found, &*split.picture(i).unwrap(), "{}", file.display());
                assert!(file.parent().unwrap().ends_with(&set.classes[split.labels()[i] as usize]));
                files.push(file.to_owned());
            }
            assert_eq!(split.file(split.len()), None);
        }
        files.sort();
        files.dedup();
        assert_eq!(files.len(), 19);
    }
    let of = |seed| read(dir.path(), ReadOptions { split_seed: seed, ..Default::default() }).unwrap().test;
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let half = read(dir.path(), ReadOptions { test_share: Some(0.5), ..Default::default() }).unwrap();
    assert_eq!(counts(&half), (10, 10));

    let dir = tempdir().unwrap();
    fill(dir.path(), &["train"]);
    assert_eq!(counts(&read(dir.path(), ReadOptions::default()).unwrap()), (2, 2));
}

#[test]
fn strays_nested_folders_and_missing_classes() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for class in ["cat", "dog"] {
        for i in 0..2 {
            write(&at(&format!("train/{class}/images/deep/{i}.png")), png(i));
        }
    }
    write(&at("test/dog/0.png"), png(0));
    // Without an ending, but a picture.
    write(&at("test/dog/1"), png(1));
    for stray in [
        "train/classes.txt",
        "train/cat/Thumbs.db",
        "train/cat/desktop.ini",
        "train/cat/.DS_Store",
        "train/cat/images/deep/0.png:Zone.Identifier",
        "train/dog/__MACOSX/0.png",
        "train/dog/._0.png",
        "__MACOSX/train/cat/0.png",
        "test/dog/notes.txt",
        "README.md",
    ] {
        write(&at(stray), "not a picture");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink(at("train/dog"), at("train/dog/images/loop")).unwrap();
    let set = read(dir.path(), ReadOptions::default()).unwrap();
    assert_eq!(counts(&set), (4, 2));
    assert_eq!(set.test.labels(), [1, 1]);
    assert_eq!(set.notes.len(), 2, "{:?}", set.notes);
    assert_eq!(set.notes[0], "test has no images of a class of train: cat");
    assert!(set.notes[1].starts_with("files that are no pictures were left out (4): "), "{}", set.notes[1]);
    assert!(set.notes[1].contains("Thumbs.db") && set.notes[1].contains("notes.txt"), "{}", set.notes[1]);
}

#[test]
fn broken_pictures_are_told_all_at_once_and_may_be_left_out() {
    let dir = tempdir().unwrap();
    fill(dir.path(), &["train", "test"]);
    let at = |name: &str| dir.path().join(name);
    let jpeg = encoded(&picture(0, 64, 64), ImageFormat::Jpeg);
    let bad: [(&str, &[u8]); 6] = [
        ("train/cat/text.jpg", b"no picture"),
        ("train/dog/empty.png", b""),
        ("train/dog/cut.jpg", &jpeg[..jpeg.len() / 2]),
        ("test/cat/photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
        ("test/cat/pointer.webp", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        ("test/dog/huge.png", &giant_png(2_130_706_482, 1)),
    ];
    bad.iter().for_each(|(name, bytes)| write(&at(name), bytes));
    let error = read(dir.path(), ReadOptions::default()).unwrap_err();
    let Error::BrokenPictures { broken, total: 14 } = &error else { panic!("{error}") };
    let lines: Vec<String> = broken.iter().map(|broken| broken.to_string()).collect();
    for (name, reason) in [
        ("text.jpg", "found 10 bytes of another kind"),
        ("empty.png", "found no bytes"),
        ("cut.jpg", "a JPEG that is cut short"),
        ("photo.heic", "found HEIC"),
        ("pointer.webp", "found a Git LFS pointer"),
        ("huge.png", "claims 1x2130706482 pixels"),
    ] {
        assert!(lines.iter().any(|line| line.contains(name) && line.contains(reason)), "{name}: {lines:?}");
    }
    let text = error.to_string();
    assert!(text.starts_with("6 of 14 pictures cannot be read: ") && text.ends_with("; and 1 more"), "{text}");

    let skip = ReadOptions { skip_broken: true, ..Default::default() };
    let set = read(dir.path(), skip.clone()).unwrap();
    assert_eq!((counts(&set), set.left_out), ((4, 4), 6));
    assert_eq!(set.notes, ["6 of 14 pictures are broken and were left out"]);
    // A class of which nothing is left cannot be learned.
    for i in 0..2 {
        write(&at(&format!("train/cat/{i}.png")), "");
    }
    let error = read(dir.path(), skip).unwrap_err().to_string();
    assert_eq!(error, "no training images of cat");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_a_broken_picture() {
    let dir = tempdir().unwrap();
    fill(dir.path(), &["train", "test"]);
    let pipe = dir.path().join("train/cat/pipe.png");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("train/cat/zero.png")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("train/cat/gone.png")).unwrap();
    let sparse = fs::File::create(dir.path().join("train/dog/sparse.png")).unwrap();
    sparse.set_len(3 << 30).unwrap();
    let error = read(dir.path(), ReadOptions::default()).unwrap_err();
    let Error::BrokenPictures { broken, .. } = &error else { panic!("{error}") };
    let text = broken.iter().map(|b| b.to_string()).collect::<Vec<_>>().join("\n");
    for expected in
        ["pipe.png: a named pipe", "zero.png: a device", "gone.png: No such file", "sparse.png: 3221225472 bytes"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_stay_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let dir = tempdir().unwrap();
    for part in ["train", "test"] {
        for name in [&b"caf\xe8"[..], b"caf\xe9", b"\x1b[31mred\n"] {
            write(&dir.path().join(part).join(OsStr::from_bytes(name)).join("0.png"), png(0));
        }
    }
    let set = read(dir.path(), ReadOptions::default()).unwrap();
    assert_eq!(set.classes, ["\\x1b[31mred\\x0a", "caf\\xe8", "caf\\xe9"]);
    let mut labels = set.train.labels().to_vec();
    labels.sort_unstable();
    assert_eq!(labels, [0, 1, 2]);
}

/// The head of a PNG that claims a size.
fn giant_png(height: u32, width: u32) -> Vec<u8> {
    common::png_head(height, width)
}

#[test]
fn lists_of_pictures() {
    type Write<'a> = &'a dyn Fn(&Path);
    let pictures =
        |dir: &Path, names: &[&str]| names.iter().enumerate().for_each(|(i, name)| write(&dir.join(name), png(i)));
    let layouts: [(&str, Write<'_>, (usize, usize)); 8] = [
        (
            "hub, a list in each part",
            &|dir| {
                pictures(dir, &["train/0.png", "train/1.png", "train/2.png", "test/0.png"]);
                let line = |name: &str, label: &str| format!("{{\"file_name\": \"{name}\", \"label\": \"{label}\"}}\n");
                write(
                    &dir.join("train/metadata.jsonl"),
                    line("0.png", "dog") + &line("1.png", "cat") + &line("2.png", "dog"),
                );
                write(&dir.join("test/metadata.jsonl"), line("0.png", "cat"));
            },
            (3, 1),
        ),
        (
            "hub, one list",
            &|dir| {
                pictures(dir, &["train/0.png", "train/1.png", "validation/0.png"]);
                let rows = "file_name,label\ntrain/0.png,dog\ntrain/1.png,cat\nvalidation/0.png,dog\n";
                write(&dir.join("metadata.csv"), rows);
            },
            (2, 1),
        ),
        (
            "a column of parts",
            &|dir| {
                pictures(dir, &["a/0.png", "a/1.png", "b/2.png"]);
                let rows = "filepaths,labels,data set\na/0.png,dog,train\na/1.png,cat,train\nb/2.png,dog,test\n";
                write(&dir.join("birds.csv"), rows);
            },
            (2, 1),
        ),
        (
            "competition: names without ending, a test list without labels",
            &|dir| {
                let names: Vec<String> = (0..10).map(|i| format!("train/x{i}.jpg.png")).collect();
                pictures(dir, &names.iter().map(String::as_str).collect::<Vec<_>>());
                pictures(dir, &["test/y0.png"]);
                let rows: String =
                    (0..10).map(|i| format!("x{i}.jpg,{}\n", if i % 2 == 0 { "cat" } else { "dog" })).collect();
                write(&dir.join("train.csv"), format!("id,breed\n{rows}"));
                write(&dir.join("test.csv"), "id\ny0\n");
            },
            (8, 2),
        ),
        (
            "two lists",
            &|dir| {
                pictures(dir, &["images/0.png", "images/1.png", "images/2.png"]);
                write(&dir.join("train_labels.csv"), "image;class\n0.png;dog\n1.png;cat\n");
                write(&dir.join("val_labels.csv"), "image;class\n2.png;dog\n");
            },
            (2, 1),
        ),
        (
            "no header",
            &|dir| {
                pictures(dir, &["img/0.png", "img/1.png", "img/2.png", "img/3.png"]);
                write(&dir.join("labels.csv"), "img/0.png,dog\nimg/1.png,cat\nimg/2.png,dog\nimg/3.png,cat\n");
            },
            (2, 2),
        ),
        (
            "numbers, in the same folder",
            &|dir| {
                pictures(dir, &["0.png", "1.png", "2.png", "3.png"]);
                write(&dir.join("labels.tsv"), "file\tlabel\n0.png\t9\n1.png\t10\n2.png\t9\n3.png\t10\n");
            },
            (2, 2),
        ),
        (
            "Windows",
            &|dir| {
                pictures(dir, &["set/train/0.png", "set/train/1.png", "set/test/0.png"]);
                let rows = "\u{feff}file_name,label\r\ntrain\\0.png,\"dog\"\r\ntrain\\1.png,cat\r\ntest\\0.png,cat\r\n";
                write(&dir.join("set/metadata.csv"), rows);
            },
            (2, 1),
        ),
    ];
    for (name, write, expected) in layouts {
        let dir = tempdir().unwrap();
        write(dir.path());
        let set = read(dir.path(), ReadOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(counts(&set), expected, "{name}: {:?}", set.notes);
        let classes = if name.starts_with("numbers") { "9 10" } else { "cat dog" };
        assert_eq!(set.classes.join(" "), classes, "{name}");
    }
}

#[test]
fn faults_of_lists_are_told() {
    let dir = tempdir().unwrap();
    let list = dir.path().join("labels.csv");
    for i in 0..4 {
        write(&dir.path().join(format!("img/{i}.png")), png(i));
    }
    let with = |text: &str, options: ReadOptions| {
        write(&list, text);
        read(dir.path(), options)
    };
    let rows = "0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n";
    let error =
        with(&format!("file,label\n{rows}8.png,cat\n2.png,\n"), ReadOptions::default()).unwrap_err().to_string();
    assert!(error.contains("labels.csv: row 6: names 8.png, which is not there"), "{error}");
    assert!(error.starts_with("2 of 6 ") && error.contains("labels.csv: row 7: has no label"), "{error}");
    let skip = ReadOptions { skip_broken: true, ..Default::default() };
    assert_eq!(with(&format!("file,label\n{rows}8.png,cat\n"), skip).unwrap().left_out, 1);
    // Three columns, none of which is known: an option tells.
    let three = "photo_of,animal,keeper\n0.png,cat,x\n1.png,dog,x\n2.png,cat,y\n3.png,dog,y\n";
    assert!(with(three, ReadOptions::default()).is_err());
    let named = |image: &str, label: &str| ReadOptions {
        image_column: Some(image.into()),
        label_column: Some(label.into()),
        ..Default::default()
    };
    assert_eq!(with(three, named("photo_of", "keeper")).unwrap().classes, ["x", "y"]);
    let file = LoadOptions { data_dir: Some(list.clone()), read: named("photo_of", "nothing"), ..Default::default() };
    let error = load(&file, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("a column nothing, found photo_of, animal, keeper"), "{error}");
    // A file by itself, and one that leads out of its folder.
    write(&list, format!("file,label\n{rows}"));
    let file = LoadOptions { data_dir: Some(list.clone()), source: Source::Folder, ..Default::default() };
    assert_eq!(counts(&load(&file, &mut |_| {}).unwrap()), (2, 2));
    let outside = dir.path().join("img/labels.csv");
    write(&dir.path().join("secret.png"), png(9));
    write(&outside, "file,label\n../secret.png,cat\n0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n");
    let error =
        load(&LoadOptions { data_dir: Some(outside), ..Default::default() }, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("names ../secret.png, which is not there"), "{error}");
}
