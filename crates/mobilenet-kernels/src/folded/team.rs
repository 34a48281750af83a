//! Threads that wait for one caller's work.
//!
//! A network's operations are short: some take ten microseconds. Waking a thread takes longer, so that a team's threads look
//! for work for a while before they sleep, and one network's operations find them awake.

use std::any::Any;
use std::hint;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};

/// How often a thread looks for work before it sleeps: some 100 microseconds.
const LOOKS: u32 = 4_000;

/// How often a thread looks before it lets others run.
const LOOKS_BEFORE_YIELD: u32 = 200;

/// The most tasks of one run.
const MAX_TASKS: usize = u32::MAX as usize;

/// Threads that work for one caller at a time: the caller's own and those it has besides.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// A function that takes the worker's number and the task's.
pub(super) type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

/// What cores write to lies this far apart: what one writes, another has to fetch, and processors fetch two lines of 64 bytes.
#[repr(align(128))]
#[derive(Default)]
struct Apart<T>(T);

/// What the threads share. A run's tasks are divided among the workers beforehand: each takes those of its own range, which no
/// other core touches meanwhile, and then helps the others.
struct Shared {
    /// Of each worker, the tasks that nobody has taken: the first in the lower half, the one after the last in the upper.
    ranges: Vec<Apart<AtomicU64>>,
    /// Tasks that each worker has done, since the team began.
    done: Vec<Apart<AtomicUsize>>,
    /// The function that this run's tasks are.
    job: Apart<AtomicPtr<Job>>,
    /// Threads that sleep, or are about to.
    sleepers: Apart<AtomicUsize>,
    bed: (Mutex<()>, Condvar),
    stops: AtomicBool,
    /// What a task panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held by the one caller: the tasks of all runs so far.
    caller: Mutex<usize>,
}

/// A function of a caller that waits.
struct Job(*const Task<'static>);

impl Team {
    /// `threads` of them, the caller's among them; at least one.
    ///
    /// # Errors
    /// The system does not start a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            ranges: (0..threads.max(1)).map(|_| Apart::default()).collect(),
            done: (0..threads.max(1)).map(|_| Apart::default()).collect(),
            job: Apart(AtomicPtr::new(ptr::null_mut())),
            sleepers: Apart::default(),
            bed: (Mutex::new(()), Condvar::new()),
            stops: AtomicBool::new(false),
            panic: Mutex::new(None),
            caller: Mutex::new(0),
        });
        let mut team = Self { shared, workers: Vec::new() };
        for worker in 1..threads {
            let shared = Arc::clone(&team.shared);
            let name = format!("mobilenet-{worker}");
            team.workers.push(thread::Builder::new().name(name).spawn(move || shared.serve(worker))?);
        }
        Ok(team)
    }

    /// How many threads work.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(worker, i)` once for every `i` below `tasks`, and returns when all are done. Of the calls at one time no
    /// two have the same worker, which is a number below [`threads`](Self::threads).
    ///
    /// # Panics
    /// When a task does; when a task runs the same team.
    pub fn run(&self, tasks: usize, task: &Task) {
        if self.workers.is_empty() || tasks <= 1 {
            return (0..tasks).for_each(|i| task(0, i));
        }
        let mut first = 0;
        while first < tasks {
            let count = (tasks - first).min(MAX_TASKS);
            self.run_some(count, &|worker, i| task(worker, first + i));
            first += count;
        }
    }

    fn run_some(&self, tasks: usize, task: &Task) {
        let shared = &*self.shared;
        let mut caller = match shared.caller.try_lock() {
            Ok(caller) => caller,
            Err(TryLockError::Poisoned(caller)) => caller.into_inner(),
            Err(TryLockError::WouldBlock) => panic!("a team works for one caller at a time"),
        };
        // SAFETY: the lifetime is what is left out. Threads call the function only for tasks they have taken, and this
        // function does not return or unwind before all tasks are done.
        let mut job = Job(unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) });
        shared.job.0.store(&raw mut job, Ordering::Relaxed);
        *caller = caller.wrapping_add(tasks);
        let workers = shared.ranges.len();
        let bound = |worker: usize| (worker as u64 * tasks as u64) / workers as u64;
        for (worker, range) in shared.ranges.iter().enumerate() {
            range.0.store(bound(worker + 1) << 32 | bound(worker), Ordering::SeqCst);
        }
        if shared.sleepers.0.load(Ordering::SeqCst) > 0 {
            let _bed = lock(&shared.bed.0);
            shared.bed.1.notify_all();
        }
        shared.work(0);
        let mut looks = 0;
        while shared.done() != *caller {
            look_again(&mut looks);
        }
        let panic = lock(&shared.panic).take();
        drop(caller);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        {
            let _bed = lock(&self.shared.bed.0);
            self.shared.bed.1.notify_all();
        }
        for worker in self.workers.drain(..) {
            let _ = worker.join(); // what it panicked with went to its caller
        }
    }
}

impl Shared {
    /// A worker's life.
    fn serve(&self, worker: usize) {
        let mut looks = 0;
        while !self.stops.load(Ordering::Relaxed) {
            // A run with enough tasks gives every worker some, so that its own range tells of it.
            if left(&self.ranges[worker], Ordering::Relaxed) {
                self.work(worker);
                looks = 0;
            } else if looks < LOOKS {
                look_again(&mut looks);
            } else {
                self.sleep();
                self.work(worker);
                looks = 0;
            }
        }
    }

    /// Does tasks until none is left: its own first, then the others'.
    fn work(&self, worker: usize) {
        let workers = self.ranges.len();
        for range in (worker..workers).chain(0..worker).map(|i| &self.ranges[i]) {
            let mut done = 0;
            while let Some(task) = take(range) {
                // SAFETY: a task of this run was taken and is not done: the run's caller waits, and what it has put there
                // before the ranges is alive. It was seen, since the range was taken from after it was written.
                let function = unsafe { &*(*self.job.0.load(Ordering::Relaxed)).0 };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| function(worker, task))) {
                    *lock(&self.panic) = Some(panic);
                }
                done += 1;
            }
            if done > 0 {
                self.done[worker].0.fetch_add(done, Ordering::Release);
            }
        }
    }

    /// Tasks that are done since the team began.
    fn done(&self) -> usize {
        self.done.iter().fold(0, |sum, done| sum.wrapping_add(done.0.load(Ordering::Acquire)))
    }

    fn sleep(&self) {
        let mut bed = lock(&self.bed.0);
        self.sleepers.0.fetch_add(1, Ordering::SeqCst);
        // A run that began before the line above was seen to have a sleeper is seen here.
        let is_idle = !self.ranges.iter().any(|range| left(range, Ordering::SeqCst));
        if is_idle && !self.stops.load(Ordering::SeqCst) {
            bed = self.bed.1.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.0.fetch_sub(1, Ordering::SeqCst);
        drop(bed);
    }
}

/// Whether a range has tasks that nobody has taken.
fn left(range: &Apart<AtomicU64>, ordering: Ordering) -> bool {
    let range = range.0.load(ordering);
    (range & u64::from(u32::MAX)) < range >> 32
}

/// A task that nobody has taken. While it is not done, the run does not end and no other begins.
fn take(range: &Apart<AtomicU64>) -> Option<usize> {
    let mut now = range.0.load(Ordering::Relaxed);
    loop {
        let first = now & u64::from(u32::MAX);
        if first >= now >> 32 {
            return None;
        }
        match range.0.compare_exchange_weak(now, now + 1, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return Some(first as usize),
            Err(other) => now = other,
        }
    }
}

fn look_again(looks: &mut u32) {
    *looks += 1;
    if looks.is_multiple_of(LOOKS_BEFORE_YIELD) {
        thread::yield_now();
    } else {
        hint::spin_loop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_by_one_worker_at_a_time() {
        for threads in [1, 2, 5] {
            let team = Team::new(threads).unwrap();
            assert_eq!(team.threads(), threads);
            for tasks in [0, 1, 2, 3, 100] {
                let busy: Vec<AtomicBool> = (0..threads).map(|_| AtomicBool::new(false)).collect();
                let seen: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                team.run(tasks, &|worker, task| {
                    assert!(!busy[worker].swap(true, Ordering::SeqCst), "worker {worker} twice");
                    seen[task].fetch_add(1, Ordering::SeqCst);
                    busy[worker].store(false, Ordering::SeqCst);
                });
                assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) == 1), "{threads}, {tasks}");
            }
        }
    }

    /// The function and what it borrows are another's each time.
    #[test]
    fn runs_follow_each_other_at_once() {
        for threads in [2, 3] {
            let team = Team::new(threads).unwrap();
            for run in 0..if cfg!(miri) { 20 } else { 3_000 } {
                let tasks = 2 + run % 7;
                let seen: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                team.run(tasks, &|_, task| {
                    seen[task].fetch_add(run + 1, Ordering::Relaxed);
                });
                assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == run + 1), "run {run}");
            }
        }
    }

    #[test]
    fn threads_that_sleep_wake_for_work() {
        let team = Team::new(3).unwrap();
        for pause in [0, 30] {
            thread::sleep(std::time::Duration::from_millis(pause));
            let sum = AtomicUsize::new(0);
            team.run(50, &|_, task| {
                sum.fetch_add(task, Ordering::SeqCst);
            });
            assert_eq!(sum.into_inner(), 1225);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_once_and_the_team_goes_on() {
        let team = Team::new(2).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| team.run(8, &|_, task| assert_ne!(task, 5, "task five"))));
        assert!(panic.is_err());
        let done = AtomicUsize::new(0);
        team.run(8, &|_, _| {
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.into_inner(), 8);
    }
}
