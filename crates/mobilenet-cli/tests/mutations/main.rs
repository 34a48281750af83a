//! Damaged files of every kind that is read: no panic, no abort, no hang, and no more memory than is stated.
//!
//! Each reader gets small valid files, which the test makes, changed by a seed: bits flipped, bytes taken out, doubled
//! and moved, the end cut off, lengths replaced by extreme ones. What it makes of them, an error or not, is all right.
//! The rounds take about 20 seconds in all; `MOBILENET_MUTATIONS=50` makes them fifty times as many, and
//! `MOBILENET_MUTATIONS_SEED` begins elsewhere. What stops the process lies in `target/tmp/mutations`, in the folder of
//! its reader.

#![expect(clippy::print_stdout, reason = "what a test has to say of its files")]

mod inputs;
mod mutate;
mod read;
mod readers;

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use mobilenet_common::random::SplitMix64;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// One reader at a time: memory is counted over all threads.
static ONE: Mutex<()> = Mutex::new(());

/// The longest that a file may take, on a machine that does much else.
const LONGEST: Duration = Duration::from_secs(60);

/// Memory that a reader may take for the files of these tests, each of which has a few kilobytes.
const BOUND: usize = 64 << 20;

/// The valid files of one reader, and what reads them.
struct Subject<'a> {
    /// What the folder of its files is called.
    name: &'static str,
    files: Vec<(&'static str, Vec<u8>)>,
    rounds: u64,
    /// Most bytes of memory at once beyond those that the process has before.
    bound: usize,
    /// Reads the file at a path; false if it refuses to.
    read: &'a mut dyn FnMut(&Path) -> bool,
}

impl Subject<'_> {
    fn check(&mut self) {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations").join(self.name);
        fs::create_dir_all(&folder).unwrap();
        let seed = number("MOBILENET_MUTATIONS_SEED", 1);
        let rounds = self.rounds * number("MOBILENET_MUTATIONS", 1);
        let (mut read, mut most, started) = (0u64, 0, Instant::now());
        for (file, bytes) in &self.files {
            let path = folder.join(file);
            put(&path, bytes);
            assert!((self.read)(&path), "{}: {file} is valid and is refused", self.name);
            let watch = Watch::new(path.clone());
            for round in 0..rounds {
                let mut random = SplitMix64::keyed(&[seed, round, bytes.len() as u64]);
                put(&path, &mutate::mutated(bytes, &mut random));
                watch.begin();
                MEMORY.reset_peak_usage();
                let before = MEMORY.current_usage();
                let outcome = catch_unwind(AssertUnwindSafe(|| (self.read)(&path)));
                let used = MEMORY.peak_usage().saturating_sub(before);
                watch.end();
                most = most.max(used);
                let kept = || keep(&path, seed, round);
                match outcome {
                    Ok(is_read) => read += u64::from(is_read),
                    Err(panic) => panic!("{}: round {round}: {}: {}", self.name, kept(), words(&*panic)),
                }
                assert!(used <= self.bound, "{}: round {round}: {}: took {used} bytes", self.name, kept());
            }
        }
        println!("{}: {read} read, at most {most} bytes, {:.1?}", self.name, started.elapsed());
        // Where nothing is ever read, nothing behind the first check is tried.
        let all = rounds * self.files.len() as u64;
        assert!(read * 200 >= all, "{}: only {read} of {all} files were read", self.name);
    }
}

/// Writes a new file: one that is cut to nothing and written again is brought to the disk at once by some systems.
fn put(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

/// Keeps a file that something is wrong with.
fn keep(path: &Path, seed: u64, round: u64) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let kept = path.with_file_name(format!("{seed}-{round}-{name}"));
    fs::copy(path, &kept).unwrap();
    kept.display().to_string()
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    format!("it panics: {}", text.unwrap_or("without a word"))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().unwrap())
}

/// Ends the process if a file takes too long.
struct Watch(&'static AtomicU64);

impl Watch {
    fn new(path: PathBuf) -> Self {
        // Leaked: the thread may outlive the reader.
        let begun: &'static AtomicU64 = Box::leak(Box::default());
        spawn(move || {
            let start = Instant::now();
            let (mut last, mut since) = (0, start);
            loop {
                sleep(Duration::from_millis(200));
                let now = begun.load(Ordering::Relaxed);
                match now {
                    u64::MAX => return,
                    now if now == last && now % 2 == 1 => {}
                    now => (last, since) = (now, Instant::now()),
                }
                if since.elapsed() > LONGEST {
                    println!("{}: takes longer than {LONGEST:?}", path.display());
                    exit(101);
                }
            }
        });
        Self(begun)
    }

    /// Odd while a file is read.
    fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(u64::MAX, Ordering::Relaxed);
    }
}
