//! Ctrl-C and SIGTERM: one handler for all commands.
//!
//! A command ends at once, with exit status 130 or 143 and a line that says so. Work that can be gone on with later is
//! asked to stop by [`asked`] instead, and has [`GRACE`] to write what it has; a second signal does not wait for that.

use std::fmt;
use std::ops::ControlFlow;
use std::process::exit;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use crate::output::note;

/// How long work has to stop by itself.
const GRACE: Duration = Duration::from_secs(2);
/// Signals that come closer together are one: a terminal's and a parent's that passes its own on.
const TOGETHER: Duration = Duration::from_millis(500);

/// The signal that asked to stop; 0 while none did.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// How to go on with the work at hand, if it stops by itself.
static WAY_ON: Mutex<Option<String>> = Mutex::new(None);

/// A request to stop, by its number: SIGINT or SIGTERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// What a program ends with that was stopped by it, as shells say it.
    pub fn exit_code(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(1)
    }

    /// A word for what happened.
    fn participle(self) -> &'static str {
        if self.exit_code() == 130 { "interrupted" } else { "terminated" }
    }
}

/// Takes charge of the signals. Elsewhere than on Unix they end the program as ever.
pub fn watch() {
    #[cfg(unix)]
    if let Ok(mut signals) =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])
    {
        spawn(move || {
            let first = signals.forever().next();
            let begun = Instant::now();
            first.into_iter().chain(signals.forever()).for_each(|signal| told(Signal(signal), begun));
        });
    }
}

/// What happens at a signal, the first of which came at `first`.
#[cfg(unix)]
fn told(signal: Signal, first: Instant) {
    let Some(way_on) = way_on() else { end(signal, signal.participle()) };
    if ASKED.swap(signal.0, Ordering::SeqCst) == 0 {
        spawn(move || {
            sleep(GRACE);
            end(
                signal,
                &format!("{} before a checkpoint could be written, the last one stays; {way_on}", signal.participle()),
            );
        });
    } else if first.elapsed() > TOGETHER {
        end(signal, &format!("{}; {way_on}", signal.participle()));
    }
}

#[cfg(unix)]
fn end(signal: Signal, words: &str) -> ! {
    note(words);
    exit(signal.exit_code().into())
}

#[cfg(unix)]
fn way_on() -> Option<String> {
    WAY_ON.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Until it is dropped, signals ask instead of ending the program.
pub struct Graceful(());

/// For work that looks at [`asked`] often; `way_on` says how to go on with it later.
pub fn graceful(way_on: String) -> Graceful {
    *WAY_ON.lock().unwrap_or_else(PoisonError::into_inner) = Some(way_on);
    Graceful(())
}

impl Drop for Graceful {
    fn drop(&mut self) {
        *WAY_ON.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The signal that asks the work to stop.
pub fn asked() -> Option<Signal> {
    Some(ASKED.load(Ordering::SeqCst)).filter(|&signal| signal != 0).map(Signal)
}

/// For an observer: whether to go on.
pub fn flow() -> ControlFlow<()> {
    if asked().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// What a command ends with that stopped because it was asked to.
#[derive(Debug)]
pub struct Stopped {
    pub signal: Signal,
    /// What was stopped and how to go on.
    pub words: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} {}", self.signal.participle(), self.words)
    }
}

impl std::error::Error for Stopped {}
