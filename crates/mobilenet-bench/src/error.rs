//! What can go wrong while measuring.

/// A result whose error is [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a measurement was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Zero iterations, a batch of zero images or an input without elements.
    #[error("nothing to time: {what} is 0, expected at least 1")]
    Nothing {
        /// The quantity that is zero.
        what: &'static str,
    },
    /// A step returned NaN or an infinity: a broken model must not yield a figure.
    #[error("step {step} returned {value}, expected a finite number")]
    NotFinite {
        /// Counted from 0, warm-up included.
        step: usize,
        /// What it returned.
        value: f32,
    },
    /// A step failed.
    #[error("step {step} failed: {message}")]
    Step {
        /// Counted from 0, warm-up included.
        step: usize,
        /// The step's own message.
        message: String,
    },
    /// A step's parts are not those of the step before.
    #[error("step {step} reported {found} parts, expected {expected}")]
    Parts {
        /// Counted from 0, warm-up included.
        step: usize,
        /// The parts of the first step.
        expected: usize,
        /// The parts of this one.
        found: usize,
    },
    /// The memory that a measurement needs was refused.
    #[error("no memory for a buffer of {bytes} bytes")]
    Memory {
        /// The buffer's size.
        bytes: usize,
    },
    /// The input could not be made.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
