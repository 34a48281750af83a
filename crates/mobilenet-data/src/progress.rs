//! What loading is doing.

/// What [`load`](crate::load) is doing. Said on the thread that called it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// A file is being downloaded.
    Downloading {
        /// Its name.
        file: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, 0 if not known.
        total: u64,
    },
    /// Pictures of a file or folder are being read.
    Reading {
        /// Its name.
        file: String,
        /// Pictures so far.
        done: u64,
        /// Pictures in all.
        total: u64,
    },
    /// CIFAR-10 could not be had; `shapes10` takes its place.
    FallingBack {
        /// Why it could not be had, in one line.
        reason: String,
    },
}
