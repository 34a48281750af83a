//! Results go to stdout, everything else to stderr; files are replaced as a whole or not at all.

use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use mobilenet_common::files;
use serde::Serialize;

/// Prints text and a line feed on stdout.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Prints a value as JSON on one line.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string(value)?)
}

/// A line on stderr, whether or not anybody reads it.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether the command failed because nobody reads stdout any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

/// Fails now if a result could not be written to `path` after the work for it.
pub fn check_writable(path: &Path) -> Result<()> {
    files::check_writable(path).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a value as JSON to `path`: a temporary file in the same folder, fsync, rename.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(path, &text)
}

/// Writes text to `path`, whole or not at all.
pub fn write(path: &Path, text: &str) -> Result<()> {
    files::write(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
