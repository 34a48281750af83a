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

use super::maker::{Maker, Room};
use super::order::Plan;
use crate::Error;

/// Batches that are made at the same time.
const AHEAD: usize = 2;

/// A picture to make: the place of its batch and its own in that.
type Job = (usize, usize);

/// A picture that was made.
type Made = (Job, Result<Vec<f32>, Error>);

/// A batch that is not complete.
struct Unfinished {
    images: Vec<f32>,
    missing: usize,
}

/// Makes the batches of a plan on some threads and hands each over, or the first error, until `send` says that no more are wanted.
pub(super) fn each_batch(
    maker: &Maker,
    plan: &Plan,
    threads: usize,
    send: &mut dyn FnMut(usize, Result<Vec<f32>, Error>) -> bool,
) {
    let (jobs, taken) = channel::<Job>();
    let (taken, stop) = (Mutex::new(taken), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (done, made) = channel::<Made>();
        let mut failure = "there are none".to_owned();
        let mut started = 0;
        for i in 0..threads {
            let (done, taken, stop) = (done.clone(), &taken, &stop);
            let named = std::thread::Builder::new().name(format!("pictures {i}"));
            match named.spawn_scoped(scope, move || work(maker, plan, taken, &done, stop)) {
                Ok(_) => started += 1,
                Err(error) => failure = error.to_string(),
            }
        }
        drop(done);
        if started == 0 {
            send(plan.steps().start, Err(Error::BatchThread { reason: failure }));
        } else {
            gather(maker, plan, &jobs, &made, send);
        }
        stop.store(true, Ordering::Relaxed);
        // Threads that wait for a picture to make end without one.
        drop(jobs);
    });
}

/// Makes pictures until there are no more, or none are wanted.
fn work(maker: &Maker, plan: &Plan, taken: &Mutex<Receiver<Job>>, done: &Sender<Made>, stop: &AtomicBool) {
    let mut room = Room::default();
    loop {
        // A thread that panicked while it held the lock has left nothing half done.
        let job = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((step, at)) = job else { return };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut image = vec![0f32; maker.image_len()];
        let picture = AssertUnwindSafe(|| maker.picture(plan.batch(step)[at], &mut room, &mut image));
        let result = catch_unwind(picture)
            .unwrap_or_else(|_| Err(Error::BatchThread { reason: "it gave up on a picture".into() }));
        if done.send(((step, at), result.map(|()| image))).is_err() {
            return;
        }
    }
}

/// Gives out the pictures to make and puts together those that come back.
fn gather(
    maker: &Maker,
    plan: &Plan,
    jobs: &Sender<Job>,
    made: &Receiver<Made>,
    send: &mut dyn FnMut(usize, Result<Vec<f32>, Error>) -> bool,
) {
    let mut unfinished: VecDeque<Unfinished> = VecDeque::new();
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
            unfinished.push_back(Unfinished { images: vec![0.0; pictures * maker.image_len()], missing: pictures });
        }
        while unfinished.front().is_some_and(|batch| batch.missing > 0) {
            let ended = |_| (Job::default(), Err(Error::BatchThread { reason: "it ended too early".into() }));
            let ((of, at), image) = made.recv().unwrap_or_else(ended);
            let image = match image {
                Ok(image) => image,
                Err(error) => {
                    send(step, Err(error));
                    return;
                }
            };
            if let Some(batch) = unfinished.get_mut(of - step) {
                let from = at * maker.image_len();
                batch.images[from..from + maker.image_len()].copy_from_slice(&image);
                batch.missing -= 1;
            }
        }
        let Some(batch) = unfinished.pop_front() else { return };
        if !send(step, Ok(batch.images)) {
            return;
        }
    }
}
