//! Threads that wait for one caller's work.
//!
//! A network's operations are short: some take ten microseconds. Waking a thread takes longer, so that a team's threads look
//! for work for a while before they sleep, and one network's operations find them awake.

use std::any::Any;
use std::hint;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::shards::Shards;

/// How often a thread looks for work before it sleeps: some 100 microseconds.
const LOOKS: u32 = 4_000;

/// How often a thread looks before it lets others run.
const LOOKS_BEFORE_YIELD: u32 = 200;

/// Bits of the counter of tasks that were taken, and of the number of tasks.
const TASK_BITS: u32 = 20;
const TASK_MASK: u64 = (1 << TASK_BITS) - 1;

/// The most tasks of one [`Team::run`].
const MAX_TASKS: usize = TASK_MASK as usize;

/// Threads that work for one caller at a time: the caller's own and those it has besides.
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// Who does the work: the calling thread alone, or a team.
#[derive(Clone, Copy)]
pub enum Crew<'a> {
    /// The calling thread.
    Solo,
    /// A team's threads.
    Team(&'a Team),
}

/// A function that takes the worker's number and the task's.
type Task<'a> = dyn Fn(usize, usize) + Sync + 'a;

struct Shared {
    /// The run's number, its tasks, and how many of them were taken.
    state: AtomicU64,
    /// Tasks of this run that are done.
    done: AtomicUsize,
    /// The function that this run's tasks are.
    job: Mutex<Option<Job>>,
    /// Threads that sleep, or are about to.
    sleepers: AtomicUsize,
    bed: (Mutex<()>, Condvar),
    stops: AtomicBool,
    /// What a task panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Held by the one caller.
    caller: Mutex<()>,
}

/// A function of a caller that waits.
#[derive(Clone, Copy)]
struct Job(*const Task<'static>);

// SAFETY: the function is `Sync`; that it is called only while its owner waits is what `Team::run` sees to.
unsafe impl Send for Job {}

impl Team {
    /// `threads` of them, the caller's among them; at least one.
    ///
    /// # Errors
    /// The system does not start a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            done: AtomicUsize::new(0),
            job: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            bed: (Mutex::new(()), Condvar::new()),
            stops: AtomicBool::new(false),
            panic: Mutex::new(None),
            caller: Mutex::new(()),
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
        let caller = shared.caller.try_lock();
        assert!(caller.is_ok(), "a team works for one caller at a time");
        // SAFETY: the lifetime is what is left out. Threads call the function only for tasks they have taken, and this
        // function does not return or unwind before all tasks are done.
        let job = Job(unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) });
        *lock(&shared.job) = Some(job);
        shared.done.store(0, Ordering::Relaxed);
        let run = (shared.state.load(Ordering::Relaxed) >> (2 * TASK_BITS)).wrapping_add(1);
        shared.state.store(run << (2 * TASK_BITS) | (tasks as u64) << TASK_BITS, Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            let _bed = lock(&shared.bed.0);
            shared.bed.1.notify_all();
        }
        shared.work(0);
        let mut looks = 0;
        while shared.done.load(Ordering::Acquire) < tasks {
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
            if self.work(worker) {
                looks = 0;
            } else if looks < LOOKS {
                look_again(&mut looks);
            } else {
                self.sleep();
                looks = 0;
            }
        }
    }

    /// Does tasks until none is left; whether there were any.
    fn work(&self, worker: usize) -> bool {
        let mut did_any = false;
        while let Some(task) = self.take() {
            did_any = true;
            let job = *lock(&self.job);
            if let Some(Job(function)) = job {
                // SAFETY: a task of this run was taken and is not done: the run's caller waits, its function is alive.
                let function = unsafe { &*function };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| function(worker, task))) {
                    *lock(&self.panic) = Some(panic);
                }
            }
            self.done.fetch_add(1, Ordering::Release);
        }
        did_any
    }

    /// A task that nobody has taken. While it is not done, the run does not end and no other begins.
    fn take(&self) -> Option<usize> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let (tasks, taken) = (state >> TASK_BITS & TASK_MASK, state & TASK_MASK);
            if taken >= tasks {
                return None;
            }
            match self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(taken as usize),
                Err(now) => state = now,
            }
        }
    }

    fn sleep(&self) {
        let mut bed = lock(&self.bed.0);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // A run that began before the line above was seen to have a sleeper is seen here.
        let state = self.state.load(Ordering::SeqCst);
        if (state & TASK_MASK) >= (state >> TASK_BITS & TASK_MASK) && !self.stops.load(Ordering::SeqCst) {
            bed = self.bed.1.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        drop(bed);
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

impl Crew<'_> {
    /// How many threads work.
    pub fn threads(&self) -> usize {
        match self {
            Self::Solo => 1,
            Self::Team(team) => team.threads(),
        }
    }

    /// [`Team::run`].
    pub fn run(&self, tasks: usize, task: &Task) {
        match self {
            Self::Solo => (0..tasks).for_each(|i| task(0, i)),
            Self::Team(team) => team.run(tasks, task),
        }
    }

    /// Calls `f(scratch, first, part of ys)` for every part of `len` values of `ys`, `first` being the place of its first.
    /// Each thread has a scratch of its own.
    ///
    /// # Panics
    /// There are fewer scratches than threads; `len` is 0.
    pub fn chunks<S: Send, T: Send>(
        &self,
        scratch: &mut [S],
        ys: &mut [T],
        len: usize,
        f: &(dyn Fn(&mut S, usize, &mut [T]) + Sync),
    ) {
        assert!(scratch.len() >= self.threads(), "a scratch for each of {} threads", self.threads());
        let (total, parts) = (ys.len(), ys.len().div_ceil(len));
        let (scratch, ys) = (Shards::new(scratch), Shards::new(ys));
        self.run(parts, &|worker, part| {
            let first = part * len;
            // SAFETY: a worker does one task at a time, and the scratch of its number is its alone; the part is this task's.
            let (scratch, ys) =
                unsafe { (&mut scratch.values(worker, 1)[0], ys.values(first, len.min(total - first))) };
            f(scratch, first, ys);
        });
    }
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
