//! CIFAR-10 and CIFAR-100 as their authors publish them (<https://www.cs.toronto.edu/~kriz/cifar.html>): the binary
//! version and the Python version, in a folder or in the archive that they come in.
//!
//! Either way a file is labels and pictures `[n, 3, 32, 32]`.

pub(crate) mod binary;
pub(crate) mod classes;
mod python;
pub(crate) mod store;

use self::store::Store;
use super::files;
use crate::{Dataset, Error, Progress, Source, Split};

/// Side of the pictures, and how many bytes a channel of one has.
const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// The pictures of a batch of the published CIFAR-10, and its batches to train on.
const BATCH: usize = 10_000;
const BATCHES: usize = 5;

/// How the files are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Binary,
    Python,
}

/// A copy of one of the two sets: its files, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cifar {
    pub source: Source,
    version: Version,
    train: Vec<String>,
    test: String,
    store: Store,
}

/// The pictures and labels of one file.
struct Batch {
    labels: Vec<u32>,
    /// `[n, 3, 32, 32]`
    planes: Vec<u8>,
}

impl Cifar {
    /// The copy that a store holds, if its names are those of one.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] for one of which a file is missing.
    pub fn find(store: Store) -> Result<Option<Self>, Error> {
        let names = store.names()?;
        let has = |name: &str| names.iter().any(|n| n == name);
        let numbers = |ending: &str| -> Vec<usize> {
            let number = |name: &String| name.strip_prefix("data_batch_")?.strip_suffix(ending)?.parse().ok();
            let mut numbers: Vec<usize> = names.iter().filter_map(number).collect();
            numbers.sort_unstable();
            numbers
        };
        for (version, ending) in [(Version::Binary, ".bin"), (Version::Python, "")] {
            let (numbers, test) = (numbers(ending), format!("test_batch{ending}"));
            if numbers.is_empty() && !has(&test) {
                continue;
            }
            // A gap would leave pictures out in silence.
            for number in 1..=numbers.len().max(1) {
                if numbers.get(number - 1) != Some(&number) {
                    let path = store.path(&format!("data_batch_{number}{ending}"));
                    return Err(Error::Missing { path, needed: "the training images of CIFAR-10" });
                }
            }
            if !has(&test) {
                return Err(Error::Missing { path: store.path(&test), needed: "the test images of CIFAR-10" });
            }
            let train = numbers.iter().map(|number| format!("data_batch_{number}{ending}")).collect();
            return Ok(Some(Self { source: Source::Cifar10, version, train, test, store }));
        }
        for (version, train, test, also) in
            [(Version::Binary, "train.bin", "test.bin", "test.bin"), (Version::Python, "train", "test", "meta")]
        {
            let found = match version {
                Version::Binary => has(train) || has(test),
                // The names are common ones: two of the three.
                Version::Python => [train, test, also].into_iter().filter(|name| has(name)).count() >= 2,
            };
            if !found {
                continue;
            }
            for (name, needed) in [(train, "the training images of CIFAR-100"), (test, "the test images of CIFAR-100")]
            {
                if !has(name) {
                    return Err(Error::Missing { path: store.path(name), needed });
                }
            }
            let (train, test) = (vec![train.into()], test.into());
            return Ok(Some(Self { source: Source::Cifar100, version, train, test, store }));
        }
        Ok(None)
    }

    /// Whether an archive's file is one of a copy.
    pub fn is_file(name: &str) -> bool {
        let plain = name.strip_suffix(".bin").unwrap_or(name);
        plain.starts_with("data_batch_")
            || ["test_batch", "train", "test", "meta", "batches.meta", "batches.meta.txt", "fine_label_names.txt"]
                .contains(&plain)
    }

    /// For an error that expected something else.
    pub fn describe(&self) -> String {
        let version = match self.version {
            Version::Binary => "binary",
            Version::Python => "Python",
        };
        format!("{}, {version} version", self.source)
    }

    /// Reads all of it.
    pub fn load(&self, progress: &mut dyn FnMut(Progress)) -> Result<Dataset, Error> {
        let classes = self.classes()?;
        let mut sums = Vec::new();
        let mut counts = Vec::new();
        let mut read = |names: &[String]| {
            let (mut pixels, mut labels) = (Vec::new(), Vec::new());
            for name in names {
                let path = self.store.path(name);
                let bytes = self.store.read(name, self.version.max_file_bytes())?;
                sums.push(files::with_sum(&path, &files::sha256_of(&bytes)));
                let batch = match self.version {
                    Version::Binary => binary::parse(&path, &bytes, self.source)?,
                    Version::Python => python::parse(&path, &bytes, self.source)?,
                };
                counts.push((name.clone(), batch.labels.len()));
                pixels.reserve(batch.planes.len());
                for planes in batch.planes.chunks_exact(3 * PLANE) {
                    pixels.extend((0..PLANE).flat_map(|at| [0, 1, 2].map(|c| planes[c * PLANE + at])));
                }
                labels.extend(batch.labels);
                let read = labels.len() as u64;
                progress(Progress::Reading { file: files::name(&path), done: read, total: read });
            }
            Split::new(pixels, labels, SIDE, SIDE)
        };
        let train = read(&self.train)?;
        let test = read(std::slice::from_ref(&self.test))?;
        self.check_whole(&counts)?;
        let version = match self.version {
            Version::Binary => "binary",
            Version::Python => "Python",
        };
        let copy =
            format!("{version} version (lossless): {}; {}", sums.join(", "), files::counts(train.len(), test.len()));
        let notes = match &self.store {
            Store::Folder(_) => Vec::new(),
            Store::Archive { path, .. } => vec![format!("read from {}", path.display())],
        };
        Ok(Dataset { notes, ..Dataset::new(self.source.to_string(), copy, classes, train, test)? })
    }

    /// Class names: those beside the data, or else the built-in ones.
    fn classes(&self) -> Result<Vec<String>, Error> {
        let (list, built_in) = match (self.version, self.source) {
            (Version::Binary, Source::Cifar100) => ("fine_label_names.txt", &classes::CIFAR100[..]),
            (Version::Binary, _) => ("batches.meta.txt", &classes::CIFAR10[..]),
            (Version::Python, Source::Cifar100) => ("meta", &classes::CIFAR100[..]),
            (Version::Python, _) => ("batches.meta", &classes::CIFAR10[..]),
        };
        if !self.store.names()?.iter().any(|name| name == list) {
            return Ok(classes::owned(built_in));
        }
        let path = self.store.path(list);
        let bytes = self.store.read(list, classes::MAX_LIST_BYTES)?;
        let names = match self.version {
            Version::Binary => classes::lines(&bytes),
            Version::Python => python::names(&path, &bytes, self.source)?,
        };
        match names.len() == built_in.len() {
            true => Ok(names),
            false => Err(Error::ClassNames { path, expected: built_in.len(), found: names.len() }),
        }
    }

    /// Refuses a published copy of which a part is missing: where one of its batches is of the published size, all are.
    fn check_whole(&self, counts: &[(String, usize)]) -> Result<(), Error> {
        let published = |name: &str| match (self.source, name == self.test) {
            (Source::Cifar100, false) => BATCH * BATCHES,
            _ => BATCH,
        };
        if !counts.iter().any(|(name, count)| *count == published(name)) {
            return Ok(());
        }
        for (name, count) in counts {
            if *count != published(name) {
                let (expected, found) = (published(name), *count);
                return Err(Error::Incomplete { path: self.store.path(name), expected, found });
            }
        }
        if self.source == Source::Cifar10 && self.train.len() < BATCHES {
            let ending = if self.version == Version::Binary { ".bin" } else { "" };
            let path = self.store.path(&format!("data_batch_{}{ending}", self.train.len() + 1));
            return Err(Error::Missing { path, needed: "the training images of CIFAR-10" });
        }
        Ok(())
    }
}

impl Version {
    fn max_file_bytes(self) -> u64 {
        match self {
            Self::Binary => 1 << 30,
            // More than one and a half times the training images of CIFAR-100.
            Self::Python => 256 << 20,
        }
    }
}

/// How many classes each label of a record has; the last label is used.
fn label_classes(source: Source) -> &'static [usize] {
    match source {
        Source::Cifar100 => &[20, 100],
        _ => &[10],
    }
}
