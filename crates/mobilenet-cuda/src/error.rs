//! What can go wrong.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer that there is no kernel for.
    #[error("{layer}: no CUDA kernel for it: {why}")]
    Unsupported {
        /// Its path among the variables.
        layer: String,
        /// What a kernel would have to have.
        why: &'static str,
    },
    /// Values of another number than a place on the device holds.
    #[error("{what}: expected {expected} values, found {found}")]
    Length {
        /// Of what.
        what: String,
        /// How many it holds.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A number that does not fit a kernel's parameter.
    #[error("{kernel}: expected a size below 2^31, found {found}")]
    Size {
        /// The kernel.
        kernel: String,
        /// The number.
        found: usize,
    },
    /// The network cannot be made.
    #[error(transparent)]
    Network(#[from] mobilenet_arch::Error),
    /// No variable of this name.
    #[error("no variable \"{0}\" in this network")]
    Variable(String),
    /// A GPU without what the kernels need: bf16.
    #[error("compute capability {found}, expected at least 8.0")]
    Capability {
        /// Its compute capability.
        found: String,
    },
    /// What the device, its driver or its compiler says.
    #[error("{0}")]
    Device(String),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
