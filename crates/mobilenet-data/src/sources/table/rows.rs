//! The rows of a list: CSV with any of three separators, or a JSON object a line.

use std::path::Path;

use mobilenet_common::files;
use serde_json::Value;

use crate::Error;
use crate::decode::kind;

/// The largest list that is read: 256 MiB, some millions of rows.
const MAX_BYTES: u64 = 256 << 20;

/// A table of texts; `None` where there is none.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Names of columns. Of CSV it is the first row, which may be none.
    pub header: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    /// Whether the header is that of JSON, where each value has its name.
    pub is_json: bool,
}

impl Rows {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = files::read(path, MAX_BYTES).map_err(Error::io(path))?;
        if kind::is_lfs_pointer(&bytes) {
            return Err(Error::Placeholder { path: path.into(), found: kind::LFS_POINTER });
        }
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_start_matches('\u{feff}');
        let wrong = |row: usize, reason: String| Error::List { path: path.into(), row, reason };
        match path.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl") || e.eq_ignore_ascii_case("ndjson")) {
            true => json(text).map_err(|(row, reason)| wrong(row, reason)),
            false => csv(text).map_err(|(row, reason)| wrong(row, reason)),
        }
    }
}

fn csv(text: &str) -> Result<Rows, (usize, String)> {
    let first = text.lines().next().unwrap_or("");
    let count = |separator: &u8| first.bytes().filter(|byte| byte == separator).count();
    // The first of those that are there most often.
    let separator = b"\t;,".iter().copied().max_by_key(count).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .delimiter(separator)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut rows = Rows::default();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(|error| (number + 1, error.to_string().replace(['\n', '\r'], " ")))?;
        let fields = record.iter();
        match number {
            0 => rows.header = fields.map(str::to_owned).collect(),
            _ => rows.rows.push(fields.map(|field| Some(field.to_owned())).collect()),
        }
    }
    Ok(rows)
}

fn json(text: &str) -> Result<Rows, (usize, String)> {
    let mut rows = Rows { is_json: true, ..Rows::default() };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).map_err(|error| (number + 1, error.to_string()))?;
        let Value::Object(object) = value else { return Err((number + 1, "expected a JSON object".into())) };
        for key in object.keys().filter(|_| rows.rows.is_empty()) {
            rows.header.push(key.clone());
        }
        let field = |key: &String| match object.get(key)? {
            Value::String(text) => Some(text.clone()),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string()),
            _ => None,
        };
        rows.rows.push(rows.header.iter().map(field).collect());
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(rows: &Rows) -> Vec<Vec<&str>> {
        rows.rows.iter().map(|row| row.iter().map(|field| field.as_deref().unwrap_or("-")).collect()).collect()
    }

    #[test]
    fn separators_quotes_and_objects() {
        for text in [
            "file,label\na.png,cat\n\"b, c.png\",\"the \"\"dog\"\"\"\n",
            "file;label\r\na.png;cat\r\nb, c.png;\"the \"\"dog\"\"\"\r\n",
        ] {
            let rows = csv(text).unwrap();
            assert_eq!(rows.header, ["file", "label"]);
            assert_eq!(texts(&rows), [["a.png", "cat"], ["b, c.png", "the \"dog\""]]);
        }
        let rows = json("{\"file_name\": \"a.png\", \"label\": 3}\n\n{\"label\": true, \"x\": [1]}\n").unwrap();
        assert_eq!(
            (rows.header.join(" "), texts(&rows)),
            ("file_name label".into(), vec![vec!["a.png", "3"], vec!["-", "true"]])
        );
        assert_eq!(csv("a,b\n1\n").unwrap_err().0, 2);
        assert_eq!(json("{}\n[]\n").unwrap_err(), (2, "expected a JSON object".into()));
    }
}
