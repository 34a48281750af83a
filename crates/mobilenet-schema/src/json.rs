//! JSON that people can read and that differences of versions stay small in: lists of numbers take one line.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// JSON as [`serde_json::to_string_pretty`] writes it, ending in a line feed, but with each innermost list that holds
/// neither lists nor objects on a line of its own: ten thousand predictions are one line instead of ten thousand, and a
/// matrix has one line for each of its rows.
///
/// # Errors
/// Those of `value`'s own serialization.
///
/// ```
/// # fn main() -> serde_json::Result<()> {
/// let value = serde_json::json!({"labels": [3, 8, 8], "confusion": [[2, 0], [1, 4]]});
/// let text = mobilenet_schema::to_pretty_json_with_short_arrays(&value)?;
/// assert_eq!(
///     text,
///     r#"{
///   "confusion": [
///     [2, 0],
///     [1, 4]
///   ],
///   "labels": [3, 8, 8]
/// }
/// "#
/// );
/// # Ok(())
/// # }
/// ```
pub fn to_pretty_json_with_short_arrays(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let formatter = ShortArrays { pretty: PrettyFormatter::new(), open: Vec::new() };
    value.serialize(&mut Serializer::with_formatter(&mut text, formatter))?;
    text.push(b'\n');
    String::from_utf8(text).map_err(serde::ser::Error::custom)
}

/// Writes as [`PrettyFormatter`] does, and decides of each list at its first entry whether it takes one line.
struct ShortArrays<'a> {
    pretty: PrettyFormatter<'a>,
    /// The lists and objects that are being written, the innermost last
    open: Vec<Open>,
}

/// What is known of a list or object that is being written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// An object, or a list whose entries have lines of their own
    Long,
    /// A list whose beginning is held back: its first entry decides
    Undecided,
    /// A list on one line
    Short,
}

impl ShortArrays<'_> {
    /// Before an entry that is no number: the list that it is the first of has a line for each.
    fn decide_long<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        if let Some(last @ Open::Undecided) = self.open.last_mut() {
            *last = Open::Long;
            self.pretty.begin_array_value(writer, true)?;
        }
        Ok(())
    }
}

impl Formatter for ShortArrays<'_> {
    fn begin_string<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.decide_long(writer)?;
        self.pretty.begin_string(writer)
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.decide_long(writer)?;
        self.open.push(Open::Undecided);
        self.pretty.begin_array(writer)
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        match self.open.last() {
            Some(Open::Short) => writer.write_all(b", "),
            Some(Open::Undecided) => Ok(()),
            _ => self.pretty.begin_array_value(writer, first),
        }
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.open.last_mut() {
            // Nothing had to be written before the first number.
            Some(last @ (Open::Undecided | Open::Short)) => {
                *last = Open::Short;
                Ok(())
            }
            _ => self.pretty.end_array_value(writer),
        }
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.pop();
        self.pretty.end_array(writer)
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.decide_long(writer)?;
        self.open.push(Open::Long);
        self.pretty.begin_object(writer)
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.pop();
        self.pretty.end_object(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_lists_of_numbers_are_put_on_a_line() {
        for value in [
            json!(null),
            json!([]),
            json!({}),
            json!([[], [1.5, null, true], [[-1]], ["a", 1], [1, "a", [2], {"b": [3]}]]),
            json!({"a": {"b": [{"c": [1, 2]}, {}]}, "d": "x"}),
        ] {
            let text = to_pretty_json_with_short_arrays(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value, "{text}");
        }
        let text = to_pretty_json_with_short_arrays(&json!([[1, 2], [], ["a", "b"], [{"c": 1}]])).unwrap();
        let want = "[\n  [1, 2],\n  [],\n  [\n    \"a\",\n    \"b\"\n  ],\n  [\n    {\n      \"c\": 1\n    }\n  ]\n]\n";
        assert_eq!(text, want);
    }

    #[test]
    fn without_lists_of_numbers_it_is_the_pretty_form() {
        let value = json!({"a": ["x", "y"], "b": {"c": null, "d": [{"e": 1.25}, {"f": false}]}, "g": {}, "h": []});
        let pretty = serde_json::to_string_pretty(&value).unwrap() + "\n";
        assert_eq!(to_pretty_json_with_short_arrays(&value).unwrap(), pretty);
    }
}
