//! Starts the real program on tiny data.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The smallest network, for speed.
pub const SMALLEST: [&str; 4] = ["--model", "v3-small", "--width", "0.35"];

/// A folder with a tiny CIFAR-10 in it, in the binary version, and room for runs.
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let data = place.path("data");
        fs::create_dir(&data).unwrap();
        fs::write(data.join("data_batch_1.bin"), records(96)).unwrap();
        fs::write(data.join("test_batch.bin"), records(24)).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program with words that are split at spaces, in this folder and without a cache.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mobilenet"));
        command.args(line.split_whitespace()).current_dir(self.folder.path());
        command.env("XDG_CACHE_HOME", self.path("no-cache")).env("HF_HUB_OFFLINE", "1");
        command
    }

    /// Runs to a good end and returns stdout.
    pub fn run(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert!(output.status.success(), "mobilenet {line}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs to a good end and parses the one JSON object on stdout.
    pub fn json(&self, line: &str) -> Value {
        let stdout = self.run(line);
        serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("mobilenet {line}: {e}: {stdout}"))
    }

    /// A training of the smallest network on the tiny data, three epochs of twelve steps.
    pub fn train(&self, out: &str) -> String {
        format!("train {} --data-dir data --epochs 3 --batch-size 8 --out {out}", SMALLEST.join(" "))
    }
}

/// Checks exit status, an empty stdout and exactly one line `error: …` at the end of stderr with `expected` in it.
pub fn assert_fails(output: &Output, what: &str, status: i32, expected: &str) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{what}: {stderr}");
    assert_eq!(text(&output.stdout), "", "{what}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((errors.len(), stderr.lines().last()), (1, errors.first().copied()), "{what}: {stderr}");
    assert!(errors[0].contains(expected), "{what}: expected \"{expected}\" in: {stderr}");
    assert!(!stderr.contains("panicked"), "{what}: {stderr}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `n` records of CIFAR-10's binary version: a label, then 32x32 pixels in three planes, brighter for higher labels.
pub fn records(n: usize) -> Vec<u8> {
    let record = |i: usize| {
        let label = (i % 10) as u8;
        let pixel = move |p: usize| label * 20 + ((i * 31 + p * 7) % 50) as u8;
        std::iter::once(label).chain((0..3 * 32 * 32).map(pixel))
    };
    (0..n).flat_map(record).collect()
}
