//! Pictures made by several threads, and put together to batches in their order.
//!
//! A thread takes the next picture that is to be made, whatever batch it belongs to, so that none waits for the slowest
//! picture of a batch. Pictures are given out for the batch that is next to be finished and the one after it, no
//! further: that bounds the memory.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use super::maker::Room;
use super::order::{Place, Plan};
use crate::Error;

/// Batches that are made at the same time.
const AHEAD: usize = 2;

/// A picture to make: the place of its batch and its own in that.
type Job = (usize, usize);

/// Writes a picture's values, and says what is left to do with it.
pub(super) type Make<'a, T, C> = dyn Fn(Place, &mut Room, &mut [T]) -> Result<C, Error> + Sync + 'a;

/// The pictures' values, one picture after the other, and what is left to do with each.
pub(super) type Pictures<T, C> = (Vec<T>, Vec<C>);

/// A picture that was made.
type Made<T, C> = (Job, Result<(Vec<T>, C), Error>);

/// A batch that is not complete.
struct Unfinished<T, C> {
    pictures: Pictures<T, C>,
    missing: usize,
}

/// Makes the batches of a plan on some threads and hands each over, or the first error, until `send` says that no more are wanted.
pub(super) fn each_batch<T: Copy + Default + Send, C: Clone + Default + Send>(
    make: &Make<T, C>,
    len: usize,
    plan: &Plan,
    threads: usize,
    send: &mut dyn FnMut(usize, Result<Pictures<T, C>, Error>) -> bool,
) {
    let (jobs, taken) = channel::<Job>();
    let (taken, stop) = (Mutex::new(taken), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (done, made) = channel::<Made<T, C>>();
        let mut failure = "there are none".to_owned();
        let mut started = 0;
        for i in 0..threads {
            let (done, taken, stop) = (done.clone(), &taken, &stop);
            let named = std::thread::Builder::new().name(format!("pictures {i}"));
            match named.spawn_scoped(scope, move || work(make, len, plan, taken, &done, stop)) {
                Ok(_) => started += 1,
                Err(error) => failure = error.to_string(),
            }
        }
        drop(done);
        if started == 0 {
            send(plan.steps().start, Err(Error::BatchThread { reason: failure }));
        } else {
            gather(len, plan, &jobs, &made, send);
        }
        stop.store(true, Ordering::Relaxed);
        // Threads that wait for a picture to make end without one.
        drop(jobs);
    });
}

/// Makes pictures until there are no more, or none are wanted.
fn work<T: Copy + Default, C>(
    make: &Make<T, C>,
    len: usize,
    plan: &Plan,
    taken: &Mutex<Receiver<Job>>,
    done: &Sender<Made<T, C>>,
    stop: &AtomicBool,
) {
    let mut room = Room::default();
    loop {
        // A thread that panicked while it held the lock has left nothing half done.
        let job = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((step, at)) = job else { return };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut image = vec![T::default(); len];
        let picture = AssertUnwindSafe(|| make(plan.batch(step)[at], &mut room, &mut image));
        let result = catch_unwind(picture)
            .unwrap_or_else(|_| Err(Error::BatchThread { reason: "it gave up on a picture".into() }));
        if done.send(((step, at), result.map(|change| (image, change)))).is_err() {
            return;
        }
    }
}

/// Gives out the pictures to make and puts together those that come back.
fn gather<T: Copy + Default, C: Clone + Default>(
    len: usize,
    plan: &Plan,
    jobs: &Sender<Job>,
    made: &Receiver<Made<T, C>>,
    send: &mut dyn FnMut(usize, Result<Pictures<T, C>, Error>) -> bool,
) {
    let mut unfinished: VecDeque<Unfinished<T, C>> = VecDeque::new();
    let mut next = plan.steps();
    for step in plan.steps() {
        while unfinished.len() < AHEAD
            && let Some(step) = next.next()
        {
            let pictures = plan.batch(step).len();
            for at in 0..pictures {
                // Fails only if all threads are gone, which shows below.
                let _ = jobs.send((step, at));
            }
            let room = (vec![T::default(); pictures * len], vec![C::default(); pictures]);
            unfinished.push_back(Unfinished { pictures: room, missing: pictures });
        }
        while unfinished.front().is_some_and(|batch| batch.missing > 0) {
            let ended = |_| (Job::default(), Err(Error::BatchThread { reason: "it ended too early".into() }));
            let ((of, at), image) = made.recv().unwrap_or_else(ended);
            let (image, change) = match image {
                Ok(made) => made,
                Err(error) => {
                    send(step, Err(error));
                    return;
                }
            };
            if let Some(batch) = unfinished.get_mut(of - step) {
                batch.pictures.0[at * len..(at + 1) * len].copy_from_slice(&image);
                batch.pictures.1[at] = change;
                batch.missing -= 1;
            }
        }
        let Some(batch) = unfinished.pop_front() else { return };
        if !send(step, Ok(batch.pictures)) {
            return;
        }
    }
}
