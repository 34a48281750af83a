//! Why a file cannot be used.

use std::path::PathBuf;

use crate::Problem;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not JSON, or not of the expected form.
    #[error("{path} is not {expected}: {source}", path = path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// Where it fails to be that.
        source: serde_json::Error,
    },
    /// One line of a file is not JSON, or not of the expected form.
    #[error("{path}, line {line}, is not {expected}: {source}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it should be.
        expected: &'static str,
        /// Where it fails to be that.
        source: serde_json::Error,
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
