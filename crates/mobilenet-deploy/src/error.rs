use std::io;
use std::path::PathBuf;

use mobilenet_runtime::Precision;

/// The result of making a network ready to ship.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a network cannot be made ready to ship.
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
    /// A file that holds something else.
    #[error("{}: {reason}", path.display())]
    Weights {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A parameter that is not there, or has another shape.
    #[error("tensor {name:?}: expected shape {expected:?}, found {found}")]
    Tensor {
        /// Which parameter.
        name: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// What is there instead.
        found: String,
    },
    /// A network that cannot be quantized.
    #[error("cannot make this network one in 8 bits: {0}")]
    Quantize(String),
    /// A network whose weights cannot be rounded to bf16.
    #[error("cannot round this network's weights to bf16: {0}")]
    Bf16(String),
    /// More or fewer straight pieces than there can be.
    #[error("pieces: expected 1 to {expected}, found {found}")]
    Pieces {
        /// The most there can be.
        expected: usize,
        /// How many were asked for.
        found: usize,
    },
    /// Weights that an ONNX graph's operations do not take.
    #[error("ONNX graph: expected weights in float32 or 8 bits, found {found}")]
    OnnxPrecision {
        /// How they are kept.
        found: Precision,
    },
    /// An operation whose name an ONNX graph needs for something else.
    #[error("ONNX graph: expected values with names of their own, found {name:?} twice")]
    OnnxName {
        /// The name.
        name: String,
    },
    /// A configuration that is no network.
    #[error(transparent)]
    Arch(#[from] mobilenet_arch::Error),
    /// The outcome is no network that runs.
    #[error(transparent)]
    Runtime(#[from] mobilenet_runtime::Error),
}
