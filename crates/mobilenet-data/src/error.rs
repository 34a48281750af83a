//! What can go wrong, one variant per cause: where, what was expected, what was found.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use mobilenet_schema::Problem;

/// Every error of this crate. Each prints as one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source that reads a folder was given none.
    #[error("the data source {source_name} needs a data folder: none was given")]
    NeedsDataDir {
        /// Name of the source.
        source_name: String,
    },
    /// `shapes10` was given a folder.
    #[error(
        "{}: the data source shapes10 is drawn by code and takes no data folder",
        path.display()
    )]
    TakesNoDataDir {
        /// The folder that was given.
        path: PathBuf,
    },
    /// A data folder that is not there, or is not a folder.
    #[error("{}: no such folder", path.display())]
    MissingFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that holds nothing.
    #[error("{}: the folder is empty: expected {expected}", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// What should have been in it.
        expected: &'static str,
    },
    /// A folder in which no known layout was recognized.
    #[error(
        "{}: no data set found: expected data_batch_*.bin and test_batch.bin, train.bin and \
         test.bin, train*.parquet and test*.parquet, or train/<class>/ and test/<class>/; \
         found {found}",
        path.display()
    )]
    UnknownLayout {
        /// The folder.
        path: PathBuf,
        /// Some of the names in it.
        found: String,
    },
    /// A folder with more than one data set in its subfolders.
    #[error("{}: several data sets found ({found}): name one of these folders", path.display())]
    SeveralSets {
        /// The folder.
        path: PathBuf,
        /// The subfolders that hold a set.
        found: String,
    },
    /// A folder that holds another set than the one asked for.
    #[error("{}: expected the data set {expected}, found {found}", path.display())]
    WrongSet {
        /// The folder.
        path: PathBuf,
        /// The set that was asked for.
        expected: String,
        /// The set that is there.
        found: String,
    },
    /// One file or folder of a set is not there.
    #[error("{}: missing: {needed}", path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// What it is needed for.
        needed: &'static str,
    },
    /// Something in an image folder that does not belong there.
    #[error("{}: unexpected in an image folder: expected {expected}", path.display())]
    ImageFolder {
        /// The file or folder.
        path: PathBuf,
        /// What should be in its place.
        expected: &'static str,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the binary version whose size is not a whole number of records.
    #[error(
        "{}: truncated or corrupt: expected a multiple of {record} bytes, found {found} bytes \
         ({} records and {} bytes)",
        path.display(), found / record, found % record
    )]
    BinarySize {
        /// The file.
        path: PathBuf,
        /// Bytes per record.
        record: u64,
        /// Bytes in the file.
        found: u64,
    },
    /// A label that names no class.
    #[error("{place}: label out of range: expected 0 to {}, found {found}", classes - 1)]
    LabelRange {
        /// The file and the record, counted from 0.
        place: Place,
        /// The label.
        found: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A list of class names of the wrong length.
    #[error("{}: expected {expected} class names, found {found}", path.display())]
    ClassNames {
        /// The file.
        path: PathBuf,
        /// Number of classes.
        expected: usize,
        /// Number of names.
        found: usize,
    },
    /// A parquet file that cannot be read.
    #[error("{}: truncated or corrupt parquet: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A parquet file with other columns than a picture and its label.
    #[error("{}: unexpected parquet schema: expected {expected}, found {found}", path.display())]
    ParquetSchema {
        /// The file.
        path: PathBuf,
        /// The columns needed.
        expected: &'static str,
        /// The columns that are there.
        found: String,
    },
    /// A parquet file compressed in a way that this build does not read.
    #[error(
        "{}: parquet compression {found} is not built in: expected SNAPPY or UNCOMPRESSED",
        path.display()
    )]
    ParquetCodec {
        /// The file.
        path: PathBuf,
        /// The codec of the file.
        found: String,
    },
    /// Bytes that do not decode to a picture.
    #[error("{place}: not a picture: expected PNG or JPEG, found {reason}")]
    NotAPicture {
        /// The file, and the row if it holds many.
        place: Place,
        /// What the decoder says.
        reason: String,
    },
    /// A picture of another size than the rest of its set.
    #[error(
        "{place}: expected a picture of {}x{}, found {}x{} (height x width)",
        expected.0, expected.1, found.0, found.1
    )]
    PictureSize {
        /// The file, and the row.
        place: Place,
        /// Height and width of the set.
        expected: (usize, usize),
        /// Height and width of this picture.
        found: (usize, usize),
    },
    /// A set, or a part of it, without any picture.
    #[error("{}: holds no images", path.display())]
    NoImages {
        /// The file or folder.
        path: PathBuf,
    },
    /// Pixels and labels that do not belong together.
    #[error("expected {expected} bytes of pixels, found {found}")]
    SplitSize {
        /// labels × height × width × 3.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// A number that makes no sense, such as a batch size of 0.
    #[error("{name}: expected {expected}, found {found}")]
    Config {
        /// The setting.
        name: Cow<'static, str>,
        /// What is allowed.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The set is neither in a folder nor in the cache, and could not be downloaded.
    #[error("{name} is not available: {reason}")]
    NotAvailable {
        /// The set.
        name: String,
        /// Why.
        reason: String,
    },
    /// The background thread that makes batches could not be started, or died.
    #[error("the thread that makes batches failed: {reason}")]
    BatchThread {
        /// Why.
        reason: String,
    },
    /// A tensor that does not hold pictures or labels as expected.
    #[error("{name}: expected {expected}, found {found}")]
    Tensor {
        /// The tensor's name.
        name: &'static str,
        /// Shape, type and range needed.
        expected: String,
        /// Its shape, type or value.
        found: String,
    },
    /// A file that is not the one of MNIST's that its name says.
    #[error("{}: not one of MNIST's files: expected {expected}, found {found}", path.display())]
    Idx {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: String,
        /// What is in it.
        found: String,
    },
    /// Candle failed to make a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<Problem> for Error {
    fn from(Problem { field, expected, found }: Problem) -> Self {
        Self::Config { name: field.into(), expected, found }
    }
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { path: path.into(), source }
    }
}

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
