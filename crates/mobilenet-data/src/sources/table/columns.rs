//! Which columns of a list name the picture, its class and its part.

use std::path::Path;

use super::lookup::Lookup;
use super::rows::Rows;
use crate::{Error, ReadOptions};

/// Names of the columns, best first; spaces, underscores and case do not count.
const FILE: [&str; 15] = [
    "filename",
    "file",
    "filepath",
    "filepaths",
    "image",
    "imagepath",
    "imagefile",
    "imagename",
    "path",
    "img",
    "imgname",
    "imageid",
    "id",
    "picture",
    "name",
];
const LABEL: [&str; 13] = [
    "label",
    "labels",
    "class",
    "classname",
    "category",
    "target",
    "species",
    "breed",
    "labelname",
    "classid",
    "finelabel",
    "tag",
    "y",
];
const PART: [&str; 5] = ["split", "dataset", "set", "partition", "subset"];

/// Places of columns in a row.
pub(super) struct Columns {
    pub file: usize,
    pub label: usize,
    pub part: Option<usize>,
    /// The number of the first row, as an editor counts lines.
    pub first: usize,
    header: Vec<Option<String>>,
}

impl Columns {
    /// The columns of a list. `asked`: whether the options' names are meant for it, or it may be another file.
    ///
    /// # Errors
    ///
    /// [`Error::ListColumns`] if there is no telling.
    pub fn of(rows: &Rows, path: &Path, lookup: &Lookup, options: &ReadOptions, asked: bool) -> Result<Self, Error> {
        let header = &rows.header;
        let plain = |name: &String| name.to_lowercase().replace([' ', '_', '-'], "");
        let among = |known: &[&str]| known.iter().find_map(|name| header.iter().position(|h| plain(h) == *name));
        let wrong = |expected: String| Error::ListColumns { path: path.into(), expected, found: header.join(", ") };
        let named = |name: &Option<String>| match name {
            Some(name) => match header.iter().position(|h| h == name) {
                Some(at) => Ok(Some(at)),
                None if asked => Err(wrong(format!("a column {name}"))),
                None => Err(wrong(String::new())),
            },
            None => Ok(None),
        };
        let first = if rows.is_json { 1 } else { 2 };
        let part = among(&PART);
        let file = named(&options.image_column)?.or_else(|| among(&FILE));
        let label = named(&options.label_column)?.or_else(|| among(&LABEL));
        let (file, label) = match (file, label) {
            (Some(file), Some(label)) if file != label => (file, label),
            // One of two is known.
            (Some(file), None) if header.len() == 2 => (file, 1 - file),
            (None, Some(label)) if header.len() == 2 => (1 - label, label),
            // No header at all.
            (None, None) if header.len() == 2 && lookup.find(&header[0]).is_some() => {
                let header = header.iter().map(|field| Some(field.clone())).collect();
                return Ok(Self { file: 0, label: 1, part: None, first: 1, header });
            }
            _ => return Err(wrong("a column file_name and a column label, or those that options name".into())),
        };
        Ok(Self { file, label, part: part.filter(|&part| part != file && part != label), first, header: Vec::new() })
    }

    /// All rows, a header that is none among them.
    pub fn rows<'a>(&'a self, rows: &'a Rows) -> Vec<&'a [Option<String>]> {
        let header = Some(self.header.as_slice()).filter(|header| !header.is_empty());
        header.into_iter().chain(rows.rows.iter().map(Vec::as_slice)).collect()
    }
}
