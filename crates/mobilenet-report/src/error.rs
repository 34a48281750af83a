//! Why a report cannot be made.

use std::io;
use std::path::PathBuf;

/// Why a report cannot be made. Each message says what was expected of which file, and what was found there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of a run or a comparison cannot be read, or does not hold what it should.
    #[error("{0}")]
    Artefact(mobilenet_schema::Error),
    /// A folder cannot be read.
    #[error("cannot read {path}: {error}", path = path.display())]
    Read {
        /// The folder
        path: PathBuf,
        /// What the system says
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {error}", path = path.display())]
    Write {
        /// The file
        path: PathBuf,
        /// What the system says
        error: io::Error,
    },
    /// A folder's earlier files cannot be replaced.
    #[error("cannot write to {path}: {error}", path = path.display())]
    Replace {
        /// The folder
        path: PathBuf,
        /// What the system says
        error: io::Error,
    },
    /// A folder cannot be made.
    #[error("cannot make {path}: {error}", path = path.display())]
    MakeFolder {
        /// The folder
        path: PathBuf,
        /// What the system says
        error: io::Error,
    },
    /// Another process still holds a folder's lock.
    #[error("{busy} in {folder}", folder = folder.display())]
    Busy {
        /// What is running there, as the caller of [`lock`](crate::lock) put it
        busy: String,
        /// The folder
        folder: PathBuf,
    },
    /// There is neither a folder nor a file.
    #[error("{path}: there is no such folder or file", path = path.display())]
    Missing {
        /// The path, as it was given
        path: PathBuf,
    },
    /// Something else than a folder was given.
    #[error("{path} is not a folder", path = path.display())]
    NotAFolder {
        /// The path, as it was given
        path: PathBuf,
    },
    /// A folder holds no comparison.
    #[error("{path} holds no comparison{reason}", path = path.display())]
    NoComparison {
        /// The folder or file, as it was given
        path: PathBuf,
        /// Which file is missing, or what is wrong with it; begins with its own punctuation
        reason: String,
    },
    /// A comparison that [`Snapshot::read`](crate::Snapshot::read) was given cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Earlier {
        /// Its folder or file, as it was given
        path: PathBuf,
        /// What is wrong with it
        error: Box<Error>,
    },
    /// A comparison was to be compared with itself.
    #[error("{path} is the comparison that is being reported; give the folder of another", path = path.display())]
    Itself {
        /// The folder or file, as it was given
        path: PathBuf,
    },
    /// No run of a comparison is complete.
    #[error("{path} holds no finished run: {}", notes.join(" "), path = path.display())]
    NoFinishedRun {
        /// The comparison's folder
        path: PathBuf,
        /// What is missing, one sentence each
        notes: Vec<String>,
    },
    /// A file of a single run is missing.
    #[error("{folder}: {expected} (no {file})", folder = folder.display())]
    IncompleteRun {
        /// The run's folder
        folder: PathBuf,
        /// What was expected, or what follows
        expected: &'static str,
        /// Name of the file
        file: &'static str,
    },
    /// A run's `config.json` does not say what it should.
    #[error("{run}: {problem}")]
    Config {
        /// The run's folder or name
        run: String,
        /// What is expected and what was found
        problem: String,
    },
    /// Two runs have the same name, by which a report tells them apart.
    #[error("two of the runs are called {name}; expected folders of different names")]
    SameName {
        /// The name
        name: String,
    },
    /// Two networks that are to be compared image by image were evaluated on different ones.
    #[error("the networks were evaluated on different test images")]
    DifferentImages,
    /// A picture of `samples.json` cannot be decoded.
    #[error("picture {index} is not base64")]
    Picture {
        /// Its place in the test set
        index: usize,
    },
    /// A figure cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

// Its message holds its cause already, so that it is no source besides.
impl From<mobilenet_schema::Error> for Error {
    fn from(error: mobilenet_schema::Error) -> Self {
        Self::Artefact(error)
    }
}

/// [`std::result::Result`] with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
