//! Places in the data, and pictures there that cannot be read.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where in the data an error was found: a file, and the row or record in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` for bytes given in memory.
    pub path: Option<PathBuf>,
    /// Row or record in the file, counted from 0.
    pub row: Option<usize>,
}

impl Place {
    pub(crate) fn file(path: &Path) -> Self {
        Self { path: Some(path.into()), row: None }
    }

    pub(crate) fn row(path: &Path, row: usize) -> Self {
        Self { path: Some(path.into()), row: Some(row) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}", path.display())?,
            None => f.write_str("picture")?,
        }
        match self.row {
            Some(row) => write!(f, ": row {row}"),
            None => Ok(()),
        }
    }
}

/// A picture that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where it is.
    pub place: Place,
    /// What is wrong with it, in one line.
    pub reason: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// The first few of many, in one line.
pub(crate) fn few(broken: &[Broken]) -> String {
    const SHOWN: usize = 5;
    let mut text = broken.iter().take(SHOWN).map(Broken::to_string).collect::<Vec<_>>().join("; ");
    if broken.len() > SHOWN {
        text += &format!("; and {} more", broken.len() - SHOWN);
    }
    text
}
