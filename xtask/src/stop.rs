//! Ctrl-C and SIGTERM: passed on to the process that is running, whose end is then this program's.
//!
//! A terminal sends Ctrl-C to all of its processes, but SIGTERM goes to one alone: without this a comparison's training
//! would go on when the comparison is ended.

use std::fmt;
use std::io;
use std::process::{Child, Command, Output, Stdio, exit};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::Duration;

/// How long a process has to stop by itself; a training needs two seconds at most.
const GRACE: Duration = Duration::from_secs(5);

const WAY_ON: &str = "what is finished is kept; the same command goes on from there";

/// The number of the signal that asked to stop; 0 while none did.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// The process that is running.
static CHILD: Mutex<Option<u32>> = Mutex::new(None);

/// What the program ends with when it was asked to stop.
///
/// It holds the signal's number: SIGINT's or SIGTERM's.
#[derive(Debug)]
pub struct Stopped(i32);

impl Stopped {
    /// What a program ends with that was stopped by a signal, as shells say it.
    pub fn exit_code(&self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(1)
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let how = if self.exit_code() == 130 { "interrupted" } else { "terminated" };
        write!(f, "{how}; {WAY_ON}")
    }
}

impl std::error::Error for Stopped {}

/// Takes charge of the signals. Elsewhere than on Unix they end the program as ever.
pub fn watch() {
    #[cfg(unix)]
    if let Ok(mut signals) =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
    {
        spawn(move || signals.forever().for_each(told));
    }
}

#[cfg(unix)]
fn told(signal: i32) {
    let first = ASKED.swap(signal, Ordering::SeqCst) == 0;
    let Some(child) = child() else { end(signal) };
    if first {
        send("-TERM", child);
        spawn(move || {
            sleep(GRACE);
            if let Some(child) = self::child() {
                send("-KILL", child);
            }
            end(signal);
        });
    }
}

#[cfg(unix)]
fn end(signal: i32) -> ! {
    let stopped = Stopped(signal);
    eprintln!("{stopped}");
    exit(stopped.exit_code().into())
}

#[cfg(unix)]
fn child() -> Option<u32> {
    *CHILD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send(signal: &str, process: u32) {
    let _ = Command::new("kill").args([signal, &process.to_string()]).stderr(Stdio::null()).status();
}

/// A process that signals are passed on to for as long as this lives.
pub struct Running(());

/// Passes signals on to `child`.
pub fn passed_on(child: &Child) -> Running {
    *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = Some(child.id());
    // One that came just before.
    if asked() {
        send("-TERM", child.id());
    }
    Running(())
}

impl Drop for Running {
    fn drop(&mut self) {
        *CHILD.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Runs a command to its end; signals are passed on to it.
pub fn output(command: &mut Command) -> io::Result<Output> {
    let child = command.spawn()?;
    let _running = passed_on(&child);
    child.wait_with_output()
}

/// Whether this program was asked to stop.
fn asked() -> bool {
    ASKED.load(Ordering::SeqCst) != 0
}

/// Fails if this program was asked to stop.
pub fn check() -> Result<(), Stopped> {
    match ASKED.load(Ordering::SeqCst) {
        0 => Ok(()),
        signal => Err(Stopped(signal)),
    }
}
