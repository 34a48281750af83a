//! What is read from the environment when a program starts: how many threads rayon and Candle compute with
//! (`--threads`), and whether the C library keeps the pages of freed tensors.
//!
//! rayon and Candle read the number once, when their pools start, and Candle from nowhere else. A program cannot change
//! its own environment safely once it runs, so it starts itself again with another one: on Unix in the same process.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

/// The variables that rayon and Candle read.
const VARIABLES: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Has glibc keep large blocks that were freed, which the next step needs again, instead of giving them back to the
/// system: without it a training step of MobileNetV2 spends a tenth of its time on page faults. (The kernels' own
/// buffers are in a pool; these are Candle's tensors.) Other C libraries do not read it.
const KEEP_LARGE: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "4000000000"), ("MALLOC_TRIM_THRESHOLD_", "8000000000")];

/// Threads that are allowed for each core. More of them only wait for each other.
const PER_CORE: usize = 4;

/// Sees to it that everything computes with `threads`; without a number, with what the environment says, or else with
/// all cores. `None` if the program can go on as it is, the exit status if a second start did all the work.
///
/// # Errors
/// More threads than are allowed for each core; a program that cannot be started again.
pub fn set(threads: Option<usize>) -> Result<Option<ExitCode>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut changes: Vec<(&str, String)> = Vec::new();
    let mut usual = cores;
    for name in VARIABLES {
        let said = env::var(name).ok().and_then(|value| value.parse().ok()).filter(|&n: &usize| n > 0);
        let wanted = threads.or(said).unwrap_or(usual);
        // As Candle does: without a number of its own it takes rayon's.
        usual = wanted;
        if wanted > PER_CORE * cores {
            let source = if threads.is_some() { "--threads" } else { name };
            let most = PER_CORE * cores;
            bail!("{source} is {wanted}, expected 1 to {most}: {PER_CORE} for each of the {cores} cores");
        }
        if said != Some(wanted) {
            changes.push((name, wanted.to_string()));
        }
    }
    if cfg!(target_env = "gnu") {
        let unset = KEEP_LARGE.iter().filter(|(name, _)| env::var_os(name).is_none());
        changes.extend(unset.map(|&(name, value)| (name, value.to_owned())));
    }
    if changes.is_empty() {
        return Ok(None);
    }
    let program = env::current_exe().context("the program cannot be started again with another number of threads")?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).envs(changes);
    start(command, env::args_os().next().as_deref())
        .map(Some)
        .context("the program cannot be started again with another number of threads")
}

/// Goes on as `command`, under the name that this program was called by.
#[cfg(unix)]
fn start(mut command: Command, name: Option<&OsStr>) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    if let Some(name) = name {
        command.arg0(name);
    }
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn start(mut command: Command, _: Option<&OsStr>) -> Result<ExitCode> {
    let status = command.status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
