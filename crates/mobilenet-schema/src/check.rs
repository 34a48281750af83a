//! What must be true of a file's values whatever was measured.

use std::fmt;

use serde::de::DeserializeOwned;

/// A file's type: it can be read, and says whether its values can be true.
pub trait Artefact: DeserializeOwned {
    /// What the file holds, for errors: `an evaluation (eval.json)`.
    const WHAT: &str;

    /// Refuses values that nothing can have: an accuracy of 7.5, a negative time, lists that do not match.
    ///
    /// # Errors
    /// The first such field.
    fn check(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// Any JSON at all.
impl Artefact for serde_json::Value {
    const WHAT: &str = "JSON";
}

/// A field with a value that it cannot have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct Problem {
    /// The field's path: `latency_ms.p50`, `models[2].test_top1`.
    pub field: String,
    /// What it may hold.
    pub expected: String,
    /// What it holds.
    pub found: String,
}

impl Problem {
    /// The same problem of a field inside `outer`.
    #[must_use]
    pub fn within(self, outer: impl fmt::Display) -> Self {
        Self { field: format!("{outer}.{}", self.field), ..self }
    }
}

/// `holds`, or the problem.
pub(crate) fn check(
    holds: bool,
    field: impl fmt::Display,
    expected: impl fmt::Display,
    found: impl fmt::Display,
) -> Result<(), Problem> {
    if holds {
        return Ok(());
    }
    Err(Problem { field: field.to_string(), expected: expected.to_string(), found: found.to_string() })
}

/// A share: an accuracy, a part of a sum.
pub(crate) fn share(field: impl fmt::Display, value: f64) -> Result<(), Problem> {
    check((0.0..=1.0).contains(&value), field, "a share from 0 to 1", value)
}

/// A time, a rate.
pub(crate) fn positive(field: impl fmt::Display, value: f64) -> Result<(), Problem> {
    check(value > 0.0 && value.is_finite(), field, "a number above 0", value)
}

/// A time that may be too short for the clock.
pub(crate) fn not_negative(field: impl fmt::Display, value: f64) -> Result<(), Problem> {
    check(value >= 0.0 && value.is_finite(), field, "a number not below 0", value)
}

/// A number of images, epochs, classes that cannot be none.
pub(crate) fn at_least_one(field: impl fmt::Display, value: u64) -> Result<(), Problem> {
    check(value >= 1, field, "at least 1", value)
}

/// A list with an entry for each of something.
pub(crate) fn length(field: impl fmt::Display, of: &str, expected: usize, found: usize) -> Result<(), Problem> {
    check(found == expected, field, format_args!("{expected} entries, one for each {of}"), found)
}
