//! Where the time of a step goes: off unless asked for, then a record for each phase of each block.
//!
//! ```
//! use mobilenet_kernels::profile;
//!
//! let (sum, records) = profile::record(|| {
//!     profile::scope("block 1", || profile::phase("sum", profile::Work { flops: 3, bytes: 12 }, || 1. + 2. + 3.))
//! });
//! assert_eq!((sum, records.len()), (6., 1));
//! assert_eq!((records[0].scope.as_str(), records[0].phase, records[0].work.flops), ("block 1", "sum", 3));
//! ```
//!
//! There is one recording at a time in a process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a phase has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Floating point operations of its convolutions and products; a multiply-add counts as two.
    pub flops: u64,
    /// Bytes of the tensors of the whole batch that it reads and writes, each once.
    pub bytes: u64,
}

/// A phase that was run.
#[derive(Clone, Debug)]
pub struct Record {
    /// What [`scope`] said: a layer's name.
    pub scope: String,
    /// The phase.
    pub phase: &'static str,
    /// Wall-clock time.
    pub time: Duration,
    /// What it had to do.
    pub work: Work,
}

#[derive(Default)]
struct Profile {
    records: Vec<Record>,
    scope: String,
}

static PROFILE: Mutex<Profile> = Mutex::new(Profile { records: Vec::new(), scope: String::new() });
static RECORDING: AtomicBool = AtomicBool::new(false);

fn profile() -> MutexGuard<'static, Profile> {
    PROFILE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_recording() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// Runs `f` and returns the records of all its phases with its result.
pub fn record<R>(f: impl FnOnce() -> R) -> (R, Vec<Record>) {
    *profile() = Profile::default();
    RECORDING.store(true, Ordering::Relaxed);
    let result = f();
    RECORDING.store(false, Ordering::Relaxed);
    (result, std::mem::take(&mut profile().records))
}

/// Runs `f`, whose phases belong to `name`.
pub fn scope<R>(name: &str, f: impl FnOnce() -> R) -> R {
    if !is_recording() {
        return f();
    }
    let outer = std::mem::replace(&mut profile().scope, name.to_owned());
    let result = f();
    profile().scope = outer;
    result
}

/// Runs `f` as a phase.
pub fn phase<R>(phase: &'static str, work: Work, f: impl FnOnce() -> R) -> R {
    if !is_recording() {
        return f();
    }
    let start = Instant::now();
    let result = f();
    let time = start.elapsed();
    let mut profile = profile();
    let scope = profile.scope.clone();
    profile.records.push(Record { scope, phase, time, work });
    result
}
