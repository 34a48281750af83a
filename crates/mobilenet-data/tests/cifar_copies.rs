//! CIFAR as people have it: the Python version, archives, and copies of which something is missing.

mod common;

use std::fs::{self, File};
use std::path::Path;

use common::{encoded, load_dir, picture, record, records, write};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::ImageFormat;
use mobilenet_data::{Dataset, Error, LoadOptions, ReadOptions, Source, load};
use tempfile::tempdir;

/// How a pickle writes byte strings.
#[derive(Clone, Copy)]
enum Python {
    /// As Python 2's `str`, which is how the published files are.
    Two,
    /// Protocol 2 of Python 3: text, to be encoded.
    Three,
    /// Protocol 4.
    Four,
}

fn string(python: Python, bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_le_bytes();
    match python {
        Python::Two => [b"T", &length[..], bytes].concat(),
        Python::Four => [b"B", &length[..], bytes].concat(),
        Python::Three => {
            let text: String = bytes.iter().map(|&byte| byte as char).collect();
            let length = (text.len() as u32).to_le_bytes();
            [b"c_codecs\nencode\nX", &length[..], text.as_bytes(), b"X\x06\0\0\0latin1\x86R"].concat()
        }
    }
}

/// `{"labels": …, "data": numpy.array(…), "filenames": […]}` as Python writes it.
fn batch(python: Python, numbers: std::ops::Range<usize>, label_key: &str, label: impl Fn(usize) -> u8) -> Vec<u8> {
    let n = numbers.len();
    let planes: Vec<u8> = numbers.clone().flat_map(|i| record(&[], i)).collect();
    let s = |bytes: &[u8]| string(python, bytes);
    let labels: Vec<u8> = numbers.flat_map(|i| [b'K', label(i)]).collect();
    let shape = [&b"(J"[..], &(n as i32).to_le_bytes(), b"M\x00\x0ct"].concat();
    let module: &[u8] =
        if matches!(python, Python::Two) { b"cnumpy.core.multiarray\n" } else { b"cnumpy._core.multiarray\n" };
    let array = [
        module,
        b"_reconstruct\ncnumpy\nndarray\nK\x00\x85",
        &s(b"b"),
        b"\x87R(K\x01",
        &shape,
        b"cnumpy\ndtype\nX\x02\0\0\0u1K\x00K\x01\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        &s(&planes),
        b"tb",
    ]
    .concat();
    let names = [b"](", &s(b"a.png")[..], &s(b"b.png"), b"e"].concat();
    let entries =
        [s(label_key.as_bytes()), [b"](", &labels[..], b"e"].concat(), s(b"data"), array, s(b"filenames"), names];
    [b"\x80\x02}q\x00(", &entries.concat()[..], b"u."].concat()
}

fn meta(python: Python, key: &str, names: usize) -> Vec<u8> {
    let names: Vec<u8> = (0..names).flat_map(|i| string(python, format!("class {i}").as_bytes())).collect();
    [b"\x80\x02}(", &string(python, key.as_bytes())[..], b"](", &names, b"eu."].concat()
}

fn assert_pictures(set: &Dataset, train: usize, test: usize) {
    for (split, n) in [(&set.train, train), (&set.test, test)] {
        assert_eq!(split.len(), n);
        for i in 0..n {
            assert_eq!(split.labels()[i], i as u32 % 10);
            assert!(split.image(i).unwrap() == picture(i, 32, 32).as_raw(), "pixels of {i}");
        }
    }
}

fn python_version(python: Python, dir: &Path) {
    let dir = dir.join("cifar-10-batches-py");
    for i in 0..5 {
        write(&dir.join(format!("data_batch_{}", i + 1)), batch(python, i * 2..i * 2 + 2, "labels", |i| i as u8 % 10));
    }
    write(&dir.join("test_batch"), batch(python, 0..3, "labels", |i| i as u8 % 10));
    write(&dir.join("batches.meta"), meta(python, "label_names", 10));
    write(&dir.join("readme.html"), "<html>");
}

fn binary_version(dir: &Path) {
    let dir = dir.join("cifar-10-batches-bin");
    for i in 0..5 {
        write(&dir.join(format!("data_batch_{}.bin", i + 1)), records(i * 2..i * 2 + 2));
    }
    write(&dir.join("test_batch.bin"), records(0..3));
}

/// The folder's contents as a `.tar`, compressed if `gzip`.
fn packed(from: &Path, to: &Path, gzip: bool) {
    let file = File::create(to).unwrap();
    if gzip {
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        tar.append_dir_all(".", from).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
    } else {
        let mut tar = tar::Builder::new(file);
        tar.append_dir_all(".", from).unwrap();
        tar.finish().unwrap();
    }
}

#[test]
fn the_python_version_by_every_python() {
    for python in [Python::Two, Python::Three, Python::Four] {
        let dir = tempdir().unwrap();
        python_version(python, dir.path());
        for source in [Source::Auto, Source::Cifar10] {
            let set = load_dir(source, dir.path()).unwrap();
            assert_pictures(&set, 10, 3);
            assert_eq!((set.name.as_str(), set.classes[9].as_str()), ("cifar10", "class 9"));
            assert!(set.copy.starts_with("Python version (lossless): data_batch_1 (sha256 "), "{}", set.copy);
        }
        let fine = dir.path().join("cifar-100-python");
        write(&fine.join("train"), batch(python, 0..4, "fine_labels", |i| 90 + i as u8));
        write(&fine.join("test"), batch(python, 0..2, "fine_labels", |i| i as u8));
        let set = load_dir(Source::Cifar100, &fine).unwrap();
        assert_eq!(
            (set.name.as_str(), set.train.labels(), set.classes.len()),
            ("cifar100", &[90, 91, 92, 93][..], 100)
        );
        assert_eq!(set.test.image(1).unwrap(), picture(1, 32, 32).as_raw());
        assert!(matches!(load_dir(Source::Auto, dir.path()), Err(Error::SeveralSets { .. })));
    }
}

/// Files that Python's pickle and numpy wrote: `fixtures/make_pickles.py`.
#[test]
fn files_of_numpy() {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickles");
    for name in ["protocol2", "protocol4", "protocol5"] {
        let dir = tempdir().unwrap();
        for to in ["data_batch_1", "test_batch"] {
            fs::copy(at.join(name), dir.path().join(to)).unwrap();
        }
        let set = load_dir(Source::Auto, dir.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(set.train.labels(), [7, 2], "{name}");
        for (i, image) in [0, 1].map(|i| set.train.image(i).unwrap()).into_iter().enumerate() {
            let value = |at: usize| ((i * 3072 + at % 3 * 1024 + at / 3) * 7 % 251) as u8;
            assert!(image.iter().enumerate().all(|(at, &found)| found == value(at)), "{name}: {i}");
        }
    }
}

#[test]
fn archives_of_either() {
    for python in [false, true] {
        for gzip in [true, false] {
            let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
            if python {
                python_version(Python::Two, from.path())
            } else {
                binary_version(from.path())
            }
            let archive = to.path().join("cifar-10.tar.gz");
            packed(from.path(), &archive, gzip);
            // By its own name, and as the only thing in a folder.
            for path in [archive.as_path(), to.path()] {
                let set = load_dir(Source::Auto, path).unwrap();
                assert_pictures(&set, 10, 3);
                assert_eq!(set.copy, load_dir(Source::Auto, from.path()).unwrap().copy);
                assert!(set.notes[0].starts_with("read from ") && set.notes[0].contains("cifar-10.tar.gz"));
            }
            let bytes = fs::read(&archive).unwrap();
            for part in [2, 3, 4] {
                fs::write(&archive, &bytes[..bytes.len() / part]).unwrap();
                let error = load_dir(Source::Auto, &archive).unwrap_err().to_string();
                assert!(error.contains("cifar-10.tar.gz") && !error.contains('\n'), "{error}");
            }
        }
    }
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    write(&from.path().join("cat/0.png"), encoded(&picture(0, 9, 9), ImageFormat::Png));
    packed(from.path(), &to.path().join("pets.tgz"), true);
    let error = load_dir(Source::Auto, &to.path().join("pets.tgz")).unwrap_err().to_string();
    assert!(error.ends_with("pets.tgz: an archive: holds no files of CIFAR: unpack it and name its folder"), "{error}");
    write(&to.path().join("pets.zip"), b"PK\x03\x04\x14\0");
    let error = load_dir(Source::Auto, &to.path().join("pets.zip")).unwrap_err().to_string();
    assert!(error.ends_with("found a zip archive"), "{error}");
}

#[test]
fn what_is_missing_is_said() {
    // A batch of the published size.
    let full = |label: u8| record(&[label], 0).repeat(10_000);
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for i in 1..=4 {
        write(&at(&format!("data_batch_{i}.bin")), full(i));
    }
    write(&at("test_batch.bin"), full(0));
    let error = load_dir(Source::Auto, dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("data_batch_5.bin: missing: the training images of CIFAR-10"), "{error}");
    write(&at("data_batch_5.bin"), &full(5)[..3073 * 7000]);
    let error = load_dir(Source::Auto, dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("data_batch_5.bin: incomplete: expected 10000 images, found 7000"), "{error}");
    let (dir, python) = (tempdir().unwrap(), Python::Two);
    python_version(python, dir.path());
    let batches = dir.path().join("cifar-10-batches-py");
    fs::remove_file(batches.join("data_batch_3")).unwrap();
    let error = load_dir(Source::Auto, &batches).unwrap_err().to_string();
    assert!(error.ends_with("data_batch_3: missing: the training images of CIFAR-10"), "{error}");
}

#[test]
fn pickles_that_are_none_of_cifars() {
    let dir = tempdir().unwrap();
    python_version(Python::Two, dir.path());
    let path = dir.path().join("cifar-10-batches-py/data_batch_1");
    let good = fs::read(&path).unwrap();
    let labels = good.windows(4).position(|w| w == [b'K', 0, b'K', 1]).unwrap();
    let mut high = good.clone();
    high[labels + 3] = 10;
    for (bytes, expected) in [
        (&b"cos\nsystem\n(S'true'\ntR."[..], "expected a dictionary with data and labels"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (&good[..1000], "cut short"),
        (b"\x80\x02}(T\x06\0\0\0labels]T\x04\0\0\0dataK\x01u.", "data: expected a numpy array"),
        (&high, "data_batch_1: row 1: label out of range: expected 0 to 9, found 10"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = load_dir(Source::Auto, dir.path()).unwrap_err().to_string();
        assert!(error.contains("data_batch_1") && error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn an_image_size_is_never_ignored() {
    let dir = tempdir().unwrap();
    binary_version(dir.path());
    let read = ReadOptions { scale_all: true, ..Default::default() };
    for (data_dir, source) in [(Some(dir.path().to_path_buf()), Source::Auto), (None, Source::Shapes10)] {
        let drawn = Some(mobilenet_data::Drawn { train: 10, test: 4, seed: 1 });
        let options = LoadOptions { source, data_dir, image_size: 48, read: read.clone(), drawn, ..Default::default() };
        let set = load(&options, &mut |_| {}).unwrap();
        assert_eq!((set.train.height(), set.test.width()), (48, 48));
        assert!(set.copy.ends_with(", scaled to 48x48"), "{}", set.copy);
        let own = load(&LoadOptions { read: ReadOptions::default(), ..options }, &mut |_| {}).unwrap();
        let png =
            encoded(&image::RgbImage::from_raw(32, 32, own.test.image(1).unwrap().to_vec()).unwrap(), ImageFormat::Png);
        assert_eq!(set.test.image(1).unwrap(), mobilenet_data::decode_image(&png, 48).unwrap());
    }
}
