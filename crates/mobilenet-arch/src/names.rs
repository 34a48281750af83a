//! Values that are read by their names.

use crate::Error;

/// The one of `all` with this name.
///
/// # Errors
/// [`Error::UnknownName`] with the names there are; `what` says what was to be named.
pub(crate) fn find<T: Copy>(
    what: &'static str,
    all: impl Iterator<Item = T> + Clone,
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, Error> {
    all.clone().find(|&value| name(value) == text).ok_or_else(|| Error::UnknownName {
        what,
        expected: all.map(name).collect::<Vec<_>>().join(", "),
        found: text.to_string(),
    })
}
