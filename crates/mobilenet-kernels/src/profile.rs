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
//! Phases are recorded on the thread that starts them; the threads among which one divides its work are not.

use std::cell::RefCell;
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
    /// `None` while nothing is recorded.
    records: Option<Vec<Record>>,
    scope: String,
}

thread_local! {
    static PROFILE: RefCell<Profile> = RefCell::default();
}

/// Runs `f` and returns the records of all its phases with its result.
pub fn record<R>(f: impl FnOnce() -> R) -> (R, Vec<Record>) {
    PROFILE.with_borrow_mut(|p| p.records = Some(Vec::new()));
    let result = f();
    (result, PROFILE.take().records.unwrap_or_default())
}

/// Runs `f`, whose phases belong to `name`.
pub fn scope<R>(name: &str, f: impl FnOnce() -> R) -> R {
    if !is_recording() {
        return f();
    }
    let outer = PROFILE.with_borrow_mut(|p| std::mem::replace(&mut p.scope, name.to_owned()));
    let result = f();
    PROFILE.with_borrow_mut(|p| p.scope = outer);
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
    PROFILE.with_borrow_mut(|p| {
        let scope = p.scope.clone();
        if let Some(records) = &mut p.records {
            records.push(Record { scope, phase, time, work });
        }
    });
    result
}

fn is_recording() -> bool {
    PROFILE.with_borrow(|p| p.records.is_some())
}
