//! Results go to stdout, everything else to stderr; files are replaced as a whole or not at all.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use mobilenet_common::files;
use serde::Serialize;

/// Text without the characters that control a terminal, which may come from a file: a class's name, a path.
pub fn visible(text: &str) -> Cow<'_, str> {
    let controls = |c: char| c.is_control() && c != '\n';
    if text.contains(controls) { text.replace(controls, "\u{fffd}").into() } else { text.into() }
}

/// The longest run of digits that is printed in full.
const MAX_DIGITS: usize = 30;

/// A line with its longest numbers in short: `1e308` instead of 309 digits.
pub fn short_numbers(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let (digits, after) = from.split_at(from.find(|c: char| !c.is_ascii_digit()).unwrap_or(from.len()));
        out += before;
        if digits.len() > MAX_DIGITS && !digits.starts_with('0') {
            let tail = digits[1..4].trim_end_matches('0');
            let point = if tail.is_empty() { "" } else { "." };
            out += &format!("{}{point}{tail}e{}", &digits[..1], digits.len() - 1);
        } else {
            out += digits;
        }
        rest = after;
    }
    out + rest
}

/// Prints text and a line feed on stdout.
pub fn print(text: &str) -> Result<()> {
    write_line(&visible(text))
}

/// Prints text as it is, for programs, and a line feed on stdout.
pub fn write_line(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Prints a value as JSON on one line.
pub fn print_json(value: &impl Serialize) -> Result<()> {
    write_line(&serde_json::to_string(value)?)
}

/// A line on stderr, whether or not anybody reads it. Names of files and classes may have control characters, which do
/// something to a terminal: they are replaced.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{}", visible(line));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_controls_a_terminal_is_printed() {
        assert_eq!(visible("a\u{1b}[31mb\n\u{9b}c\u{7}\t"), "a\u{fffd}[31mb\n\u{fffd}c\u{fffd}\u{fffd}");
        assert!(matches!(visible("plain: ä\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn long_numbers_are_short() {
        assert_eq!(short_numbers(&format!("found {}, not 12.5", 1e308)), "found 1e308, not 12.5");
        assert_eq!(short_numbers(&format!("{}!", 1.25e40)), "1.25e40!");
        assert_eq!(short_numbers("18446744073709551615 and 0.001"), "18446744073709551615 and 0.001");
        assert_eq!(short_numbers(""), "");
    }
}
