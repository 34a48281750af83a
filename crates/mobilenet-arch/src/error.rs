//! What can go wrong in this crate, one variant per cause.

/// An error of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that stands for no value of an enumeration.
    #[error("{what}: expected one of {expected}, found \"{found}\"")]
    UnknownName {
        /// What was to be named: `model` or `preset`.
        what: &'static str,
        /// The names there are.
        expected: String,
        /// The name given.
        found: String,
    },
    /// A field of a [`ModelConfig`](crate::ModelConfig), or an image size, with a value no model can have.
    #[error("{field}: expected {expected}, found {found}")]
    InvalidConfig {
        /// The field's name.
        field: &'static str,
        /// The values it may take.
        expected: String,
        /// The value it has.
        found: String,
    },
    /// A word that names no network, and no set of them.
    #[error("no network \"{found}\"; expected {expected}, each with @WIDTH if not 1 (v2@0.5), or ladder or widths")]
    UnknownNetwork {
        /// The names there are.
        expected: String,
        /// The name given.
        found: String,
    },
    /// A width that no network can have.
    #[error("no width \"{found}\"; expected a number above 0 to 8 with at most three decimals")]
    InvalidWidth {
        /// The text given.
        found: String,
    },
}

/// An error about `field` unless what is said of it holds.
pub(crate) fn check(
    field: &'static str,
    holds: bool,
    expected: impl Into<String>,
    found: impl ToString,
) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::InvalidConfig { field, expected: expected.into(), found: found.to_string() })
    }
}
