//! Every layout on disk gives the same pictures, and every fault in one is told.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Table, encoded, load_dir, picture, pngs, record, records, write};
use image::ImageFormat;
use mobilenet_data::{Dataset, Error, LoadOptions, Progress, Source, Split, decode_image, load};
use parquet::basic::Compression;
use tempfile::tempdir;

/// The pictures `0..n` that `common` draws, labeled `i % 10`.
fn assert_pictures(split: &Split, numbers: std::ops::Range<usize>) {
    assert_eq!(split.len(), numbers.len());
    for (at, i) in numbers.enumerate() {
        assert_eq!(split.labels()[at], i as u32 % 10, "label of {i}");
        assert!(split.image(at).unwrap() == picture(i, 32, 32).as_raw(), "pixels of {i}");
    }
}

fn assert_cifar10(set: &Dataset, train: usize, test: usize) {
    assert_eq!((set.name.as_str(), set.fallback), ("cifar10", false));
    assert_eq!((set.classes[0].as_str(), set.classes[9].as_str()), ("airplane", "truck"));
    assert_pictures(&set.train, 0..train);
    assert_pictures(&set.test, 0..test);
}

#[test]
fn cifar10_is_found_in_every_layout() {
    type Write<'a> = &'a dyn Fn(&Path);
    let parquet = |dir: &Path, train: &str, test: &str| {
        Table::cifar10(pngs(25)).write(&dir.join(train));
        Table::cifar10(pngs(9)).write(&dir.join(test));
    };
    let binary = |dir: &Path| {
        write(&dir.join("data_batch_1.bin"), records(0..10));
        write(&dir.join("data_batch_2.bin"), records(10..25));
        write(&dir.join("test_batch.bin"), records(0..9));
    };
    let layouts: [(&str, Write<'_>); 7] = [
        ("flat", &|dir| parquet(dir, "train.parquet", "test.parquet")),
        ("hub", &|dir| {
            parquet(dir, "plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet")
        }),
        ("converted", &|dir| parquet(dir, "plain_text/train/0000.parquet", "plain_text/test/0.parquet")),
        ("folders", &|dir| parquet(dir, "train/0000.parquet", "test/0000.parquet")),
        ("several", &|dir| {
            let mut all = Table::cifar10(pngs(25));
            let rest = all.rows.split_off(11);
            all.write(&dir.join("train-00000-of-00002.parquet"));
            Table { rows: rest, image: "image", ..all }.write(&dir.join("train-00001-of-00002.parquet"));
            let plain = Compression::UNCOMPRESSED;
            Table { codec: plain, ..Table::cifar10(pngs(9)) }.write(&dir.join("test.parquet"));
        }),
        ("binary", &|dir| binary(dir)),
        ("archive", &|dir| binary(&dir.join("cifar-10-batches-bin"))),
    ];
    for (name, write) in layouts {
        let dir = tempdir().unwrap();
        write(dir.path());
        fs::write(dir.path().join("README.md"), "a file that does not matter").unwrap();
        for source in [Source::Auto, Source::Cifar10] {
            let set = load_dir(source, dir.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_cifar10(&set, 25, 9);
            assert!(set.copy.ends_with("; 25 training and 9 test images"), "{}", set.copy);
            assert!(set.copy.contains("lossless"), "{}", set.copy);
        }
        let error = load_dir(Source::Cifar100, dir.path()).unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn jpeg_is_told_by_its_bytes() {
    let dir = tempdir().unwrap();
    let jpegs = |n| (0..n).map(|i| encoded(&picture(i, 32, 32), ImageFormat::Jpeg)).collect();
    Table::cifar10(jpegs(4)).write(&dir.path().join("train.parquet"));
    Table::cifar10(jpegs(2)).write(&dir.path().join("test.parquet"));
    let set = load_dir(Source::Auto, dir.path()).unwrap();
    assert!(set.copy.contains("JPEG (lossy)"), "{}", set.copy);
    let exact = picture(1, 32, 32);
    for (found, exact) in set.train.image(1).unwrap().iter().zip(exact.as_raw()) {
        assert!(found.abs_diff(*exact) < 30, "{found} {exact}");
    }
}

#[test]
fn cifar100_has_fine_labels() {
    let dir = tempdir().unwrap();
    let (parquet, binary) = (dir.path().join("parquet"), dir.path().join("binary"));
    let fine = |n: usize| {
        let mut table = Table { label: "fine_label", ..Table::cifar10(pngs(n)) };
        table.rows.iter_mut().for_each(|row| row.1 += 90);
        table
    };
    fine(10).write(&parquet.join("cifar100/train.parquet"));
    fine(3).write(&parquet.join("cifar100/test.parquet"));
    let bytes = |n: u8| (0..n).flat_map(|i| record(&[19, 90 + i], i.into())).collect::<Vec<_>>();
    write(&binary.join("train.bin"), bytes(10));
    write(&binary.join("test.bin"), bytes(3));
    for dir in [&parquet, &binary] {
        let set = load_dir(Source::Cifar100, dir).unwrap();
        assert_eq!((set.name.as_str(), set.classes.len()), ("cifar100", 100));
        assert_eq!((set.classes[0].as_str(), set.classes[99].as_str()), ("apple", "worm"));
        assert_eq!(set.train.labels(), (90..100).collect::<Vec<_>>());
        assert_eq!(set.test.image(2).unwrap(), picture(2, 32, 32).as_raw());
    }
    let names: String = (0..100).map(|i| format!("class {i}\n")).collect();
    write(&binary.join("fine_label_names.txt"), names + "\n");
    assert_eq!(load_dir(Source::Auto, &binary).unwrap().classes[42], "class 42");
    write(&binary.join("fine_label_names.txt"), "one\n");
    let error = load_dir(Source::Auto, &binary).unwrap_err();
    assert!(matches!(error, Error::ClassNames { expected: 100, found: 1, .. }), "{error}");
}

#[test]
fn other_class_names_make_another_set() {
    let dir = tempdir().unwrap();
    let dir = dir.path().join("pets");
    let names = Some(&["cat", "dog"][..]);
    let big = || encoded(&picture(0, 40, 20), ImageFormat::Png);
    let table = |n: usize| Table { names, ..Table::cifar10((0..n).map(|_| big()).collect()) };
    table(2).write(&dir.join("train.parquet"));
    table(1).write(&dir.join("test.parquet"));
    let set = load_dir(Source::Auto, &dir).unwrap();
    assert_eq!((set.name.as_str(), &set.classes[..]), ("pets", &["cat".into(), "dog".into()][..]));
    assert_eq!((set.train.height(), set.train.width()), (32, 32));
    assert_eq!(set.train.pixels().unwrap(), decode_image(&big(), 32).unwrap().repeat(2));
    let error = load_dir(Source::Cifar10, &dir).unwrap_err();
    assert!(matches!(error, Error::WrongSet { .. }), "{error}");
}

#[test]
fn image_folders_are_cut_scaled_and_mixed() {
    let dir = tempdir().unwrap();
    let dir = dir.path().join("birds");
    for (class, value) in [("wren", 200u8), ("owl", 100)] {
        for (part, n) in [("train", 6), ("val", 2)] {
            for i in 0..n {
                let image = image::RgbImage::from_pixel(40 + i, 60, image::Rgb([value, 0, i as u8]));
                let path = dir.join(part).join(class).join(format!("{i}.anything"));
                write(&path, encoded(&image, ImageFormat::Png));
            }
        }
    }
    write(&dir.join("train/wren/.hidden"), "not a picture");
    let options = LoadOptions { data_dir: Some(dir.clone()), image_size: 8, ..Default::default() };
    let set = load(&options, &mut |_| {}).unwrap();
    assert_eq!((set.name.as_str(), &set.classes[..]), ("birds", &["owl".into(), "wren".into()][..]));
    assert_eq!((set.train.len(), set.test.len(), set.train.height()), (12, 4, 8));
    for i in 0..set.train.len() {
        let red = if set.train.labels()[i] == 1 { 200 } else { 100 };
        assert_eq!(set.train.image(i).unwrap()[..2], [red, 0]);
    }
    let sorted = set.train.labels().windows(2).filter(|pair| pair[0] != pair[1]).count() == 1;
    assert!(!sorted, "the classes are not mixed: {:?}", set.train.labels());
    assert_eq!(load(&options, &mut |_| {}).unwrap().train, set.train);

    // Each fault of a folder, one at a time.
    let path = |name: &str| dir.join(name);
    write(&path("train/owl/3.png"), "no picture at all");
    let error = load_dir(Source::Folder, &dir).unwrap_err().to_string();
    assert!(error.contains("3.png: not a picture"), "{error}");
    fs::remove_file(path("train/owl/3.png")).unwrap();
    write(&path("val/gull/0.png"), encoded(&picture(0, 9, 9), ImageFormat::Png));
    let error = load_dir(Source::Folder, &dir).unwrap_err();
    assert!(matches!(error, Error::ImageFolder { .. }), "{error}");
    fs::create_dir_all(path("train/gull")).unwrap();
    let error = load_dir(Source::Folder, &dir).unwrap_err();
    assert!(matches!(error, Error::EmptyFolder { .. }), "{error}");
}

#[test]
fn faults_of_a_folder_are_told() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["empty", "strange", "gap", "no_test", "half", "two/a", "two/b", "zero"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    write(&at("file"), "");
    write(&at("strange/notes.txt"), "");
    write(&at("gap/data_batch_1.bin"), records(0..1));
    write(&at("gap/data_batch_3.bin"), records(0..1));
    write(&at("no_test/data_batch_1.bin"), records(0..1));
    Table::cifar10(pngs(2)).write(&at("half/train.parquet"));
    for part in ["two/a/train.bin", "two/a/test.bin", "two/b/train.bin", "two/b/test.bin"] {
        write(&at(part), record(&[0, 0], 0));
    }
    write(&at("zero/data_batch_1.bin"), "");
    write(&at("zero/test_batch.bin"), records(0..1));
    let cases = [
        ("missing", "no such folder"),
        (
            "file",
            "expected a folder, an archive of CIFAR (.tar.gz), *.parquet or a list (*.csv, *.jsonl), found no bytes",
        ),
        ("empty", "the folder is empty"),
        ("strange", "no data set found"),
        ("gap", "data_batch_2.bin: missing"),
        ("no_test", "test_batch.bin: missing"),
        ("half", "expected two of a class at least"),
        ("two", "several data sets found (a, b)"),
        ("zero", "holds no images"),
    ];
    for (name, expected) in cases {
        let error = load_dir(Source::Auto, &at(name)).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
        assert!((error.contains(name) || name == "half") && !error.contains('\n'), "{name}: {error}");
        assert!(load_dir(Source::Cifar10, &at(name)).is_err(), "{name}");
    }
    let options = |source| LoadOptions { source, ..LoadOptions::default() };
    let error = load(&options(Source::Folder), &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::NeedsDataDir { .. }), "{error}");
    let error = load_dir(Source::Shapes10, dir.path()).unwrap_err();
    assert!(matches!(error, Error::TakesNoDataDir { .. }), "{error}");
}

#[test]
fn faults_of_a_parquet_file_are_told() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("train.parquet");
    Table::cifar10(pngs(3)).write(&dir.path().join("test.parquet"));
    let with = |change: &dyn Fn(&mut Table)| {
        let mut table = Table::cifar10(pngs(20));
        change(&mut table);
        table.write(&path);
        let source = if table.names.is_some() { Source::Auto } else { Source::Cifar10 };
        load_dir(source, dir.path()).unwrap_err().to_string()
    };
    let small = encoded(&picture(0, 31, 32), ImageFormat::Png);
    type Change<'a> = &'a dyn Fn(&mut Table);
    let cases: [(Change<'_>, &str); 8] = [
        (&|t| t.rows[9].1 = 10, "row 9: label out of range: expected 0 to 9, found 10"),
        (&|t| t.rows[19].1 = -1, "row 19: label out of range: expected 0 to 9, found -1"),
        (&|t| t.rows[8].0 = Some(b"no picture".to_vec()), "row 8: not a picture"),
        (&|t| t.rows[15].0 = None, "row 15: the picture is null"),
        (&|t| t.rows[16].0 = Some(small.clone()), "row 16: expected a picture of 32x32, found 32x31"),
        (&|t| t.rows.clear(), "holds no images"),
        (&|t| t.label = "kind", "found img.bytes: BYTE_ARRAY, img.path: BYTE_ARRAY, kind: INT64"),
        (&|t| t.names = Some(&["a", "b"]), "row 2: label out of range: expected 0 to 1, found 2"),
    ];
    for (change, expected) in cases {
        let error = with(change);
        assert!(error.contains(expected), "expected {expected}; found {error}");
        assert!(error.contains("train.parquet") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn sources_have_names() {
    for &source in Source::ALL {
        assert_eq!(source.to_string().parse::<Source>().unwrap(), source);
    }
    let error = "cifar".parse::<Source>().unwrap_err().to_string();
    assert_eq!(error, "unknown data set \"cifar\", expected auto, cifar10, cifar100, shapes10, flaws or folder");
}

#[test]
fn the_cache_comes_before_anything_else() {
    let cache = tempdir().unwrap();
    let dir = cache.path().join("cifar10");
    write(&dir.join("data_batch_1.bin"), records(0..12));
    write(&dir.join("test_batch.bin"), records(0..4));
    let cache_dir = Some(cache.path().to_path_buf());
    for source in [Source::Auto, Source::Cifar10] {
        let options = LoadOptions { source, cache_dir: cache_dir.clone(), ..Default::default() };
        assert_cifar10(&load(&options, &mut |_| {}).unwrap(), 12, 4);
    }
    // A broken copy is an error, not a reason to fall back in silence.
    write(&dir.join("test_batch.bin"), &records(0..4)[1..]);
    let options = LoadOptions { cache_dir, ..Default::default() };
    let error = load(&options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::BinarySize { .. }), "{error}");
}

#[test]
fn auto_falls_back_and_says_so_but_cifar10_does_not() {
    let cache = tempdir().unwrap();
    let drawn = Some(mobilenet_data::Drawn { train: 20, test: 10, seed: 5 });
    let cache_dir = Some(cache.path().to_path_buf());
    let options =
        |source| LoadOptions { source, cache_dir: cache_dir.clone(), offline: true, drawn, ..LoadOptions::default() };
    let mut reasons = Vec::new();
    let set = load(&options(Source::Auto), &mut |progress| {
        if let Progress::FallingBack { reason } = progress {
            reasons.push(reason);
        }
    })
    .unwrap();
    assert!(set.fallback && set.name == "shapes10");
    assert!(reasons.len() == 1 && reasons[0].contains("cifar10 is not available"), "{reasons:?}");
    let shapes10 = load(&options(Source::Shapes10), &mut |_| {}).unwrap();
    assert!(!shapes10.fallback);
    assert_eq!(shapes10.train, set.train);
    for source in [Source::Cifar10, Source::Cifar100] {
        let error = load(&options(source), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::NotAvailable { .. }), "{error}");
    }
}

#[test]
fn the_real_files_load() {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/cifar10"));
    if !dir.is_dir() {
        return;
    }
    let (mut last, mut reports) = (None, 0);
    let options = LoadOptions { data_dir: Some(dir), ..LoadOptions::default() };
    let set = load(&options, &mut |progress| {
        reports += 1;
        last = Some(progress);
    })
    .unwrap();
    assert_eq!((set.name.as_str(), set.train.len(), set.test.len()), ("cifar10", 50_000, 10_000));
    for (found, published) in set.mean.iter().zip([0.4914, 0.4822, 0.4465]) {
        assert!((found - published).abs() < 0.005, "mean {found}, published {published}");
    }
    for (found, published) in set.std.iter().zip([0.2470, 0.2435, 0.2616]) {
        assert!((found - published).abs() < 0.005, "std {found}, published {published}");
    }
    let done = Progress::Reading { file: "test.parquet".into(), done: 10_000, total: 10_000 };
    assert!(reports > 10 && last == Some(done), "{reports} {last:?}");
}
