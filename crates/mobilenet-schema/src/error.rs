//! Why a file cannot be used.

use std::path::PathBuf;

use crate::check::Problem;

/// Why a file cannot be used. The message holds the cause, which is therefore no
/// [`source`](std::error::Error::source) besides: whoever prints the chain would print it twice.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file is not JSON, or not of the expected form.
    #[error("{path} is not {expected}: {error}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// Where it fails to be that.
        error: serde_json::Error,
    },
    /// One line of a file is not JSON, or not of the expected form.
    #[error("{path}, line {line}, is not {expected}: {error}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
        /// Where it fails to be that.
        error: serde_json::Error,
    },
    /// A field holds what cannot be.
    #[error("{path}: {problem}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field and its value.
        problem: Problem,
    },
}

/// [`std::result::Result`] with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_cause_is_said_once() {
        let path = PathBuf::from("a.json");
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let form = || serde_json::from_str::<u64>("x").unwrap_err();
        for (error, words) in [
            (Error::Read { path: path.clone(), error: missing }, "cannot read a.json: entity not found"),
            (
                Error::Form { path: path.clone(), expected: "a number", error: form() },
                "a.json is not a number: expected value at line 1 column 1",
            ),
            (
                Error::Line { path, line: 3, expected: "a number", error: form() },
                "a.json, line 3, is not a number: expected value at line 1 column 1",
            ),
        ] {
            assert_eq!(error.to_string(), words);
            assert!(error.source().is_none(), "{words}");
        }
    }
}
