//! Reading a file by its type.

use std::path::Path;

use mobilenet_common::files;

use crate::check::Artefact;
use crate::error::{Error, Result};

/// The largest file that is read: 256 MiB, far more than the largest there is, an evaluation of all test images.
const MAX_BYTES: u64 = 256 << 20;

/// Reads one JSON file and checks its values.
///
/// # Errors
/// Names the file: it cannot be read, is not JSON of this form, or a field holds what cannot be.
pub fn read<T: Artefact>(path: &Path) -> Result<T> {
    let text = files::read(path, MAX_BYTES).map_err(|error| Error::Read { path: path.into(), error })?;
    let value: T =
        serde_json::from_slice(&text).map_err(|error| Error::Form { path: path.into(), expected: T::WHAT, error })?;
    value.check().map_err(|problem| Error::Value { path: path.into(), problem })?;
    Ok(value)
}

/// Reads a file with one JSON value per line and checks them. A last line that was cut short by a kill is left out,
/// empty lines are skipped.
///
/// # Errors
/// Those of [`read`], with the line's number.
pub fn read_lines<T: Artefact>(path: &Path) -> Result<Vec<T>> {
    let text = files::read_text(path, MAX_BYTES).map_err(|error| Error::Read { path: path.into(), error })?;
    let lines: Vec<_> = text.lines().enumerate().filter(|(_, line)| !line.is_empty()).collect();
    let mut values: Vec<T> = Vec::with_capacity(lines.len());
    for (place, (i, line)) in lines.iter().enumerate() {
        let number = i + 1;
        let value: T = match serde_json::from_str(line) {
            Ok(value) => value,
            // Whole lines end in a line feed: only what stands after the last one can be half of a line.
            Err(_) if place + 1 == lines.len() && !text.ends_with('\n') => break,
            Err(error) => {
                return Err(Error::Line { path: path.into(), line: number, expected: T::WHAT, error });
            }
        };
        let checked = value.check();
        checked.map_err(|problem| Error::Value {
            path: path.into(),
            problem: problem.within(format_args!("line {number}")),
        })?;
        values.push(value);
    }
    Ok(values)
}
