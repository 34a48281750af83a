//! Where the time of a step goes: off unless asked for, then a record for each phase of each block.
//!
//! ```
//! use mobilenet_kernels::profile::{self, Profile};
//!
//! let (sum, Profile { records, not_fused }) = profile::record(|| {
//!     profile::not_fused("block 2", "it is a sum of threes");
//!     profile::scope("block 1", || profile::phase("sum", profile::Work { flops: 3, bytes: 12 }, || 1. + 2. + 3.))
//! });
//! assert_eq!((sum, records.len()), (6., 1));
//! assert_eq!((records[0].scope.as_str(), records[0].phase, records[0].work.flops), ("block 1", "sum", 3));
//! assert_eq!((not_fused[0].layer.as_str(), not_fused[0].why), ("block 2", "it is a sum of threes"));
//! ```
//!
//! There is one recording at a time in a process.

use std::cell::Cell;
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
    /// Its parts: of each stretch of it that threads work on together, the stretches one after the other. What is left
    /// of `time` is one thread's.
    pub stretches: Vec<Vec<Part>>,
}

/// What one thread does of a phase at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Wall-clock time.
    pub time: Duration,
    /// What would be left of it if any number of threads shared what they can share of a part, as they do where there
    /// are few parts. Known if they did not share it, as on one thread.
    pub shared: Duration,
}

/// A layer that ran as smaller operations, whose time is in no [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFused {
    /// The layer's name.
    pub layer: String,
    /// What there is no kernel for.
    pub why: &'static str,
}

/// What was recorded.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Every phase that was run, in order.
    pub records: Vec<Record>,
    /// The layers that are not among them, each once.
    pub not_fused: Vec<NotFused>,
}

struct Recording {
    profile: Profile,
    scope: String,
    stretches: Vec<Vec<Part>>,
}

impl Recording {
    const fn new() -> Self {
        let profile = Profile { records: Vec::new(), not_fused: Vec::new() };
        Self { profile, scope: String::new(), stretches: Vec::new() }
    }
}

static PROFILE: Mutex<Recording> = Mutex::new(Recording::new());
static RECORDING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// In a part: how much time sharing would save.
    static SAVED: Cell<Option<Duration>> = const { Cell::new(None) };
}

fn profile() -> MutexGuard<'static, Recording> {
    PROFILE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_recording() -> bool {
    RECORDING.load(Ordering::Relaxed)
}

/// Runs `f` and returns the records of all its phases with its result.
pub fn record<R>(f: impl FnOnce() -> R) -> (R, Profile) {
    *profile() = Recording::new();
    RECORDING.store(true, Ordering::Relaxed);
    let result = f();
    RECORDING.store(false, Ordering::Relaxed);
    (result, std::mem::take(&mut profile().profile))
}

/// Says that a layer runs as smaller operations, which have no phases, and what there is no kernel for.
pub fn not_fused(layer: &str, why: &'static str) {
    if !is_recording() {
        return;
    }
    let not_fused = &mut profile().profile.not_fused;
    if !not_fused.iter().any(|known| known.layer == layer && known.why == why) {
        not_fused.push(NotFused { layer: layer.to_owned(), why });
    }
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
    profile().stretches.clear();
    let start = Instant::now();
    let result = f();
    let time = start.elapsed();
    let mut recording = profile();
    let (scope, stretches) = (recording.scope.clone(), std::mem::take(&mut recording.stretches));
    recording.profile.records.push(Record { scope, phase, time, work, stretches });
    result
}

/// Runs `f`, a part of a phase, and times it if there is a recording. Parts inside parts belong to these.
pub(crate) fn part<R>(f: impl FnOnce() -> R) -> (R, Option<Part>) {
    if !is_recording() || SAVED.get().is_some() {
        return (f(), None);
    }
    SAVED.set(Some(Duration::ZERO));
    let start = Instant::now();
    let result = f();
    let time = start.elapsed();
    let saved = SAVED.take().unwrap_or_default();
    (result, Some(Part { time, shared: time.saturating_sub(saved) }))
}

/// Takes the parts of a stretch, if they were timed.
pub(crate) fn stretch(parts: impl Iterator<Item = Option<Part>>) {
    let parts: Vec<_> = parts.flatten().collect();
    if !parts.is_empty() {
        profile().stretches.push(parts);
    }
}

/// Times items that threads could share, and tells the part when it is dropped.
#[derive(Default)]
pub(crate) struct Items {
    total: Duration,
    longest: Duration,
}

impl Items {
    /// Runs the next item.
    pub(crate) fn run<R>(&mut self, f: impl FnOnce() -> R) -> R {
        if !is_recording() {
            return f();
        }
        let start = Instant::now();
        let result = f();
        let time = start.elapsed();
        self.total += time;
        self.longest = self.longest.max(time);
        result
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        SAVED.set(SAVED.get().map(|saved| saved + (self.total - self.longest)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::{for_each_with, for_parts};

    /// Other tests' parts may be recorded too: there is one recording in a process.
    #[test]
    fn a_phases_parts_are_its_own() {
        let ((), Profile { records, .. }) = record(|| {
            phase("sleep", Work::default(), || {
                for_parts(&mut [0.; 3], 1, 1, |_, _| {
                    for_each_with(false, &mut (), 0..2, |(), _| std::thread::sleep(Duration::from_millis(2)));
                });
            });
        });
        let sleep = records.iter().find(|record| record.phase == "sleep").unwrap();
        let whole = |part: &&Part| part.time >= Duration::from_millis(4) && part.shared < part.time;
        assert_eq!(sleep.stretches.iter().flatten().filter(whole).count(), 3);
    }
}
