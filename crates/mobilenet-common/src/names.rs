//! Names of a few known things, such as data sets or learning-rate schedules, and the error for any other.

use std::fmt;

/// A name that is not one of those known.
///
/// It is what enums of this workspace fail with when they are parsed. They derive their names:
///
/// ```
/// use mobilenet_common::names::UnknownName;
/// use strum::VariantNames;
///
/// #[derive(Debug, PartialEq, strum::EnumString, strum::VariantNames)]
/// #[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
/// enum Color {
///     Red,
///     DarkBlue,
/// }
///
/// fn unknown(found: &str) -> UnknownName {
///     UnknownName::new("color", found, Color::VARIANTS)
/// }
///
/// assert_eq!("dark-blue".parse(), Ok(Color::DarkBlue));
/// let error = "green".parse::<Color>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown color \"green\", expected red or dark-blue");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// What was to be named.
    pub what: &'static str,
    /// The name found.
    pub found: String,
    /// The names known.
    pub expected: &'static [&'static str],
}

impl UnknownName {
    /// The error of a name `found` where one of `expected` was to be.
    #[must_use]
    pub fn new(what: &'static str, found: &str, expected: &'static [&'static str]) -> Self {
        Self { what, found: found.to_owned(), expected }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown {} {:?}, expected ", self.what, self.found)?;
        for (i, name) in self.expected.iter().enumerate() {
            let before = match i {
                0 => "",
                _ if i + 1 == self.expected.len() => " or ",
                _ => ", ",
            };
            write!(f, "{before}{name}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_known_names_are_listed() {
        for (expected, text) in [
            (&["a"][..], "unknown thing \"x\\n\", expected a"),
            (&["a", "b"], "unknown thing \"x\\n\", expected a or b"),
            (&["a", "b", "c"], "unknown thing \"x\\n\", expected a, b or c"),
        ] {
            assert_eq!(UnknownName::new("thing", "x\n", expected).to_string(), text);
        }
    }
}
