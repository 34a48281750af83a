//! One process of `mobilenet`.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use mobilenet_common::files::FolderLock;
use mobilenet_report::Stage;

use super::commands;
use super::stages::title;
use crate::stop;

/// The binary, and the lock that each of its processes holds.
pub struct Program<'a> {
    /// The binary
    pub binary: PathBuf,
    /// That of the comparison's folder
    pub lock: &'a FolderLock,
}

/// A process that has ended.
pub struct Ended {
    /// How it ended
    pub status: ExitStatus,
    /// What it printed
    pub stdout: Vec<u8>,
}

impl Program<'_> {
    /// Runs it to its end and keeps what it prints on standard output.
    pub fn run(&self, args: &[String]) -> Result<Ended> {
        self.spawn(args, Stdio::piped())
    }

    /// Runs it to its end; all that it says goes to the terminal.
    pub fn run_loud(&self, args: &[String]) -> Result<Ended> {
        self.spawn(args, Stdio::inherit())
    }

    fn spawn(&self, args: &[String], stdout: Stdio) -> Result<Ended> {
        let mut command = Command::new(&self.binary);
        command.args(args).stdin(self.lock.share().context("cannot share the folder's lock")?).stdout(stdout);
        let output = stop::output(&mut command).with_context(|| format!("cannot start {}", self.binary.display()))?;
        stop::check()?;
        Ok(Ended { status: output.status, stdout: output.stdout })
    }
}

impl Ended {
    /// Fails, with the command, if the stage's process did.
    pub fn check(&self, stage: &Stage, args: &[String]) -> Result<()> {
        if self.status.success() {
            return Ok(());
        }
        if io::stderr().is_terminal() {
            // The process may have left a progress bar behind.
            eprintln!();
        }
        bail!(
            "stage \"{}\" failed ({}): {}; finished stages are kept; the same command resumes here",
            title(stage),
            self.status,
            commands::display(args)
        );
    }
}
