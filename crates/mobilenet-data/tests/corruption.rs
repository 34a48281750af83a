//! Whatever bytes are in a file, loading it ends in a data set or in an error of one line.

mod common;

use std::fs;
use std::panic::{set_hook, take_hook};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Table, encoded, load_dir, picture, pngs, records, write};
use image::ImageFormat;
use mobilenet_data::{Source, decode_image};
use parquet::basic::Compression;
use tempfile::tempdir;

/// Damaged files per kind.
const ROUNDS: usize = 400;

/// Deterministic numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    /// The bytes cut short, or with some of them changed.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match self.below(4) {
            0 => bytes.truncate(self.below(bytes.len())),
            1 => {
                // The footer holds the offsets and lengths that a reader trusts.
                let from = bytes.len() - bytes.len().min(600);
                for _ in 0..=self.below(4) {
                    let at = from + self.below(bytes.len() - from);
                    bytes[at] = self.below(256) as u8;
                }
            }
            _ => {
                for _ in 0..=self.below(8) {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1 << self.below(8);
                }
            }
        }
        bytes
    }
}

/// Loads the folder with each damaged form of `name` in it; returns how many were errors.
fn errors(dir: &Path, name: &str, rounds: usize) -> usize {
    let good = fs::read(dir.join(name)).unwrap();
    let mut numbers = Numbers(0x0123_4567_89ab_cdef);
    let mut errors = 0;
    for round in 0..rounds {
        fs::write(dir.join(name), numbers.damage(&good)).unwrap();
        match load_dir(Source::Auto, dir) {
            Ok(set) => assert!(set.train.labels().iter().all(|&l| (l as usize) < set.classes.len())),
            Err(error) => {
                errors += 1;
                assert!(!error.to_string().contains('\n'), "round {round}: {error}");
            }
        }
    }
    errors
}

#[test]
fn parquet() {
    // A panic inside a library would be caught, but it would not be silent.
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
    for (codec, dictionary) in [
        (Compression::SNAPPY, false),
        (Compression::UNCOMPRESSED, false),
        (Compression::SNAPPY, true),
        (Compression::UNCOMPRESSED, true),
    ] {
        let dir = tempdir().unwrap();
        let table = Table { codec, dictionary, ..Table::cifar10(pngs(20)) };
        table.write(&dir.path().join("train.parquet"));
        Table::cifar10(pngs(2)).write(&dir.path().join("test.parquet"));
        let errors = errors(dir.path(), "train.parquet", ROUNDS);
        assert!(errors > ROUNDS / 2, "{codec} {dictionary}: {errors}");
    }
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
}

#[test]
fn every_shorter_parquet_is_an_error() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("train.parquet");
    Table::cifar10(pngs(5)).write(&path);
    Table::cifar10(pngs(2)).write(&dir.path().join("test.parquet"));
    let good = fs::read(&path).unwrap();
    for length in (0..good.len()).step_by(7) {
        fs::write(&path, &good[..length]).unwrap();
        let error = load_dir(Source::Auto, dir.path()).unwrap_err().to_string();
        assert!(error.contains("train.parquet: truncated or corrupt"), "{length}: {error}");
    }
}

#[test]
fn binary() {
    let dir = tempdir().unwrap();
    write(&dir.path().join("data_batch_1.bin"), records(0..4));
    write(&dir.path().join("test_batch.bin"), records(0..2));
    let errors = errors(dir.path(), "data_batch_1.bin", 300);
    assert!(errors > 50, "{errors}");
}

/// A batch of CIFAR's Python version.
#[test]
fn pickles() {
    let dir = tempdir().unwrap();
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pickles/protocol2");
    for name in ["data_batch_1", "test_batch"] {
        fs::copy(&good, dir.path().join(name)).unwrap();
    }
    let errors = errors(dir.path(), "data_batch_1", 300);
    assert!(errors > 50, "{errors}");
}

/// Lists of pictures.
#[test]
fn lists() {
    let dir = tempdir().unwrap();
    for i in 0..6 {
        write(&dir.path().join(format!("img/{i}.png")), encoded(&picture(i, 9, 9), ImageFormat::Png));
    }
    let rows = "file,label\n0.png,\"a, b\"\n1.png,c\n2.png,\"a, b\"\n3.png,c\n4.png,c\n5.png,c\n";
    write(&dir.path().join("labels.csv"), rows);
    assert!(errors(dir.path(), "labels.csv", 200) > 20);
}

/// Every format, from files of other programs: an error or a picture, and never more than a moment.
#[test]
fn pictures_of_other_programs() {
    let mut numbers = Numbers(7);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    let (mut errors, mut files) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let good = fs::read(entry.unwrap().path()).unwrap();
        files += 1;
        for _ in 0..150 {
            match decode_image(&numbers.damage(&good), 16) {
                Ok(pixels) => assert_eq!(pixels.len(), 16 * 16 * 3),
                Err(error) => {
                    errors += 1;
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
    assert!(files >= 29 && errors > files * 20, "{files} {errors}");
}

#[test]
fn pictures() {
    let mut numbers = Numbers(42);
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let good = encoded(&picture(3, 37, 29), format);
        let mut errors = 0;
        for _ in 0..1500 {
            match decode_image(&numbers.damage(&good), 16) {
                Ok(pixels) => assert_eq!(pixels.len(), 16 * 16 * 3),
                Err(error) => {
                    errors += 1;
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
        assert!(errors > 200, "{format:?}: {errors}");
    }
}
