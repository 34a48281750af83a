use std::io;
use std::path::{Path, PathBuf};

/// The result of loading or running a network.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a network cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was to be done with it.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is wrong, in a file.
    #[error("{}: {source}", path.display())]
    Within {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<Error>,
    },
    /// Bytes that are no safetensors file.
    #[error("not a safetensors file: {0}")]
    Safetensors(String),
    /// A safetensors file of another kind.
    #[error("not a network for this runtime: {0}")]
    Format(String),
    /// A part of a network that does not fit the others.
    #[error("{what}: expected {expected}, found {found}")]
    Value {
        /// Which part.
        what: String,
        /// What fits.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The system does not start a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl Error {
    pub(crate) fn value(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Value { what: what.into(), expected: expected.into(), found: found.into() }
    }

    /// What is wrong in the file at `path`; unless it says so already.
    pub(crate) fn within(self, path: &Path) -> Self {
        match self {
            Self::File { .. } | Self::Within { .. } => self,
            error => Self::Within { path: path.to_owned(), source: Box::new(error) },
        }
    }
}
