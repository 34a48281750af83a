//! Who does a network's work.

use super::shards::Shards;
use super::team::{Task, Team};

/// Who does the work: the calling thread alone, or a team.
#[derive(Clone, Copy)]
pub enum Crew<'a> {
    /// The calling thread.
    Solo,
    /// A team's threads.
    Team(&'a Team),
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
