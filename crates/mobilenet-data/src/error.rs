//! What can go wrong, one variant per cause: where, what was expected, what was found.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use mobilenet_schema::Problem;

use crate::place::{Broken, Place, few};

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
    /// A file in the place of a data folder, of none of the kinds that hold a whole set.
    #[error("{}: expected a folder, an archive of CIFAR (.tar.gz), *.parquet or a list (*.csv, *.jsonl), found {found}", path.display())]
    NotASet {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
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
        "{}: no data set found: expected CIFAR's files or archive, *.parquet, folders of pictures (train/<class>/ and \
         test/<class>/, or <class>/), or a list of them (metadata.jsonl, *.csv); found {found}",
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
    /// A parquet file without a column of pictures or of labels, or with several that may be.
    #[error("{}: unexpected parquet schema: expected {expected}, found {found}", path.display())]
    ParquetSchema {
        /// The file.
        path: PathBuf,
        /// The column needed.
        expected: String,
        /// The columns that are there.
        found: String,
    },
    /// A parquet file compressed in a way that is not read.
    #[error(
        "{}: parquet compression {found} is not read: expected none, snappy, gzip, brotli, lz4 or zstd",
        path.display()
    )]
    ParquetCodec {
        /// The file.
        path: PathBuf,
        /// The codec of the file.
        found: String,
    },
    /// A file that stands for another one, such as a pointer of Git LFS.
    #[error("{}: {found}", path.display())]
    Placeholder {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// An archive that cannot be read, or has no files of CIFAR in it.
    #[error("{}: an archive: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of CIFAR's Python version that is not one.
    #[error("{}: not a pickle of CIFAR: {reason}", path.display())]
    Pickle {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file of a published set that has lost a part of its images.
    #[error("{}: incomplete: expected {expected} images, found {found}", path.display())]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// Images that were published in it.
        expected: usize,
        /// Images that are there.
        found: usize,
    },
    /// A line of a list that cannot be read.
    #[error("{}: line {row}: {reason}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// The line, counted from 1.
        row: usize,
        /// Why.
        reason: String,
    },
    /// A list without a column of files or of labels.
    #[error("{}: unexpected columns: expected {expected}, found {found}", path.display())]
    ListColumns {
        /// The list.
        path: PathBuf,
        /// The columns needed.
        expected: String,
        /// The columns that are there.
        found: String,
    },
    /// A test image of a class that no image to train on has.
    #[error("{place}: expected a class that the training images have, found {found}")]
    UnknownClass {
        /// The file and the row.
        place: Place,
        /// The class.
        found: String,
    },
    /// Two files of a set that do not name the same classes in the same order.
    #[error("{}: other classes than the first file's: expected {expected} as label {label}, found {found}", path.display())]
    ClassOrder {
        /// The file.
        path: PathBuf,
        /// The first label that differs.
        label: usize,
        /// Its class in the first file.
        expected: String,
        /// Its class in this file.
        found: String,
    },
    /// Bytes that do not decode to a picture.
    #[error("{place}: {reason}")]
    NotAPicture {
        /// The file, and the row if it holds many.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// Pictures of a set that cannot be read, all of them.
    #[error("{} of {total} pictures cannot be read: {}", broken.len(), few(broken))]
    BrokenPictures {
        /// Which, and why.
        broken: Vec<Broken>,
        /// How many the set has.
        total: usize,
    },
    /// Classes, or a part, without any image.
    #[error("no {what} images of {classes}")]
    NoImagesOf {
        /// `training` or `test`
        what: &'static str,
        /// The classes.
        classes: String,
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
