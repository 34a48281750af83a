//! Parquet of any set of pictures.

mod common;

use std::path::Path;

use common::{Table, encoded, picture, png_head, pngs, write};
use image::ImageFormat;
use mobilenet_data::{Dataset, Error, LoadOptions, ReadOptions, Source, decode_image, load};
use parquet::basic::{BrotliLevel, Compression, GzipLevel};
use tempfile::tempdir;

fn read(dir: &Path, read: ReadOptions) -> Result<Dataset, Error> {
    let options = LoadOptions { data_dir: Some(dir.into()), image_size: 16, read, ..Default::default() };
    load(&options, &mut |_| {})
}

fn plain(dir: &Path) -> Dataset {
    read(dir, ReadOptions::default()).unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
}

/// Rows with pictures of several sizes and these labels.
fn table(labels: &[i64]) -> Table {
    let png = |i: usize| encoded(&picture(i, 20 + i as u32 % 7, 30), ImageFormat::Png);
    let rows = labels.iter().enumerate().map(|(i, &label)| (Some(png(i)), label)).collect();
    Table { rows, image: "image", ..Table::cifar10(Vec::new()) }
}

#[test]
fn columns_are_told_by_name_and_type_or_by_options() {
    for (image, label) in
        [("img", "labels"), ("image", "label"), ("pixel_values", "coarse"), ("Picture", "Category"), ("photo", "class")]
    {
        let dir = tempdir().unwrap();
        for part in ["train", "test"] {
            Table { image, label, ..table(&[0, 1, 2, 1]) }.write(&dir.path().join(format!("{part}.parquet")));
        }
        if label == "coarse" {
            let error = read(dir.path(), ReadOptions::default()).unwrap_err().to_string();
            assert!(error.contains("--label-column can name") && error.contains("coarse: INT64"), "{error}");
        }
        let options = ReadOptions {
            label_column: Some(label).filter(|label| *label == "coarse").map(Into::into),
            ..ReadOptions::default()
        };
        let set = read(dir.path(), options).unwrap_or_else(|e| panic!("{image} {label}: {e}"));
        assert_eq!((set.train.labels(), set.classes.join(" ")), (&[0, 1, 2, 1][..], "0 1 2".into()));
        let named = |image: &str| ReadOptions {
            image_column: Some(image.into()),
            label_column: Some(label.into()),
            ..Default::default()
        };
        assert_eq!(read(dir.path(), named(image)).unwrap().train, set.train);
        let error = read(dir.path(), named("no such column")).unwrap_err().to_string();
        assert!(error.contains("expected no such column, a column of encoded pictures"), "{error}");
    }
}

#[test]
fn pictures_of_any_size_are_scaled_as_those_of_folders() {
    let dir = tempdir().unwrap();
    let dir = dir.path().join("photos");
    table(&[3, 9, 3, 9]).write(&dir.join("train.parquet"));
    table(&[9, 3]).write(&dir.join("valid.parquet"));
    let set = plain(&dir);
    // Not CIFAR's ten classes.
    assert_eq!((set.name.as_str(), set.classes.join(" ")), ("photos", "3 9".into()));
    for (i, (bytes, _)) in table(&[3, 9, 3, 9]).rows.iter().enumerate() {
        assert_eq!(set.train.image(i).unwrap(), decode_image(bytes.as_ref().unwrap(), 16).unwrap());
    }
    assert_eq!((set.train.labels(), set.test.labels()), (&[0, 1, 0, 1][..], &[1, 0][..]));
    assert!(set.copy.starts_with("parquet of PNG (lossless), scaled to 16x16: train.parquet (sha256 "), "{}", set.copy);
}

#[test]
fn only_cifar_is_called_cifar() {
    let dir = tempdir().unwrap();
    let cifar = |n: usize, image| Table { image, ..Table::cifar10(pngs(n)) };
    let name = |train: Table, source| {
        let dir = dir.path().join("set");
        train.write(&dir.join("train.parquet"));
        cifar(1, train.image).write(&dir.join("test.parquet"));
        let set = load(&LoadOptions { source, data_dir: Some(dir), image_size: 16, ..Default::default() }, &mut |_| {});
        set.map(|set| (set.name, set.classes.len(), set.train.height())).map_err(|e| e.to_string())
    };
    assert_eq!(name(cifar(10, "img"), Source::Auto), Ok(("cifar10".into(), 10, 32)));
    // Not all labels, or another name of the column: its own numbers.
    assert_eq!(name(cifar(3, "img"), Source::Auto), Ok(("set".into(), 3, 16)));
    assert_eq!(name(cifar(10, "image"), Source::Auto), Ok(("set".into(), 10, 16)));
    // Asked for, it may be.
    assert_eq!(name(cifar(3, "image"), Source::Cifar10), Ok(("cifar10".into(), 10, 32)));
    let error = name(Table { rows: table(&[0, 1]).rows, ..cifar(0, "img") }, Source::Cifar10).unwrap_err();
    assert!(error.contains("expected the data set cifar10"), "{error}");
}

#[test]
fn labels_may_be_texts() {
    let dir = tempdir().unwrap();
    let texts = Some((|label| ["wren", "owl", "caf\x1b"][label as usize]) as fn(i64) -> &'static str);
    Table { texts, ..table(&[0, 1, 2, 1]) }.write(&dir.path().join("train.parquet"));
    Table { texts, ..table(&[1, 0]) }.write(&dir.path().join("test.parquet"));
    let set = plain(dir.path());
    assert_eq!(set.classes, ["caf\\x1b", "owl", "wren"]);
    assert_eq!((set.train.labels(), set.test.labels()), (&[2, 1, 0, 1][..], &[1, 2][..]));
    Table { texts, ..table(&[0, 1]) }.write(&dir.path().join("train.parquet"));
    Table { texts, ..table(&[1, 2]) }.write(&dir.path().join("test.parquet"));
    let error = read(dir.path(), ReadOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("row 1: expected a class that the training images have, found caf\\x1b"), "{error}");
}

#[test]
fn parts_and_sets_without_them() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    table(&[0, 1, 0, 1, 0, 1]).write(&at("a/data/train-00000-of-00001.parquet"));
    table(&[1, 0]).write(&at("a/data/validation-00000-of-00001.parquet"));
    // A test part without labels.
    table(&[-1, -1, -1]).write(&at("a/data/test-00000-of-00001.parquet"));
    let set = plain(&at("a"));
    assert_eq!(set.test.labels(), [1, 0]);
    assert!(set.notes.iter().any(|note| note.contains("test-00000-of-00001 has no labels")), "{:?}", set.notes);
    table(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]).write(&at("b/0000.parquet"));
    for path in [at("b"), at("b/0000.parquet")] {
        let set = plain(&path);
        assert_eq!((set.train.len(), set.test.len()), (8, 2));
        assert_eq!(set.notes, ["no test part: 20 % of each class held out as test images, seed 0"]);
    }
    let named = ReadOptions { train_part: Some("fit".into()), test_part: Some("check".into()), ..Default::default() };
    table(&[0, 1]).write(&at("c/fit.parquet"));
    table(&[1, 0]).write(&at("c/check.parquet"));
    assert_eq!(read(&at("c"), named.clone()).unwrap().test.labels(), [1, 0]);
    let error = read(&at("a"), named).unwrap_err().to_string();
    assert!(error.contains("fit*.parquet: missing"), "{error}");
}

#[test]
fn classes_are_the_same_in_every_file() {
    let dir = tempdir().unwrap();
    let with = |names| Table { names: Some(names), ..table(&[0, 1]) };
    with(&["cat", "dog"]).write(&dir.path().join("train.parquet"));
    with(&["dog", "cat"]).write(&dir.path().join("test.parquet"));
    let error = read(dir.path(), ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("test.parquet: other classes than the first file's: expected cat as label 0, found dog"),
        "{error}"
    );
    with(&["cat", "dog", "gnu"]).write(&dir.path().join("test.parquet"));
    let error = read(dir.path(), ReadOptions::default()).unwrap_err().to_string();
    assert!(error.ends_with("expected none as label 2, found gnu"), "{error}");
    // The names are written once.
    table(&[1, 0]).write(&dir.path().join("test.parquet"));
    assert_eq!(plain(dir.path()).classes, ["cat", "dog"]);
}

#[test]
fn every_codec() {
    let dir = tempdir().unwrap();
    let [gzip, brotli] = [Compression::GZIP(GzipLevel::default()), Compression::BROTLI(BrotliLevel::default())];
    for codec in [gzip, brotli, Compression::LZ4, Compression::LZ4_RAW, Compression::SNAPPY, Compression::UNCOMPRESSED]
    {
        for dictionary in [false, true] {
            for part in ["train", "test"] {
                let table = Table { codec, dictionary, ..table(&[0, 1, 2, 1]) };
                table.write(&dir.path().join(format!("{part}.parquet")));
            }
            let set = plain(dir.path());
            assert_eq!(set.train.labels(), [0, 1, 2, 1], "{codec}");
            assert_eq!(
                set.train.image(2).unwrap(),
                decode_image(table(&[0; 3]).rows[2].0.as_ref().unwrap(), 16).unwrap()
            );
        }
    }
}

/// What pyarrow wrote: `fixtures/make_parquet.py`.
#[test]
fn every_codec_of_pyarrow() {
    for codec in ["zstd", "gzip", "brotli", "lz4"] {
        for version in [1, 2] {
            let name = format!("{codec}-{version}.parquet");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet").join(&name);
            let options = LoadOptions { data_dir: Some(path.clone()), image_size: 8, ..Default::default() };
            let set = load(&options, &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!((set.classes.join(" "), set.train.len(), set.test.len()), ("cat dog".into(), 2, 2), "{name}");
            for (split, class) in [(&set.train, 0), (&set.train, 1), (&set.test, 0), (&set.test, 1)] {
                let at = split.labels().iter().position(|&label| label == class).unwrap();
                let image = split.image(at).unwrap();
                let number = usize::from(image[2]);
                assert_eq!(number % 2, 1 - class as usize, "{name}");
                assert_eq!(image, picture(number, 8, 8).as_raw().as_slice(), "{name}");
            }
            // Cut or changed anywhere: an error or the same, never a panic.
            let bytes = std::fs::read(path).unwrap();
            let dir = tempdir().unwrap();
            for at in (0..bytes.len()).step_by(29) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x5a;
                write(&dir.path().join("train.parquet"), &damaged);
                if let Err(error) = read(dir.path(), ReadOptions::default()) {
                    assert!(!error.to_string().contains('\n'), "{name} at {at}: {error}");
                }
            }
        }
    }
}

#[test]
fn broken_pictures_and_pointers() {
    let dir = tempdir().unwrap();
    let mut train = table(&[0, 1, 0, 1]);
    train.rows[1].0 = Some(b"no picture".to_vec());
    train.rows[2].0 = None;
    train.rows.push((Some(png_head(65_535, 65_535)), 1));
    train.rows.push((train.rows[0].0.clone(), 1));
    train.write(&dir.path().join("train.parquet"));
    table(&[0, 1]).write(&dir.path().join("test.parquet"));
    let error = read(dir.path(), ReadOptions::default()).unwrap_err().to_string();
    for expected in [
        "3 of 8 pictures cannot be read",
        "train.parquet: row 1: not a picture",
        "train.parquet: row 2: the picture is null",
        "train.parquet: row 4: claims 65535x65535 pixels",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let set = read(dir.path(), ReadOptions { skip_broken: true, ..Default::default() }).unwrap();
    assert_eq!((set.train.labels(), set.left_out), (&[0, 1, 1][..], 3));
    write(
        &dir.path().join("test.parquet"),
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 119705255\n",
    );
    let error = read(dir.path(), ReadOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("test.parquet: a Git LFS pointer instead of the file itself (git lfs pull fetches it)"),
        "{error}"
    );
}
