//! What can go wrong in this crate, one variant per cause.

use std::fmt;
use std::mem::discriminant;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configuration that no model can have.
    #[error(transparent)]
    Config(#[from] mobilenet_arch::Error),
    /// The operating system could not read or write the file.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `write`.
        action: &'static str,
        /// The system's own error.
        source: std::io::Error,
    },
    /// The file is in none of the formats of weights.
    #[error("{}: expected weights (.safetensors, or .pth as torch.save writes it), found {found}", path.display())]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What its first bytes look like.
        found: String,
    },
    /// The file is cut short, damaged, or holds something its format does not allow.
    #[error("{}: damaged or incomplete {format} file: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The format its first bytes announce.
        format: &'static str,
        /// What was expected and found.
        reason: String,
    },
    /// The tensors of the file are not those of the model. Nothing was loaded.
    #[error("{}: the weights do not fit the model: {}{}", path.display(), Problems(problems), Holds(holds.as_deref()))]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Every tensor that is missing, unexpected or of another shape, sorted by name within each kind.
        problems: Vec<TensorProblem>,
        /// The network that the file holds instead, if it is one that is known.
        holds: Option<String>,
    },
    /// A tensor of the file has numbers that no network works with. Nothing was loaded.
    #[error("{}: {name} holds NaN or infinite numbers", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        name: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            other => candle_core::Error::wrap(other),
        }
    }
}

/// One tensor of a file of weights that does not fit the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorProblem {
    /// The model has it, the file does not.
    Missing {
        /// The tensor's name.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
    },
    /// The file has it, the model does not.
    Unexpected {
        /// The tensor's name.
        name: String,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// Both have it, with other shapes.
    Shape {
        /// The tensor's name.
        name: String,
        /// The model's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// Both have it, but the file's numbers are not floating point.
    Dtype {
        /// The tensor's name.
        name: String,
        /// The file's type of number.
        found: String,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Missing { name, expected } => write!(f, "missing {name} (expected {expected:?})"),
            Self::Unexpected { name, found } => write!(f, "unexpected {name} (found {found:?})"),
            Self::Shape { name, expected, found } => {
                write!(f, "{name} has another shape (expected {expected:?}, found {found:?})")
            }
            Self::Dtype { name, found } => {
                write!(f, "{name} has another type (expected floating point, found {found})")
            }
        }
    }
}

/// How many problems of a kind an error names.
const NAMED: usize = 3;

/// The first problems of each kind on one line, and how many more there are.
struct Problems<'a>(&'a [TensorProblem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let n = self.0.len();
        write!(f, "{n} tensor{}: ", if n == 1 { "" } else { "s" })?;
        let kinds = self.0.chunk_by(|a, b| discriminant(a) == discriminant(b));
        let named: Vec<String> =
            kinds.flat_map(|kind| kind.iter().take(NAMED)).map(|p| short(&p.to_string())).collect();
        f.write_str(&named.join("; "))?;
        match n - named.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// A problem's line, cut where a name is longer than any network's.
fn short(line: &str) -> String {
    const LONGEST: usize = 160;
    let plain: String = line.chars().take(LONGEST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if line.chars().nth(LONGEST).is_some() { plain + "…" } else { plain }
}

/// The network that a file holds instead.
struct Holds<'a>(Option<&'a str>);

impl fmt::Display for Holds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.map_or(Ok(()), |network| write!(f, " (the file holds {network})"))
    }
}
